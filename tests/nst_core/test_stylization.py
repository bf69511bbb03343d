from collections.abc import Mapping

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.images.tensors import resize_longer_side
from nst_core.lanes.batch import Outcome
from nst_core.networks.weights import Weights
from nst_core.sample_pictures import sample_content, sample_style
from nst_core.stylization import stylize


def test_yields_where_it_stands(weights: Mapping[str, Weights]) -> None:
    """stylize() yields every few steps and at the end, and the loss falls."""
    config = StyleConfig(size_px=64, steps=25, lr=0.05)
    steps = list(
        stylize(config, sample_content(), [(sample_style(96), 1.0)], weights=weights.__getitem__)
    )
    assert [step.step for step in steps] == [10, 20, 25]
    assert steps[-1].losses["total"] < 0.7 * steps[0].losses["total"]
    image = steps[-1].image_3HW
    assert image.shape == (3, 43, 64)
    assert 0 <= image.min() <= image.max() <= 1
    parts = steps[-1].losses
    assert parts["total"] == pytest.approx(
        parts["content"] + parts["style"] + parts["tv"], rel=1e-4
    )


def test_divergence_is_an_outcome(weights: Mapping[str, Weights]) -> None:
    """A diverging run ends with an outcome instead of an exception."""
    config = StyleConfig(size_px=64, steps=60, lr=1e4, clamp="save", style_weight=1e12)
    steps = list(
        stylize(config, sample_content(), [(sample_style(96), 1.0)], weights=weights.__getitem__)
    )
    assert steps[-1].outcome is Outcome.EXPLODED_IMAGE
    assert steps[-1].step < 60


def test_the_best_is_judged_by_the_own_weights(weights: Mapping[str, Weights]) -> None:
    """With a ramp, the best iterate is chosen by the final weights, not by the low early losses."""
    config = StyleConfig(
        size_px=48, steps=20, style_weight=30.0, weight_schedule="ramp", keep="best", lr=0.05
    )
    *_, last = stylize(
        config, sample_content(), [(sample_style(96), 1.0)], weights=weights.__getitem__
    )
    *_, other = stylize(
        config.replace(keep="last"),
        sample_content(),
        [(sample_style(96), 1.0)],
        weights=weights.__getitem__,
    )
    untouched_3HW = resize_longer_side(sample_content(), 48)
    moved = (other.image_3HW - untouched_3HW).abs().mean()
    assert (last.image_3HW - untouched_3HW).abs().mean() > moved / 2


def test_samples_depend_on_their_seed_alone() -> None:
    """The sample painting depends on its seed only."""
    assert torch.equal(sample_style(64, seed=3), sample_style(64, seed=3))
    assert not torch.equal(sample_style(64, seed=3), sample_style(64, seed=4))
