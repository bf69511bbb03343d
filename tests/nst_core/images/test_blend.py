"""Blends of style images by the configuration instead of by the pictures' own weights."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.lanes.batch import LaneBatch
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights
from nst_core.stylization import stylize

#: Everything that reads the style images: moments, colors, starts.
LOOKS: tuple[dict[str, Any], ...] = (
    {"init": "style", "style_loss": "gram"},
    {"init": "style_noise", "style_loss": "wasserstein", "match_colors": "mean_cov"},
    {"style_loss": "mean_cov", "color_weight": 5.0, "color_loss": "histogram"},
)
CONFIG = StyleConfig(
    style_layers={"relu1_1": 1, "relu2_1": 1}, content_layers={"relu2_2": 1}, steps=4
)


def picture(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def inputs(*weights: float) -> LossInputs:
    """Three styles, the second alone in a region of its own, the others blended in the rest."""
    half = torch.zeros(32, 40)
    half[:, 20:] = 1
    first, second, third = weights
    styles = [
        Style(image_3HW=picture(36, 32, 1), weight=first),
        Style(image_3HW=picture(40, 44, 2), weight=second, region_HW=half),
        Style(image_3HW=picture(33, 48, 3), weight=third, style_region_HW=picture(33, 48, 4)[0]),
    ]
    return LossInputs.at_size(picture(32, 40, 0), styles, 40)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads divide a batch otherwise than a lone image, and so round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights, dtype=torch.float64)


def alone(store: FeatureStore, config: StyleConfig, found: LossInputs) -> torch.Tensor:
    batch = LaneBatch(store)
    batch.add("x", config, found)
    batch.advance(config.steps)
    return batch.image("x")


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look["style_loss"])
def test_a_blend_by_the_configuration_is_one_by_the_pictures(
    look: Mapping[str, Any], store: FeatureStore
) -> None:
    """In float64 style_blend gives exactly what the same weights of the style images give."""
    config = CONFIG.replace(**look)
    blended = alone(store, config.replace(style_blend=[1, 5, 3]), inputs(1, 1, 1))
    assert torch.equal(blended, alone(store, config, inputs(1, 5, 3)))
    assert not torch.equal(blended, alone(store, config, inputs(1, 1, 1)))


def test_lanes_of_unlike_blends_equal_separate_runs(store: FeatureStore) -> None:
    """In float64 lanes with blends of their own follow exactly what separate runs do."""
    found = inputs(1, 1, 1)
    blends = [None, [1, 1, 9], [1, 1, 0.1], [9, 1, 1]]
    configs = [CONFIG.replace(style_blend=blend, color_weight=1.0) for blend in blends]
    batch = LaneBatch(store)
    for index, config in enumerate(configs):
        batch.add(index, config, found)
    batch.advance(4)
    images = [batch.image(index) for index in range(len(configs))]
    for image, config in zip(images, configs, strict=True):
        assert torch.equal(image, alone(store, config, found))
    assert len({float(image.sum()) for image in images}) == len(images)


def test_style_images_pass_the_network_once(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many blends there are, the features of each style image are computed once."""
    found = inputs(1, 1, 1)
    passes = []
    real = store._style_image

    def counted(*arguments: Any) -> Any:
        passes.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(store, "_style_image", counted)
    batch = LaneBatch(store)
    for weight in (1, 2, 3):
        batch.add(weight, CONFIG.replace(style_blend=[1, 1, weight]), found)
    batch.advance(1)
    assert len(passes) == 3


def test_a_blend_has_a_weight_for_each_style_image(
    random_weights: Callable[[str], Weights],
) -> None:
    """A blend of another number of styles is refused before anything is computed."""
    run = stylize(
        CONFIG.replace(style_blend=[1, 2, 3], size_px=40),
        picture(32, 40, 0),
        [(picture(36, 32, 1), 1.0), (picture(36, 32, 2), 1.0)],
        weights=random_weights,
        device="cpu",
    )
    with pytest.raises(InputError, match=r"each style image \(2\), got 3"):
        next(run)


def test_stylize_blends_by_the_configuration(random_weights: Callable[[str], Weights]) -> None:
    """stylize() prefers the blend of the configuration to the weights that come with the images."""
    images = [picture(36, 32, 1), picture(36, 32, 2)]

    def result(config: StyleConfig, *shares: float) -> torch.Tensor:
        styles = list(zip(images, shares, strict=True))
        content = picture(32, 40, 0)
        *_, last = stylize(config, content, styles, weights=random_weights, device="cpu")
        return last.image_3HW

    config = CONFIG.replace(size_px=40)
    blended = result(config.replace(style_blend=[0.2, 0.8]), 1.0, 1.0)
    torch.testing.assert_close(blended, result(config, 0.2, 0.8))
    assert not torch.equal(blended, result(config, 1.0, 1.0))
