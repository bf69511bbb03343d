"""Contracts of all combinations of extractors, losses, optimizers and other settings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nst_core.config import FIELDS, StyleConfig
from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.registry import EXTRACTORS, NETWORKS
from nst_core.networks.weights import Weights

DOUBLE = torch.float64
STYLE_LOSSES = FIELDS["style_loss"].metadata["options"]
OPTIMIZERS = FIELDS["optimizer"].metadata["options"]

#: Every value of every choice, and the numbers that switch a term on.
KNOBS: list[dict[str, Any]] = [
    *(
        {name: option}
        for name, spec in FIELDS.items()
        for option in spec.metadata.get("options", ())
        if name not in ("extractor", "style_loss", "optimizer")
    ),
    {"tv_weight": 5.0, "tv_norm": "l1"},
    {"color_weight": 3.0, "color_loss": "mean"},
    {"color_weight": 3.0, "color_loss": "histogram"},
    {"photo_weight": 2.0},
    {"warmup_steps": 3},
    {"scales": 3},
    {"style_scale": 0.8},
]


@pytest.fixture(scope="module")
def inputs() -> LossInputs:
    generator = torch.Generator().manual_seed(0)
    content, *styles = (torch.rand(3, h, w, generator=generator) for h, w in ((48, 64), (40, 44)))
    starts = {"image": content.flip(2), "feed_forward": content.flip(1)}
    return LossInputs.at_size(content, [(style, 1.0) for style in styles], 64, starts)


@pytest.fixture(scope="module")
def store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights)


@pytest.fixture(scope="module")
def exact_store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights, dtype=DOUBLE)


def run(
    store: FeatureStore, config: StyleConfig, inputs: LossInputs, key: str = "x"
) -> tuple[torch.Tensor, list[float], Outcome]:
    """Return the final picture, the total losses, and the outcome."""
    saved, totals, outcome = None, [], Outcome.RUNNING
    done = 0
    while done < config.steps:
        batch = LaneBatch(store)
        batch.add(key, config, inputs, saved)
        for _ in range(batch.stage_steps_left):
            losses = batch.advance(1)
            totals.append(float(losses.total[0]))
            (outcome,) = batch.outcomes(losses)
        saved, done = batch.save(key), batch.lanes[0].step
    return batch.picture(key), totals, outcome


@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize("style_loss", STYLE_LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_combination_goes_downhill(
    extractor: str, style_loss: str, optimizer: str, store: FeatureStore, inputs: LossInputs
) -> None:
    """Every combination of extractor, style loss and optimizer lowers the loss and stays finite."""
    layers = dict.fromkeys(NETWORKS[extractor].style_layers[:3], 1.0)
    config = StyleConfig(
        extractor=extractor,
        style_loss=style_loss,
        optimizer=optimizer,
        content_layers={NETWORKS[extractor].style_layers[1]: 1.0},
        style_layers=layers,
        lr=0.5 if optimizer == "lbfgs" else 1e-3 if optimizer == "sgd" else 0.01,
        weight_decay=0.0,
        steps=6,
        size_px=64,
    )
    # A weight that gives every loss the same size, which plain gradient descent needs.
    _, (first, *_), _ = run(store, config.replace(steps=1), inputs)
    config = config.replace(content_weight=1 / first, style_weight=10 / first)
    picture, totals, outcome = run(store, config, inputs)
    assert outcome is Outcome.RUNNING
    assert totals[-1] < totals[0]
    assert torch.isfinite(picture).all()


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: "-".join(map(str, knob.values())))
def test_every_knob_works(knob: dict[str, Any], store: FeatureStore, inputs: LossInputs) -> None:
    """Every option runs to the end and gives a picture of the full size in [0, 1]."""
    if knob.get("precision") == "float16":
        pytest.skip("float16 convolutions take seconds a step on a CPU; see test_precision")
    config = StyleConfig(
        style_layers={"relu1_1": 1, "relu2_1": 1}, content_layers={"relu2_2": 1}, steps=5
    )
    picture, totals, outcome = run(store, config.replace(**knob), inputs)
    assert outcome is Outcome.RUNNING and len(totals) == 5
    assert picture.shape == inputs.content_3HW.shape and picture.dtype == torch.float32
    assert picture.min() >= 0 and picture.max() <= 1


@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize("style_loss", STYLE_LOSSES)
def test_gradients_agree_with_finite_differences(
    extractor: str, style_loss: str, exact_store: FeatureStore, inputs: LossInputs
) -> None:
    """In float64 the gradient of the whole loss equals finite differences."""
    config = StyleConfig(
        extractor=extractor,
        style_loss=style_loss,
        tv_weight=1.0,
        color_weight=1.0,
        init="mix",
        init_noise=0.3,
        # Deeper, there are fewer positions than channels here, and the Wasserstein distance of
        # degenerate Gaussians bends faster than differences can follow.
        style_layers=dict.fromkeys(NETWORKS[extractor].style_layers[:3], 1.0),
    )
    batch = LaneBatch(exact_store)
    batch.add("x", config, inputs)
    loss = batch._ready()._step._loss
    pixels = batch.image("x")[None].clone().requires_grad_()
    (grad,) = torch.autograd.grad(sum(loss(pixels)).sum(), pixels)  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(pixels.shape, generator=generator, dtype=DOUBLE)
    # Half noise, half the gradient itself: along noise alone the loss hardly changes, and the
    # rounding of a degenerate Gaussian's eigenvalues, which differs from machine to machine,
    # is most of the difference.
    direction = noise + grad * (noise.norm() / grad.norm())
    expected = float((grad * direction).sum())
    errors = []
    for h in (1e-7, 1e-8):
        with torch.no_grad():
            ahead, behind = (float(sum(loss(pixels + s * direction))) for s in (h, -h))
        errors.append(abs((ahead - behind) / (2 * h) / expected - 1))
    # Large steps cross kinks of ReLUs and max poolings, small ones drown in rounding; a wrong
    # gradient is wrong at all of them.
    assert min(errors) < 1e-3, errors
