"""A style at a tiny size, and crops of sample photos."""

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.distill.objective import NetworkStyle
from nst_core.distill.photos import Crops, sample_photos, split
from nst_core.losses.inputs import Style

SIZE_PX = 32


def network_style(name: str = "painting", seed: int = 0, **changes: object) -> NetworkStyle:
    """Return a style with a noisy painting and shallow layers, which are quick."""
    settings: dict[str, object] = {
        "size_px": SIZE_PX,
        "style_layers": {"relu1_1": 0.5, "relu2_1": 0.5},
        "content_layers": {"relu2_2": 1.0},
    }
    config = StyleConfig.from_dict({**settings, **changes})
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(seed))
    return NetworkStyle(name=name, config=config, styles=(Style(image_3HW=image),))


@pytest.fixture
def crops() -> Crops:
    """Crops of the sample photos to train on."""
    return Crops(split(sample_photos())[0], SIZE_PX)
