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
from nst_core.errors import InputError
from nst_core.lanes import step_graph
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.device import CUDA_GRAPHS_VARIABLE
from nst_core.lanes.step_graph import (
    MAX_PIXELS,
    CaptureError,
    Replay,
    StepGraphs,
    _CudaRecorder,
)
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


@pytest.fixture(autouse=True)
def recording_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a failed recording of one test stop no other test from recording."""
    monkeypatch.setattr(step_graph, "_stopped", [])


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


Function = Callable[[Sequence[Tensor]], list[Tensor]]
#: Changes the state after a replayed step: (state before the step, state) -> None.
Fault = Callable[[Sequence[Tensor], Sequence[Tensor]], None]


def all_stay(before: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    for old, new in zip(before, state, strict=True):
        new.copy_(old)


def first_lane_stays(before: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    state[0][0] = before[0][0]


def step_is_forgotten(before: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    state[1].copy_(before[1])


def moves_twice_as_far(before: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    state[0].add_(state[0] - before[0])


def lanes_are_swapped(before: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    state[0].copy_(state[0].flip(0))


def optimizer_stays(before: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    state[-1].copy_(before[-1])


def becomes_nan(_: Sequence[Tensor], state: Sequence[Tensor]) -> None:
    state[0][0, 0, 0, 0] = torch.nan


FAULTS = [
    *(all_stay, first_lane_stays, step_is_forgotten, moves_twice_as_far),
    *(lanes_are_swapped, optimizer_stays, becomes_nan),
]


def faulty(fault: Fault | None) -> Callable[[Function, Sequence[Tensor]], Replay]:
    """Return a recorder whose replays take an eager step and then have a fault."""

    def record(function: Function, fixed: Sequence[Tensor]) -> Replay:
        def replay() -> list[Tensor]:
            before = [tensor.clone() for tensor in fixed]
            losses = function(fixed)
            if fault:
                fault(before, fixed)
            return losses

        return replay

    return record


def batch_of_two(
    weights: Callable[[str], Weights],
    inputs: LossInputs,
    precision: str,
    graphs: StepGraphs | None = None,
) -> LaneBatch:
    """Return a batch of two lanes whose losses hardly change within a few steps."""
    store = FeatureStore(weights)
    batch = LaneBatch(store, Buckets(store, graphs))
    for seed in (1, 2):
        config = BASE.replace(init="noise", lr=1e-3, precision=precision, seed=seed)
        batch.add(seed, config, inputs)
    return batch


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_recording_is_refused(
    random_weights: Callable[[str], Weights],
    inputs: LossInputs,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    precision: str,
) -> None:
    """A recording whose state moves in another way than eager steps is not used, with a warning.

    The losses of a noise start at a small learning rate would not show it.
    """
    graphs = StepGraphs(faulty(fault), eager_steps=2)
    eager = batch_of_two(random_weights, inputs, precision)
    recorded = batch_of_two(random_weights, inputs, precision, graphs)
    with caplog.at_level(logging.WARNING):
        for batch in (eager, recorded):
            batch.advance(6)
    assert graphs._refused and not graphs._trusted and graphs.attempts == 1
    assert "differ" in caplog.text
    for key in (1, 2):
        torch.testing.assert_close(recorded.image(key), eager.image(key), rtol=0, atol=2e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_right_recording_is_trusted(
    random_weights: Callable[[str], Weights], inputs: LossInputs, kind: str, precision: str
) -> None:
    """In every precision and for every optimizer, a recording without a fault is trusted."""
    graphs = StepGraphs(faulty(None), eager_steps=2)
    store = FeatureStore(random_weights)
    batch = LaneBatch(store, Buckets(store, graphs))
    batch.add(0, KINDS[kind].replace(precision=precision), inputs)
    batch.advance(4)
    assert graphs._trusted and not graphs._refused


def test_wrong_losses_are_refused(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """A recording whose state is right but whose losses are not is not used."""

    def record(function: Function, fixed: Sequence[Tensor]) -> Replay:
        return lambda: [1.1 * loss for loss in function(fixed)]

    graphs = StepGraphs(record, eager_steps=1)
    run(store, [BASE], inputs, graphs)
    assert graphs._refused and "the losses of a recorded step differ" in caplog.text


def test_a_checked_recording_starts_from_the_state_before_the_check() -> None:
    """The steps of the check do not count: a trusted recording continues from the given state."""

    def step(state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [state[0].flatten(1).sum(1)], [state[0] + 1, state[1] + 1]

    state = [torch.zeros(2, 3, 4, 4), torch.tensor([5, 9])]
    graphs = StepGraphs(faulty(None), eager_steps=0)
    graph = graphs.record(step, state, kind="x", taken=0, precision="float32")
    assert graph is not None and torch.equal(graph.state[1], state[1])
    graph.launch()
    assert torch.equal(graph.state[1], state[1] + 1)
    assert torch.equal(graph.state[0], torch.ones(2, 3, 4, 4))
    assert torch.equal(state[0], torch.zeros(2, 3, 4, 4))


def test_a_recording_that_cannot_begin_is_not_repeated(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """An error before the recording begins refuses this kind of step; other kinds are recorded."""

    def broken(*_: object) -> Replay:
        raise RuntimeError("CUDA out of memory\nmore")

    graphs = StepGraphs(broken, eager_steps=2)
    eager = run(store, [BASE], inputs)
    recorded = run(store, [BASE], inputs, graphs)
    assert torch.equal(recorded, eager)
    assert graphs.attempts == 1 and "CUDA out of memory" in caplog.text
    assert "more" not in caplog.text and not step_graph._stopped


def test_after_a_failed_recording_the_process_records_no_more(
    store: FeatureStore, inputs: LossInputs, caplog: pytest.LogCaptureFixture
) -> None:
    """If recording fails after it has begun, no kind of step is recorded again, with one warning.

    torch 2.11 does not end such a recording in its allocator, and every later one would fail.
    """

    def broken(*_: object) -> Replay:
        raise CaptureError("operation not permitted when stream is capturing\nmore")

    configs = [BASE, KINDS["sgd"]]
    eager = [run(store, [config], inputs) for config in configs]
    for steps, config in zip(eager, configs, strict=True):
        graphs = StepGraphs(broken, eager_steps=2)
        assert torch.equal(run(store, [config], inputs, graphs), steps)
    assert graphs.attempts == 0
    (record,) = (r for r in caplog.records if r.name == step_graph.__name__)
    assert "no more CUDA graphs: operation not permitted" in record.message


def test_the_error_of_a_recording_is_the_first_one() -> None:
    """The reason of a failed recording is the error in the step, not the one at its end."""
    ended = "operation failed due to a previous error during capture"
    recorder = object.__new__(_CudaRecorder)
    recorder._pool = None  # type: ignore[assignment]

    class Graph:
        """As `torch.cuda.graph`: the end of a failed recording raises an error of its own."""

        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            raise RuntimeError(f"CUDA error: {ended}")

    def step(_: Sequence[Tensor]) -> list[Tensor]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "graph", Graph)
        patch.setattr(torch.cuda, "CUDAGraph", Graph)
        with pytest.raises(
            CaptureError, match=r"^CUDA error: operation not permitted .* capturing$"
        ):
            recorder._recorded(step, [], None)  # type: ignore[arg-type]


def test_graphs_are_off_by_default_and_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are recorded on CUDA devices only, and only if the variable turns it on."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.delenv(CUDA_GRAPHS_VARIABLE, raising=False)
    assert StepGraphs.for_device(cpu) is None and StepGraphs.for_device(gpu) is None
    monkeypatch.setenv(CUDA_GRAPHS_VARIABLE, "1")
    assert StepGraphs.for_device(cpu) is None
    monkeypatch.setenv(CUDA_GRAPHS_VARIABLE, "yes")
    with pytest.raises(InputError, match="NST_TUNER_CUDA_GRAPHS is 'yes'"):
        StepGraphs.for_device(cpu)
