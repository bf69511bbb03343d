"""StepGraph on a CPU, with a recorder that needs no GPU.

The recorder makes a fixed list of operations on fixed tensors, like a CUDA graph: decisions of the
host during recording become part of it.
"""

import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.step_graph import MAX_PIXELS, Replay, StepGraphs
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


def record_by_tracing(
    function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
) -> Replay:
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


def run(
    store: FeatureStore,
    configs: Sequence[StyleConfig],
    inputs: LossInputs,
    graphs: StepGraphs | None = None,
) -> Tensor:
    """Return the losses of all lanes after 3, 7 and 12 steps, and the pixels at the end."""
    batch = LaneBatch(store, Buckets(store, graphs))
    for index, config in enumerate(configs):
        batch.add(index, config, inputs)
    losses = [batch.advance(steps).total for steps in (3, 4, 5)]
    pixels = [batch.image(index).flatten() for index in range(len(configs))]
    return torch.cat([*losses, *pixels])


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_equal_eager_steps(
    store: FeatureStore, inputs: LossInputs, kind: str
) -> None:
    """For every optimizer and kind of kept image, recorded steps equal eager ones exactly."""
    eager = run(store, [KINDS[kind]], inputs)
    graphs = StepGraphs(record_by_tracing, eager_steps=2)
    recorded = run(store, [KINDS[kind]], inputs, graphs)
    assert len(graphs._trusted) == 1
    assert torch.equal(recorded, eager)


def test_lanes_with_several_optimizers_share_a_recording(
    store: FeatureStore, inputs: LossInputs
) -> None:
    """A batch with several optimizers is recorded as one graph."""
    configs = [KINDS[kind] for kind in ("adam", "lbfgs", "sgd", "ema")]
    eager = run(store, configs, inputs)
    recorded = run(store, configs, inputs, StepGraphs(record_by_tracing, eager_steps=2))
    torch.testing.assert_close(recorded, eager, rtol=1e-12, atol=1e-12)


def test_lanes_can_leave_a_recorded_batch(store: FeatureStore, inputs: LossInputs) -> None:
    """The state of a lane that left a recorded batch no longer changes; the others continue."""
    batch = LaneBatch(store, Buckets(store, StepGraphs(record_by_tracing, eager_steps=1)))
    for key in ("stays", "leaves"):
        batch.add(key, BASE.replace(init="noise", seed=len(key)), inputs)
    batch.advance(4)
    taken = batch.take("leaves")
    pixels = taken.image_3HW.clone()
    batch.advance(4)
    assert torch.equal(taken.image_3HW, pixels)
    other = LaneBatch(store)
    other.add("stays", BASE.replace(init="noise", seed=5), inputs)
    other.advance(8)
    torch.testing.assert_close(batch.image("stays"), other.image("stays"), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "config",
    [BASE.replace(style_loss="wasserstein"), BASE.replace(weight_schedule="balance")],
    ids=["eigenvalues", "balance"],
)
def test_steps_that_need_the_host_are_not_recorded(
    store: FeatureStore, inputs: LossInputs, config: StyleConfig
) -> None:
    """Steps with eigenvalues or balanced losses, which need the host, stay eager."""

    def refuse(*_: object) -> Replay:
        raise AssertionError("recorded")

    run(store, [config], inputs, StepGraphs(refuse, eager_steps=1))


def test_few_or_large_steps_are_not_recorded() -> None:
    """Steps of batches that change often, and of large batches, are not recorded."""
    graphs = StepGraphs(record_by_tracing, eager_steps=10)
    state = [torch.zeros(1, 3, 8, 8)]
    options = {"kind": "x", "precision": "float32"}
    assert graphs.record(lambda t: ([], list(t)), state, taken=9, **options) is None
    large = [torch.zeros(1).expand(1, 3, MAX_PIXELS, 2)]
    assert graphs.record(lambda t: ([], list(t)), large, taken=99, **options) is None


def test_a_wrong_recording_is_refused(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """A recording whose losses differ from eager steps is not used, with a warning."""

    def frozen(
        function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        losses = function([tensor.clone() for tensor in fixed])
        return lambda: losses

    eager = run(store, [BASE], inputs)
    with caplog.at_level(logging.WARNING):
        recorded = run(store, [BASE], inputs, StepGraphs(frozen, eager_steps=2))
    assert torch.equal(recorded, eager)
    assert "differs from an eager one" in caplog.text


def test_a_failed_recording_is_not_repeated(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """If recording fails, steps are eager and recording is not tried again."""
    attempts = []

    def broken(*_: object) -> Replay:
        attempts.append(1)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    eager = run(store, [BASE], inputs)
    with caplog.at_level(logging.WARNING):
        recorded = run(store, [BASE], inputs, StepGraphs(broken, eager_steps=2))
    assert torch.equal(recorded, eager)
    assert len(attempts) == 1 and "not permitted" in caplog.text


def test_steps_on_a_cpu_are_not_recorded() -> None:
    """Only CUDA devices record steps."""
    assert StepGraphs.for_device(torch.device("cpu")) is None
