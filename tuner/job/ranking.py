"""Ranking: which result is better. Every comparison of results in the package is made here.

A result is compared by its `Values`: the total constraint violation, then the loss of each
objective. A result that violates a constraint comes after all results that keep the constraints.
Results that keep them are compared by the one objective, or by Pareto rank if there are several.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

#: What results are compared by, lower is better: (total constraint violation, loss of each
#: objective), as `Goals.values` computes it.
Values = tuple[float, ...]

#: Largest number of objectives of one run. With more, nearly every trial is on the Pareto front.
MAX_OBJECTIVES = 3


def ranking(values: Sequence[Values], beside: Sequence[Values] = ()) -> Sequence[tuple[float, ...]]:
    """Return one sort key for each result; the best result has the smallest key.

    With one objective the key is the result's `Values`. With several it is (violation, Pareto rank,
    minus crowding distance). Results that violate a constraint are ordered by their violation
    alone, and never dominate others (Deb's constrained domination, Deb et al., "A Fast and Elitist
    Multiobjective Genetic Algorithm: NSGA-II", IEEE TEC 2002). Within a Pareto rank, results far
    from their neighbors come first (the crowding distance of the same paper), so that the best
    results cover the whole front. All ends of a front have the same key.

    Args:
        values: the values of each result.
        beside: values of further reports. They may dominate the results, but get no key.
    """
    if not values or len(values[0]) == 2:  # one objective
        return values
    everything = [*values, *beside]
    keys = [(violation, 0, 0.0) for violation, *_ in everything]
    feasible = [index for index, (violation, *_) in enumerate(everything) if not violation]
    ranks, crowding = non_dominated([everything[index][1:] for index in feasible])
    for index, rank, distance in zip(feasible, ranks, crowding, strict=True):
        keys[index] = (0.0, rank, -distance)
    return keys[: len(values)]


def best_first(
    values: Sequence[Values], ties: Sequence[Any], beside: Sequence[Values] = ()
) -> list[int]:
    """Return the indices of results, best first.

    Results with equal sort keys are ordered by their values, so of the ends of a Pareto front the
    one with the best first objective comes first; equal values are ordered by ``ties``.

    Args:
        values: the values of each result.
        ties: what decides between equal results, one for each result; the smallest comes first.
        beside: see `ranking`.
    """
    keys = list(zip(ranking(values, beside), values, ties, strict=True))
    return sorted(range(len(values)), key=keys.__getitem__)


def pareto_front(values: Sequence[Values]) -> list[int]:
    """Return the indices of the results that no other result dominates.

    If any result keeps the constraints, only such results are on the front. If none does, the front
    consists of the results with the smallest violation.
    """
    if not values:
        return []
    least = min(violation for violation, *_ in values)
    rivals = [index for index, (violation, *_) in enumerate(values) if violation == least]
    ranks, _ = non_dominated([values[index][1:] for index in rivals])
    return [index for index, rank in zip(rivals, ranks, strict=True) if rank == 0]


def at_least_as_good(one: Values, other: Values) -> bool:
    """Whether ``one`` violates less than ``other``, or as little and is worse in no objective."""
    if one[0] != other[0]:
        return one[0] < other[0]
    return all(a <= b for a, b in zip(one[1:], other[1:], strict=True))


def non_dominated(losses: Sequence[tuple[float, ...]]) -> tuple[list[int], list[float]]:
    """Return the Pareto rank of each point, 0 for the front, and its crowding distance.

    Args:
        losses: one to `MAX_OBJECTIVES` values for each point, lower is better. Equal points have
            equal ranks.
    """
    if not len(losses):
        return [], []
    losses_NK = np.asarray(losses, dtype=np.float64) + 0.0  # no -0.0, which sorts before 0.0
    unique_UK, unique_N = np.unique(losses_NK, axis=0, return_inverse=True)
    rank_N = np.asarray(_ranks(unique_UK))[unique_N.reshape(-1)]
    crowding_N = np.zeros(len(losses_NK))
    by_rank_N = np.argsort(rank_N, kind="stable")
    for front in np.split(by_rank_N, np.flatnonzero(np.diff(rank_N[by_rank_N])) + 1):
        crowding_N[front] = _crowding(losses_NK[front])
    return rank_N.tolist(), crowding_N.tolist()


def _ranks(sorted_UK: np.ndarray) -> list[int]:
    """Return the Pareto ranks of distinct points in lexicographic order.

    Only an earlier point can dominate a point, and it does if it is no worse in the second and
    third value. If some point of one rank dominates it, some point of every lower rank does too, so
    bisection finds the rank (Jensen, "Reducing the Run-Time Complexity of Multiobjective EAs", IEEE
    TEC 2003). A matrix of all pairs needed 0.7 GB for 15,000 reports.
    """
    padded_U3 = np.pad(sorted_UK, ((0, 0), (0, MAX_OBJECTIVES - sorted_UK.shape[1])))
    fronts: list[_Staircase] = []
    ranks = []
    for _, second, third in padded_U3.tolist():
        rank = bisect_left(fronts, True, key=lambda front: not front.dominates(second, third))
        if rank == len(fronts):
            fronts.append(_Staircase())
        fronts[rank].add(second, third)
        ranks.append(rank)
    return ranks


class _Staircase:
    """The non-dominated points of a set of (first, second) values.

    The first values are in ascending order, so the second values are in descending order.
    """

    def __init__(self) -> None:
        self._first: list[float] = []
        self._second: list[float] = []

    def dominates(self, first: float, second: float) -> bool:
        """Whether any point is no worse than this one in both values."""
        place = bisect_right(self._first, first)
        return place > 0 and self._second[place - 1] <= second

    def add(self, first: float, second: float) -> None:
        """Add a point that no other point dominates, and drop the points that it dominates."""
        start = end = bisect_left(self._first, first)
        while end < len(self._first) and self._second[end] >= second:
            end += 1
        self._first[start:end], self._second[start:end] = [first], [second]


def _crowding(losses_NK: np.ndarray) -> np.ndarray:
    """Return, summed over objectives, the gap between a point's neighbors as a share of the range.

    The ends of the front get infinity.
    """
    distance_N = np.zeros(len(losses_NK))
    for loss_N in losses_NK.T:
        order = np.argsort(loss_N, kind="stable")
        ranked = loss_N[order]
        extent = ranked[-1] - ranked[0]
        distance_N[order[[0, -1]]] = np.inf
        if extent > 0:
            distance_N[order[1:-1]] += (ranked[2:] - ranked[:-2]) / extent
    return distance_N
