"""Objective: the loss of an optimization, and what a network cannot learn."""

from dataclasses import replace

import pytest
import torch

from nst_core.distill.objective import NetworkStyle, Objective, check_styles
from nst_core.errors import ConfigError, InputError
from nst_core.lanes.batch import LaneBatch
from nst_core.losses.targets import FeatureStore
from tests.nst_core.distill.conftest import SIZE_PX, network_style


def test_the_loss_is_that_of_the_optimization(random_weights: object) -> None:
    """A picture's loss equals the first loss of an optimization that starts from it."""
    store = FeatureStore(random_weights, dtype=torch.float64)  # type: ignore[arg-type]
    styles = [network_style(tv_weight=3.0), network_style("other", 1, color_weight=2.0)]
    photo_N3HW = torch.rand(4, 3, SIZE_PX, SIZE_PX)
    image_N3HW = torch.rand(4, 3, SIZE_PX, SIZE_PX, dtype=torch.float64)
    style_N, strength_N = [0, 1, 1, 0], torch.tensor([1.0, 0.5, 1.0, 4.0], dtype=torch.float64)
    loss_N = Objective(store, styles)(image_N3HW, photo_N3HW, style_N, strength_N)
    for lane, index in enumerate(style_N):
        style = styles[index]
        config = style.config.replace(
            init="image", style_weight=style.config.style_weight * float(strength_N[lane])
        )
        batch = LaneBatch(store)
        batch.add(0, config, style.inputs(photo_N3HW[lane], {"image": image_N3HW[lane]}))
        assert batch.advance(1).total.item() == pytest.approx(loss_N[lane].item(), rel=1e-6)


def test_gradients_reach_the_pictures(random_weights: object) -> None:
    """The loss has a gradient for every picture, and none depends on the others."""
    store = FeatureStore(random_weights)  # type: ignore[arg-type]
    image = torch.rand(2, 3, SIZE_PX, SIZE_PX, requires_grad=True)
    photos = torch.rand(2, 3, SIZE_PX, SIZE_PX)
    loss_N = Objective(store, [network_style()])(image, photos, [0, 0], torch.ones(2))
    (gradient,) = torch.autograd.grad(loss_N[0], image)
    assert gradient[0].abs().sum() > 0 and gradient[1].abs().sum() == 0


def test_what_a_network_cannot_learn_is_one_error() -> None:
    """Region masks, matting, balanced weights and given starts are refused, all at once."""
    masked = network_style(photo_weight=1.0, weight_schedule="balance", init="image")
    style = replace(masked.styles[0], region_HW=torch.ones(8, 8))
    with pytest.raises(ConfigError) as caught:
        check_styles([replace(masked, styles=(style,))])
    for words in ("region masks", "photo_weight", "weight_schedule", "init"):
        assert words in str(caught.value)
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("styles", "words"),
    [
        ([], "no style"),
        ([network_style(), network_style()], "named twice"),
        ([network_style(), network_style("b", size_px=64)], "one size"),
        ([network_style(style_blend=[1, 2])], "style_blend"),
        ([network_style(style_weight=0.0)], "leaves the photo as it is"),
    ],
)
def test_styles_that_do_not_fit_together(styles: list[NetworkStyle], words: str) -> None:
    """A network has at least one style, different names, and one size."""
    with pytest.raises(InputError, match=words):
        check_styles(styles)
