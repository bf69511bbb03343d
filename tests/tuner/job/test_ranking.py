"""Ranking: constraints, one objective, Pareto fronts of several, and their cost in memory."""

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tuner.made_results import job, order, results, trial
from tuner.job.ranking import (
    _crowding,
    at_least_as_good,
    best_first,
    non_dominated,
    pareto_front,
    ranking,
)

#: Few values, so that there are ties and equal points; both zeros, and infinity.
NUMBERS = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, np.inf])
POINTS = st.integers(1, 3).flatmap(lambda k: st.lists(st.tuples(*[NUMBERS] * k), max_size=24))
WHOLE = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1)


def by_all_pairs(points: list[tuple[float, ...]]) -> tuple[list[int], list[float]]:
    """Ranks and crowding distances by their definition: one front after the other."""
    values_NK = np.asarray(points, dtype=float).reshape(len(points), -1 if points else 2)
    no_worse_NN = (values_NK[:, None] <= values_NK[None]).all(-1)
    better_NN = no_worse_NN & ~no_worse_NN.T
    rank_N, crowding_N = np.full(len(points), -1), np.zeros(len(points))
    level = 0
    while (unranked_N := rank_N < 0).any():
        front = np.flatnonzero(unranked_N & ~better_NN[unranked_N].any(0))
        rank_N[front], crowding_N[front] = level, _crowding(values_NK[front])
        level += 1
    return rank_N.tolist(), crowding_N.tolist()


@given(POINTS)
@example([])
@example([(0.0, 0.0), (-0.0, 0.0), (0.0, -0.0)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_ranks_and_crowding_follow_their_definition(points: list[tuple[float, ...]]) -> None:
    """For any points, ranks and crowding distances equal those computed from all pairs."""
    ranks, crowding = non_dominated(points)
    expected_ranks, expected_crowding = by_all_pairs(points)
    assert ranks == expected_ranks
    np.testing.assert_array_equal(crowding, expected_crowding)


@given(WHOLE)
def test_each_rank_is_one_layer(points: list[tuple[int, int, int]]) -> None:
    """No point dominates another of its rank; some point of the previous rank dominates it."""

    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    ranks, crowding = non_dominated([tuple(map(float, point)) for point in points])
    for i, a in enumerate(points):
        same = [points[j] for j, rank in enumerate(ranks) if rank == ranks[i]]
        assert not any(dominates(b, a) for b in same)
        if ranks[i]:
            before = [points[j] for j, rank in enumerate(ranks) if rank == ranks[i] - 1]
            assert any(dominates(b, a) for b in before)
    assert all(distance >= 0 for distance in crowding)


@pytest.mark.parametrize("objectives", [2, 3])
def test_many_reports_are_ranked_exactly(objectives: int) -> None:
    """Many fronts of many points get the ranks and crowding distances of the definition."""
    rng = np.random.default_rng(0)
    points = [tuple(row) for row in rng.random((600, objectives)).round(2).tolist()]
    assert non_dominated(points) == by_all_pairs(points)


@pytest.mark.parametrize("objectives", [2, 3])
def test_memory_does_not_grow_with_the_square_of_the_reports(objectives: int) -> None:
    """Ranking 15,000 reports needs less than 50 MB; a matrix of all pairs needed 0.7 GB."""
    rng = np.random.default_rng(0)
    points = [tuple(row) for row in rng.random((15_000, objectives)).tolist()]
    tracemalloc.start()
    ranks, _ = non_dominated(points)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ranks) == len(points)
    assert peak < 50e6


def test_a_violation_displaces_no_valid_result() -> None:
    """Results that keep the constraints have the same keys with and without those that do not."""
    valid = [(0.0, 0.5, 0.6), (0.0, 0.7, 0.3), (0.0, 0.8, 0.8)]
    violating = [(1.0, 0.4, 0.4), (0.5, 0.1, 0.5)]
    keys = ranking([*violating, *valid])
    assert sorted(range(5), key=keys.__getitem__)[2:] == [4, 1, 0]
    assert keys[2:] == ranking(valid)


def test_the_ends_of_a_front_are_never_crowded() -> None:
    """The best in either objective and lonely trade-offs come before crowded ones."""
    front = [(0.0, 1.0), (0.1, 0.9), (0.12, 0.88), (0.5, 0.5), (1.0, 0.0)]
    ranks, crowding = non_dominated(front)
    assert set(ranks) == {0}
    assert math.isinf(crowding[0]) and math.isinf(crowding[-1])
    assert crowding[3] > crowding[2]
    keys = ranking([(0.0, *point) for point in front])
    assert sorted(range(5), key=keys.__getitem__)[:2] == [0, 4]


def test_equal_results_are_ordered_by_ties() -> None:
    """Values decide first, also between the ends of a front; then the given ties decide."""
    assert best_first([(0.0, 2.0), (0.0, 1.0), (0.0, 1.0)], ties=[0, 9, 3]) == [2, 1, 0]
    assert best_first([(0.0, 3.0, 1.0), (0.0, 1.0, 3.0)], ties=[0, 1]) == [1, 0]


def test_reports_beside_the_results_take_part_in_ranks() -> None:
    """A result that an additional report dominates is not on the front; the report has no key."""
    values = [(0.0, 1.0, 9.0), (0.0, 5.0, 5.0)]
    assert best_first(values, ties=[0, 1], beside=[(0.0, 1.0, 8.0)]) == [1, 0]
    assert len(ranking(values, beside=[(0.0, 1.0, 8.0)])) == 2


def test_a_front_keeps_the_constraints_if_it_can() -> None:
    """Only valid results are on a front; without any, the smallest violations are."""
    values = [(0.0, 2.0, 2.0), (0.0, 3.0, 1.0), (0.0, 3.0, 3.0), (0.5, 0.0, 0.0)]
    assert pareto_front(values) == [0, 1]
    assert pareto_front([(0.5, 2.0, 2.0), (0.5, 3.0, 1.0), (0.7, 0.0, 0.0)]) == [0, 1]
    assert pareto_front([]) == []


def test_as_good_compares_violations_then_every_objective() -> None:
    """A smaller violation is better; with equal violations no objective may be worse."""
    assert at_least_as_good((0.0, 9.0, 9.0), (0.1, 0.0, 0.0))
    assert at_least_as_good((0.0, 1.0, 2.0), (0.0, 1.0, 3.0))
    assert not at_least_as_good((0.0, 1.0, 2.0), (0.0, 0.5, 3.0))


@pytest.mark.parametrize("bound", ["<= 2", "<= 0.5"])
def test_three_objectives_are_ranked_in_results(bound: str) -> None:
    """A run with three objectives has a ranking and a front, whether or not a bound is kept."""
    objectives = ["lpips", "ssim", "seconds_per_image"]
    asked = job(objective=objectives, constraints={"seconds_per_image": bound})
    points = enumerate(product([0.2, 0.3], [0.4, 0.5], [1.0, 3.0]))
    records = [trial(n, asked.goals, x, ssim=y, seconds=z) for n, (x, y, z) in points]
    found = results(asked, records)
    assert order(found)[0] == 2 and len(found.ranked()) == 8
    assert [one.record.trial for one in found.front()] == [2]
