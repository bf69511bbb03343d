"""LaneScheduler: which lanes share a batch, and how many."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.lanes import lane_scheduler
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.batch_size import FIRST_LANES, REPLAN_TURNS
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.lane_scheduler import CHUNK_STEPS, LaneScheduler, chunk_steps
from nst_core.lanes.memory import lane_need
from nst_core.lanes.step_graph import Replay, StepGraphs
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights

SHALLOW = StyleConfig(style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, size_px=32)


@pytest.fixture
def inputs() -> LossInputs:
    content, style = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return LossInputs.at_size(content, [(style, 1.0)], 32)


@pytest.fixture
def scheduler(random_weights: Callable[[str], Weights]) -> LaneScheduler:
    return LaneScheduler(FeatureStore(random_weights))


def sizes(scheduler: LaneScheduler) -> list[int]:
    return [len(batch) for batch in scheduler._turns]


def take_turn(scheduler: LaneScheduler, steps: int = 1) -> LaneBatch:
    chunk = scheduler.advance(lambda _: steps, lambda _: False)
    scheduler.rebalance()
    return chunk.batch


def test_lanes_with_different_settings_share_a_batch(
    scheduler: LaneScheduler, inputs: LossInputs
) -> None:
    """Lanes with different optimizers and losses share a batch; other padding needs another."""
    configs = [SHALLOW, SHALLOW.replace(optimizer="lbfgs"), SHALLOW.replace(style_loss="mean_cov")]
    for index, config in enumerate(configs):
        scheduler.put((index, 0), config, inputs, None)
    assert sizes(scheduler) == [3]
    scheduler.put((3, 0), SHALLOW.replace(padding="replicate"), inputs, None)
    assert sizes(scheduler) == [3, 1]


def test_batches_take_turns(scheduler: LaneScheduler, inputs: LossInputs) -> None:
    """No batch has a second turn before all other batches had one."""
    for index in range(3 * FIRST_LANES):
        scheduler.put((index, 0), SHALLOW, inputs, None)
    assert len({id(scheduler.advance(lambda _: 1, lambda _: False).batch) for _ in range(3)}) == 3


def test_batches_are_joined_and_split(scheduler: LaneScheduler, inputs: LossInputs) -> None:
    """Batches are joined if more lanes are faster, and split if fewer are; no lane is lost."""
    keys = {(index, 0) for index in range(8)}
    for key in sorted(keys):
        scheduler.put(key, SHALLOW, inputs, None)
    (size,) = scheduler._sizes.values()
    assert sizes(scheduler) == [4, 4]
    size._lane_step_s = {4: deque([1.0] * 3)}
    scheduler.rebalance()
    assert sizes(scheduler) == [8]
    size._lane_step_s = {2: deque([1.0] * 3), 4: deque([2.0] * 3)}
    scheduler.rebalance()
    assert sorted(sizes(scheduler)) == [2, 2, 2, 2]
    assert {lane.key for batch in scheduler._turns for lane in batch.lanes} == keys
    for key in keys:
        scheduler.take(key)
    assert not scheduler and sizes(scheduler) == []


def test_a_new_lane_joins_at_the_next_turn(scheduler: LaneScheduler, inputs: LossInputs) -> None:
    """A new lane takes the place of a lane that left, and other lanes do not change."""
    for index in range(4):
        scheduler.put((index, 0), SHALLOW, inputs, None)
    take_turn(scheduler)
    scheduler.take((1, 0))
    scheduler.put((9, 0), SHALLOW, inputs, None)
    batch = take_turn(scheduler)
    assert {lane.key: lane.step for lane in batch.lanes} == {
        **{(0, 0): 2, (2, 0): 2, (3, 0): 2},
        (9, 0): 1,
    }


def test_the_largest_lane_limits_the_batch(
    scheduler: LaneScheduler, inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory limit of a group is planned for its largest lane, and again when that has left."""
    monkeypatch.setattr(lane_scheduler, "lanes_bytes", lambda *_: 2**29)
    scheduler.put((0, 0), SHALLOW, inputs, None)
    (size,) = scheduler._sizes.values()
    plain = size.memory.planned
    left = torch.zeros(32, 32)
    left[:, :16] = 1
    (style,) = inputs.regions[0].styles
    halves = [
        Style(image_3HW=style.image_3HW, region_HW=left),
        Style(image_3HW=style.image_3HW, region_HW=1 - left),
    ]
    masked = LossInputs.at_size(inputs.content_3HW, halves, 32)
    scheduler.put((1, 0), SHALLOW, masked, None)
    with_masks = size.memory.planned
    deep = SHALLOW.replace(style_layers={"relu5_1": 1.0}, optimizer="lbfgs")
    scheduler.put((2, 0), deep, inputs, None)
    with_deep = size.memory.planned
    assert len(scheduler._sizes) == 1 and 1 <= with_deep < with_masks < plain
    scheduler.put((3, 0), SHALLOW, inputs, None)
    assert size.memory.planned == with_deep
    for key in (1, 2):
        scheduler.take((key, 0))
    for _ in range(REPLAN_TURNS):
        take_turn(scheduler)
    assert size.memory.planned == plain


