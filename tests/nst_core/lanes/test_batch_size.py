"""BatchSize: the number of lanes per batch, by memory and by measured time."""

import random
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from nst_core.lanes.batch_size import (
    ENOUGH,
    FIRST_LANES,
    MOST_SKIPPED,
    RETRY_TURNS,
    BatchSize,
    MemoryLimit,
)
from nst_core.lanes.memory import LaneNeed


def batch_size(planned: int) -> BatchSize:
    return BatchSize(MemoryLimit(planned=planned))


@given(costs=st.lists(st.floats(0.1, 10), min_size=9, max_size=9), most=st.integers(1, 256))
def test_the_limit_ends_at_the_fastest_size(costs: list[float], most: int) -> None:
    """The limit doubles while steps per lane get faster, and ends at the fastest size."""
    size, tried = batch_size(most), {}
    for _ in range(60):
        lanes = size.limit
        tried[lanes] = costs[(lanes - 1).bit_length()]
        size.record_turn(lanes, lanes * tried[lanes])
    assert max(tried) <= most
    assert tried[size.limit] == min(tried.values())


def test_turns_after_a_change_are_not_measured() -> None:
    """A turn that follows a change of lanes is not measured."""
    size = batch_size(64)
    assert size.limit == FIRST_LANES
    size.record_turn(FIRST_LANES, 1000.0, settled=False)
    assert size.limit == FIRST_LANES
    size.record_turn(FIRST_LANES, 1.0)
    assert size.limit == 2 * FIRST_LANES


def test_turns_that_record_are_never_measured() -> None:
    """However many turns record a step, none of them counts."""
    size = batch_size(64)
    for _ in range(5 * MOST_SKIPPED):
        size.record_turn(FIRST_LANES, None, settled=False)
    assert size.limit == FIRST_LANES


def test_lanes_that_change_in_every_turn_are_measured_too() -> None:
    """Where lanes join or leave before every turn, the limit still grows."""
    size = batch_size(64)
    for _ in range(2 * (MOST_SKIPPED + 1)):
        size.record_turn(size.limit, 1.0, settled=False)
    assert size.limit == 4 * FIRST_LANES


def test_one_slow_turn_does_not_lower_the_limit() -> None:
    """A larger size is slower only if several turns say so."""
    size = batch_size(64)
    size.record_turn(4, 4.0)
    for _ in range(ENOUGH - 1):
        size.record_turn(8, 800.0)
        assert size.limit == 8
    size.record_turn(8, 4.0)
    assert size.limit == 16


def test_a_slower_size_is_tried_again() -> None:
    """A size that was slower for a while, because of another process, is tried again later."""
    size = batch_size(8)
    size.record_turn(4, 4.0)
    for _ in range(ENOUGH):
        size.record_turn(8, 80.0)
    assert size.limit == 4
    for _ in range(RETRY_TURNS):
        size.record_turn(size.limit, 4.0)
    assert size.limit == 8


def share_below_the_fastest(lane_step_s: Mapping[int, float], seed: int) -> float:
    """Return the share of 1,000 turns at sizes below the fastest one.

    Times vary by a fifth, and one turn in twenty waits for another process.
    """
    rng, size, before, below = random.Random(seed), batch_size(64), 0, 0
    fastest = min(lane_step_s, key=lane_step_s.__getitem__)
    for _ in range(1000):
        lanes = size.limit
        step_s = lanes * lane_step_s[lanes] * (1 + abs(rng.gauss(0, 0.2)))
        settled, before = lanes == before, lanes
        waits = not settled or rng.random() < 0.05
        size.record_turn(lanes, 3 * step_s if waits else step_s, settled=settled)
        below += lanes < fastest
    return below / 1000


def test_few_turns_are_below_the_fastest_size() -> None:
    """Noise does not keep a group below its fastest size; a size that lost once used to be out."""
    lane_step_s = {4: 1.6, 8: 1.25, 16: 1.0, 32: 1.1, 64: 1.3}
    shares = [share_below_the_fastest(lane_step_s, seed) for seed in range(30)]
    assert max(shares) < 0.1


def test_out_of_memory_halves_the_limit_for_a_while() -> None:
    """An out-of-memory error halves the limit, which grows again after enough turns."""
    memory = MemoryLimit(planned=8)
    memory.record_out_of_memory(8)
    assert memory.lanes == 4
    memory.record_out_of_memory(4)
    assert memory.lanes == 2
    for most in (2, 4, 8):
        assert memory.lanes == most
        for _ in range(RETRY_TURNS):
            memory.record_turn()


def test_experience_does_not_exceed_the_plan() -> None:
    """After an out-of-memory error, a smaller plan still limits the lanes."""
    memory = MemoryLimit(planned=64)
    memory.record_out_of_memory(64)
    memory.plan(LaneNeed(fixed=0, per_lane=10), 5)
    assert memory.lanes == 5
