"""Which lanes advance together, and how many."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.scheduler import DARE_AGAIN, FIRST_LANES, BatchSize, LaneScheduler
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights

SHALLOW = StyleConfig(style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, size_px=32)


@pytest.fixture
def inputs() -> LossInputs:
    content, style = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return LossInputs.at_size(content, [(style, 1.0)], 32)


@pytest.fixture
def batches(random_weights: Callable[[str], Weights]) -> LaneScheduler:
    return LaneScheduler(FeatureStore(random_weights))


def sizes(batches: LaneScheduler) -> list[int]:
    return [len(batch) for batch in batches._turns]


def turn(batches: LaneScheduler, steps: int = 1) -> LaneBatch:
    chunk = batches.advance(lambda _: steps, lambda _: False)
    batches.even_out()
    return chunk.batch


@given(costs=st.lists(st.floats(0.1, 10), min_size=9, max_size=9), most=st.integers(1, 256))
def test_the_size_settles_on_what_was_fastest(costs: list[float], most: int) -> None:
    """Sizes double while lanes get faster; the limit ends at the fastest size that was tried."""
    size, tried = BatchSize(planned=most), {}
    for _ in range(40):
        lanes = size.limit
        tried[lanes] = costs[lanes.bit_length() - 1]
        size.measured(lanes, lanes * tried[lanes])
    assert max(tried) <= most
    assert tried[size.limit] == min(tried.values())


def test_the_first_measurement_of_a_size_does_not_count() -> None:
    """Libraries prepare for a new shape at its first step; that says nothing about later ones."""
    size = BatchSize(planned=64)
    assert size.limit == FIRST_LANES
    size.measured(FIRST_LANES, 1000.0)
    assert size.limit == FIRST_LANES
    size.measured(FIRST_LANES, 1.0)
    assert size.limit == 2 * FIRST_LANES


def test_a_lack_of_memory_halves_and_is_forgotten() -> None:
    """After a lack of memory a batch is half as large; after long enough it grows again."""
    size = BatchSize(planned=8)
    size.too_many(8)
    assert size.most == 4
    size.too_many(4)
    assert size.most == 2
    for most in (2, 4, 8):
        assert size.most == most
        for _ in range(DARE_AGAIN):
            size.measured(2, 1.0)


def test_lanes_of_all_kinds_share_a_batch(batches: LaneScheduler, inputs: LossInputs) -> None:
    """Optimizer, depth and losses do not keep lanes apart; another network's border does."""
    configs = [SHALLOW, SHALLOW.replace(optimizer="lbfgs"), SHALLOW.replace(style_loss="mean_cov")]
    for index, config in enumerate(configs):
        batches.put((index, 0), config, inputs, None)
    assert sizes(batches) == [3]
    batches.put((3, 0), SHALLOW.replace(padding="replicate"), inputs, None)
    assert sizes(batches) == [3, 1]


def test_batches_take_turns(batches: LaneScheduler, inputs: LossInputs) -> None:
    """No batch has a second turn before all others had one."""
    for index in range(3 * FIRST_LANES):
        batches.put((index, 0), SHALLOW, inputs, None)
    assert len({id(batches.advance(lambda _: 1, lambda _: False).batch) for _ in range(3)}) == 3


def test_lanes_are_evened_out(batches: LaneScheduler, inputs: LossInputs) -> None:
    """Batches are joined when more lanes turn out faster, split when fewer do; none is lost."""
    keys = {(index, 0) for index in range(8)}
    for key in sorted(keys):
        batches.put(key, SHALLOW, inputs, None)
    (size,) = batches._sizes.values()
    assert sizes(batches) == [4, 4]
    size._lane_step_s = {4: 1.0}
    batches.even_out()
    assert sizes(batches) == [8]
    size._lane_step_s = {2: 1.0, 4: 2.0}
    batches.even_out()
    assert sorted(sizes(batches)) == [2, 2, 2, 2]
    assert {lane.key for batch in batches._turns for lane in batch.lanes} == keys
    for key in keys:
        batches.take(key)
    assert not batches and sizes(batches) == []


def test_a_newcomer_joins_at_the_next_turn(batches: LaneScheduler, inputs: LossInputs) -> None:
    """The place of a lane that leaves is taken at once, and the others do not notice."""
    for index in range(4):
        batches.put((index, 0), SHALLOW, inputs, None)
    turn(batches)
    batches.take((1, 0))
    batches.put((9, 0), SHALLOW, inputs, None)
    batch = turn(batches)
    assert {lane.key: lane.step for lane in batch.lanes} == {
        **{(0, 0): 2, (2, 0): 2, (3, 0): 2},
        (9, 0): 1,
    }


def test_lanes_with_masks_need_room_for_them(
    batches: LaneScheduler, inputs: LossInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that began without masks is planned again when a lane has some."""
    monkeypatch.setattr("nst_core.lanes.scheduler.free_bytes", lambda _: 2**30)
    batches.put("plain", SHALLOW, inputs, None)
    (size,) = batches._sizes.values()
    before = size.planned
    left = torch.zeros(32, 32)
    left[:, :16] = 1
    (style,) = inputs.regions[0].styles
    halves = [
        Style(image_3HW=style.image_3HW, region_HW=left),
        Style(image_3HW=style.image_3HW, region_HW=1 - left),
    ]
    masked = LossInputs.at_size(inputs.content_3HW, halves, 32)
    batches.put("masked", SHALLOW, masked, None)
    assert len(batches._sizes) == 1 and 1 <= size.planned < before
    batches.put("plain again", SHALLOW, inputs, None)
    assert size.planned < before