def test_memory_is_planned_again(
    scheduler: LaneScheduler, inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit follows the free memory: a batch that no longer fits is split some turns later."""
    need = lane_need(SHALLOW, 32, 32, device="cpu")
    monkeypatch.setattr(lane_scheduler, "lanes_bytes", lambda *_: need.bytes_for(4))
    for index in range(4):
        scheduler.put((index, 0), SHALLOW, inputs, None)
    take_turn(scheduler)
    assert sizes(scheduler) == [4]
    monkeypatch.setattr(lane_scheduler, "lanes_bytes", lambda *_: need.bytes_for(2))
    for _ in range(REPLAN_TURNS):
        take_turn(scheduler)
    assert sorted(sizes(scheduler)) == [2, 2]


def test_engines_share_the_memory(
    random_weights: Callable[[str], Weights], inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lanes of an engine are planned for its share of the memory."""
    asked: list[float] = []

    def bytes_of(_: torch.device, share: float) -> int:
        asked.append(share)
        return 2**30

    monkeypatch.setattr(lane_scheduler, "lanes_bytes", bytes_of)
    for share in (0.8, 0.2):
        scheduler = LaneScheduler(FeatureStore(random_weights), memory_share=share)
        scheduler.put((0, 0), SHALLOW, inputs, None)
    assert asked == [0.8, 0.2]


def test_memory_is_released_after_the_failed_step(
    scheduler: LaneScheduler, inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When memory is released after an out-of-memory error, the step's tensors are gone already."""
    tensors: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def fails(_: LaneBatch, steps: int) -> NoReturn:
        activations = torch.zeros(steps, 1000)
        tensors.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def release() -> None:
        alive.append(sum(tensor() is not None for tensor in tensors))

    for index in range(4):
        scheduler.put((index, 0), SHALLOW, inputs, None)
    with monkeypatch.context() as patch:
        patch.setattr(LaneBatch, "advance", fails)
        patch.setattr(lane_scheduler, "release_memory", release)
        chunk = scheduler.advance(lambda _: 1, lambda _: False)
    assert alive == [0] and len(tensors) == 1
    assert (chunk.steps, chunk.failures) == (0, [None] * 4)
    scheduler.rebalance()
    assert sorted(sizes(scheduler)) == [2, 2]
    for _ in range(2):
        take_turn(scheduler)
    assert [step for _, step in scheduler.steps()] == [1] * 4


def test_a_refused_call_fails_the_lane_and_not_the_engine(
    scheduler: LaneScheduler, inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that a library refuses ends a lane that is alone; a broken device, the engine."""
    scheduler.put((0, 0), SHALLOW, inputs, None)
    message = "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"

    def fails(*_: object) -> NoReturn:
        raise RuntimeError(message)

    monkeypatch.setattr(LaneBatch, "advance", fails)
    (failure,) = scheduler.advance(lambda _: 1, lambda _: False).failures
    assert failure is not None and message in failure
    message = "CUDA driver error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="illegal memory access"):
        scheduler.advance(lambda _: 1, lambda _: False)


def test_only_settled_turns_are_measured(scheduler: LaneScheduler, inputs: LossInputs) -> None:
    """A turn is measured if the batch had the same lanes in its last turn."""
    scheduler.put((0, 0), SHALLOW, inputs, None)
    (size,) = scheduler._sizes.values()
    for lanes, measured in ((1, 0), (1, 1), (2, 1), (2, 2)):
        if lanes > len(scheduler):
            scheduler.put((lanes, 0), SHALLOW, inputs, None)
        take_turn(scheduler)
        assert sum(map(len, size._lane_step_s.values())) == measured


def test_a_turn_that_records_is_not_measured(
    scheduler: LaneScheduler, inputs: LossInputs, random_weights: Callable[[str], Weights]
) -> None:
    """Of the turns of the same lanes, the one that records a step does not count."""

    def record(
        function: Callable[..., list[torch.Tensor]], fixed: Sequence[torch.Tensor]
    ) -> Replay:
        return lambda: function(fixed)

    store = FeatureStore(random_weights)
    scheduler._graphs = StepGraphs(record, eager_steps=3)
    scheduler._buckets = Buckets(store, scheduler._graphs)
    scheduler.put((0, 0), SHALLOW, inputs, None)
    (size,) = scheduler._sizes.values()
    # The first turn follows a change; the second one records after three steps.
    for recordings, measured in ((0, 0), (1, 0), (1, 1), (1, 2)):
        take_turn(scheduler, steps=2)
        assert scheduler._graphs.attempts == recordings
        assert sum(map(len, size._lane_step_s.values())) == measured


@pytest.mark.parametrize(
    ("step_s", "most", "steps"),
    [(None, 100, CHUNK_STEPS), (0.001, 10, 10), (0.001, 100, 100), (0.005, 100, 40), (1.0, 10, 1)],
)
def test_turns_fill_their_time(step_s: float | None, most: int, steps: int) -> None:
    """A turn has as many steps as fit into 0.2 s, within a limit, and at least one."""
    assert chunk_steps(step_s, 0.2, most=most) == steps


def test_long_turns_do_not_pass_a_stop(scheduler: LaneScheduler, inputs: LossInputs) -> None:
    """However many steps a turn may have, it ends where the first lane must be scored."""
    scheduler._most_steps = 1000
    scheduler.put((0, 0), SHALLOW, inputs, None)
    for stop in (3, 10, 40, 43):
        while (step := scheduler.steps()[0][1]) < stop:
            scheduler.advance(lambda batch, at=stop: at - batch.lanes[0].step, lambda _: False)
        assert step == stop


def test_a_turn_may_end_a_stage(scheduler: LaneScheduler) -> None:
    """A turn that ends a stage counts for the size of that stage."""
    content, style = torch.rand(2, 3, 64, 64)
    inputs = LossInputs.at_size(content, [(style, 1.0)], 64)
    config = SHALLOW.replace(size_px=64, scales=2, steps=8)
    scheduler.put((0, 0), config, inputs, None)
    ends = []
    while (step := scheduler.steps()[0][1]) < config.steps:
        scheduler.advance(lambda _, left=config.steps - step: min(2, left), lambda _: False)
        ends.append(scheduler.steps()[0][1])
        scheduler.enter_next_stage((0, 0), config, inputs)
        scheduler.rebalance()
    small, large = scheduler._sizes
    assert small.height < large.height
    turns = [size.memory.turns_since_plan for size in scheduler._sizes.values()]
    assert sum(turns) == len(ends) and min(turns) > 0 and ends[-1] == config.steps
