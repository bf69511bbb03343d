"""Ranks of a trade-off: the same as by comparing every pair of points, without a matrix of them."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuner.job.ranking import _crowding, non_dominated

#: Few values, so that there are ties and equal points; the signs of zero, and what is infinite.
NUMBERS = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, np.inf])
POINTS = st.integers(1, 3).flatmap(lambda k: st.lists(st.tuples(*[NUMBERS] * k), max_size=24))


def by_all_pairs(points: list[tuple[float, ...]]) -> tuple[list[int], list[float]]:
    """Ranks and crowding by the definition: front after front of what nothing left dominates."""
    values_NK = np.asarray(points, dtype=float).reshape(len(points), -1 if points else 2)
    no_worse_NN = (values_NK[:, None] <= values_NK[None]).all(-1)
    better_NN = no_worse_NN & ~no_worse_NN.T
    rank_N, crowding_N = np.full(len(points), -1), np.zeros(len(points))
    level = 0
    while (left_N := rank_N < 0).any():
        front = np.flatnonzero(left_N & ~better_NN[left_N].any(0))
        rank_N[front], crowding_N[front] = level, _crowding(values_NK[front])
        level += 1
    return rank_N.tolist(), crowding_N.tolist()


@given(POINTS)
@example([])
@example([(0.0, 0.0), (-0.0, 0.0), (0.0, -0.0)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_ranks_and_crowding_are_those_of_all_pairs(points: list[tuple[float, ...]]) -> None:
    """Whatever the points, ranks and crowding distances are those of the definition."""
    ranks, crowding = non_dominated(points)
    expected_ranks, expected_crowding = by_all_pairs(points)
    assert ranks == expected_ranks
    np.testing.assert_array_equal(crowding, expected_crowding)


@pytest.mark.parametrize("objectives", [2, 3])
def test_many_reports_are_ranked_as_by_all_pairs(objectives: int) -> None:
    """Among many fronts of many points, ranks and crowding distances are exact as well."""
    rng = np.random.default_rng(0)
    points = [tuple(row) for row in rng.random((600, objectives)).round(2).tolist()]
    assert non_dominated(points) == by_all_pairs(points)


@pytest.mark.parametrize("objectives", [2, 3])
def test_memory_does_not_grow_with_the_square_of_the_reports(objectives: int) -> None:
    """15,000 reports, which took 0.7 GB, are ranked within 50 MB."""
    rng = np.random.default_rng(0)
    points = [tuple(row) for row in rng.random((15_000, objectives)).tolist()]
    tracemalloc.start()
    ranks, _ = non_dominated(points)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ranks) == len(points)
    assert peak < 50e6
