"""Recorded steps, with the recorder replaced by one that needs no GPU.

What it records is a fixed list of operations on fixed tensors, as a CUDA graph is: what the host
decided while it was made stays so for ever.
"""

import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.step_graph import MOST_PIXELS, Replay, StepGraphs
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights

BASE = StyleConfig(style_layers={"relu1_1": 1, "relu2_1": 1}, content_layers={"relu2_2": 1})
KINDS = {
    "adam": BASE,
    "adamw": BASE.replace(optimizer="adamw", lr_schedule="cosine", warmup_steps=2, steps=40),
    "sgd": BASE.replace(optimizer="sgd", lr=0.01),
    "lamb": BASE.replace(optimizer="lamb"),
    "lbfgs": BASE.replace(optimizer="lbfgs", lr=0.5),
    "ema": BASE.replace(keep="ema", tv_weight=1.0, color_weight=1.0, color_loss="histogram"),
    "best": BASE.replace(keep="best", weight_schedule="ramp", clamp="save", init="noise"),
    "float16": BASE.replace(precision="float16", style_weight=1e4),
}


def traced(function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]) -> Replay:
    graph = make_fx(lambda *tensors: function(tensors))(*[tensor.clone() for tensor in fixed])
    return lambda: list(graph(*fixed))


@pytest.fixture
def inputs() -> LossInputs:
    generator = torch.Generator().manual_seed(0)
    content, style = (torch.rand(3, 32, 40, generator=generator) for _ in range(2))
    return LossInputs.at_size(content, [(style, 1.0)], 40)


@pytest.fixture
def store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights, dtype=torch.float64)


def course(store: FeatureStore, configs: Sequence[StyleConfig], inputs: LossInputs) -> Tensor:
    """Losses of three turns, and the pixels after them, of all lanes."""
    batch = LaneBatch(store)
    for index, config in enumerate(configs):
        batch.add(index, config, inputs)
    losses = [batch.advance(steps).total for steps in (3, 4, 5)]
    pixels = [batch.image(index).flatten() for index in range(len(configs))]
    return torch.cat([*losses, *pixels])


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_go_where_eager_ones_go(
    store: FeatureStore, inputs: LossInputs, kind: str
) -> None:
    """Every optimizer and all that a lane may keep comes to the same, bit for bit, recorded."""
    eager = course(store, [KINDS[kind]], inputs)
    store.graphs = StepGraphs(traced, eager_steps=2)
    recorded = course(store, [KINDS[kind]], inputs)
    assert len(store.graphs._trusted) == 1
    assert torch.equal(recorded, eager)


def test_unlike_lanes_are_recorded_together(store: FeatureStore, inputs: LossInputs) -> None:
    """A batch of several optimizers is one recording."""
    configs = [KINDS[kind] for kind in ("adam", "lbfgs", "sgd", "ema")]
    eager = course(store, configs, inputs)
    store.graphs = StepGraphs(traced, eager_steps=2)
    torch.testing.assert_close(course(store, configs, inputs), eager, rtol=1e-12, atol=1e-12)


def test_lanes_leave_a_recording_as_they_stand(store: FeatureStore, inputs: LossInputs) -> None:
    """What was taken out of a recorded batch goes on elsewhere, and the others go on too."""
    store.graphs = StepGraphs(traced, eager_steps=1)
    batch = LaneBatch(store)
    for key in ("stays", "leaves"):
        batch.add(key, BASE.replace(init="noise", seed=len(key)), inputs)
    batch.advance(4)
    taken = batch.take("leaves")
    pixels = taken.image_3HW.clone()
    batch.advance(4)
    assert torch.equal(taken.image_3HW, pixels)
    store.graphs = None
    other = LaneBatch(store)
    other.add("stays", BASE.replace(init="noise", seed=5), inputs)
    other.advance(8)
    torch.testing.assert_close(batch.image("stays"), other.image("stays"), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "config",
    [BASE.replace(style_loss="wasserstein"), BASE.replace(weight_schedule="balance")],
    ids=["eigenvalues", "balance"],
)
def test_what_needs_the_host_is_not_recorded(
    store: FeatureStore, inputs: LossInputs, config: StyleConfig
) -> None:
    """Steps that ask the host for something stay eager."""

    def refuse(*_: object) -> Replay:
        raise AssertionError("recorded")

    store.graphs = StepGraphs(refuse, eager_steps=1)
    course(store, [config], inputs)


def test_few_steps_are_not_worth_a_recording(store: FeatureStore, inputs: LossInputs) -> None:
    """Lanes that come and go all the time, and large ones, are not recorded."""
    graphs = StepGraphs(traced, eager_steps=10)
    moving = [torch.zeros(1, 3, 8, 8)]
    options = {"kind": "x", "precision": "float32"}
    assert graphs.record(lambda t: ([], list(t)), moving, taken=9, **options) is None
    large = [torch.zeros(1).expand(1, 3, MOST_PIXELS, 2)]
    assert graphs.record(lambda t: ([], list(t)), large, taken=99, **options) is None


def test_a_recording_that_lies_is_refused(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """A recording whose losses are not those of eager steps is dropped, with a warning."""

    def frozen(
        function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        losses = function([tensor.clone() for tensor in fixed])
        return lambda: losses

    eager = course(store, [BASE], inputs)
    store.graphs = StepGraphs(frozen, eager_steps=2)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(course(store, [BASE], inputs), eager)
    assert "differs from an eager one" in caplog.text


def test_a_recording_that_fails_is_refused(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """Where recording fails, steps are taken eagerly, and it is not tried again."""
    tried = []

    def broken(*_: object) -> Replay:
        tried.append(1)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    eager = course(store, [BASE], inputs)
    store.graphs = StepGraphs(broken, eager_steps=2)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(course(store, [BASE], inputs), eager)
    assert len(tried) == 1 and "not permitted" in caplog.text


def test_cpus_record_nothing() -> None:
    """Only CUDA devices have graphs."""
    assert StepGraphs.for_device(torch.device("cpu")) is None
