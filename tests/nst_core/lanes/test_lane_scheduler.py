"""LaneScheduler: which lanes share a batch, and how many."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.lane_scheduler import FIRST_LANES, RETRY_TURNS, BatchSize, LaneScheduler
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


@given(costs=st.lists(st.floats(0.1, 10), min_size=9, max_size=9), most=st.integers(1, 256))
def test_the_limit_ends_at_the_fastest_size(costs: list[float], most: int) -> None:
    """The limit doubles while steps per lane get faster, and ends at the fastest size."""
    size, tried = BatchSize(planned=most), {}
    for _ in range(40):
        lanes = size.limit
        tried[lanes] = costs[lanes.bit_length() - 1]
        size.record_time(lanes, lanes * tried[lanes])
    assert max(tried) <= most
    assert tried[size.limit] == min(tried.values())


def test_the_first_time_of_a_size_does_not_count() -> None:
    """The first time of a size is ignored, since it includes initialization of libraries."""
    size = BatchSize(planned=64)
    assert size.limit == FIRST_LANES
    size.record_time(FIRST_LANES, 1000.0)
    assert size.limit == FIRST_LANES
    size.record_time(FIRST_LANES, 1.0)
    assert size.limit == 2 * FIRST_LANES


def test_out_of_memory_halves_the_limit_for_a_while() -> None:
    """An out-of-memory error halves the limit, which grows again after enough turns."""
    size = BatchSize(planned=8)
    size.record_out_of_memory(8)
    assert size.memory_limit == 4
    size.record_out_of_memory(4)
    assert size.memory_limit == 2
    for most in (2, 4, 8):
        assert size.memory_limit == most
        for _ in range(RETRY_TURNS):
            size.record_time(2, 1.0)


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
    size._lane_step_s = {4: 1.0}
    scheduler.rebalance()
    assert sizes(scheduler) == [8]
    size._lane_step_s = {2: 1.0, 4: 2.0}
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


def test_lanes_with_masks_reduce_the_limit(
    scheduler: LaneScheduler, inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory limit of a group is estimated again when a lane with masks joins."""
    monkeypatch.setattr("nst_core.lanes.lane_scheduler.free_bytes", lambda _: 2**30)
    scheduler.put("plain", SHALLOW, inputs, None)
    (size,) = scheduler._sizes.values()
    before = size.planned
    left = torch.zeros(32, 32)
    left[:, :16] = 1
    (style,) = inputs.regions[0].styles
    halves = [
        Style(image_3HW=style.image_3HW, region_HW=left),
        Style(image_3HW=style.image_3HW, region_HW=1 - left),
    ]
    masked = LossInputs.at_size(inputs.content_3HW, halves, 32)
    scheduler.put("masked", SHALLOW, masked, None)
    assert len(scheduler._sizes) == 1 and 1 <= size.planned < before
    scheduler.put("plain again", SHALLOW, inputs, None)
    assert size.planned < before
