"""What is better: by bounds and one objective, or by the trade-offs of several."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

#: What a result is ranked by, lower is better: what it breaks of the bounds, then each objective.
Values = tuple[float, ...]

#: Objectives that a trade-off has at most.
MOST_VALUES = 3


def ranking(values: Sequence[Values]) -> Sequence[Any]:
    """Sort keys of `Goals.values`: what keeps the bounds first, by non-dominated rank.

    What breaks them counts for nothing else (Deb's constrained domination, Deb et al., IEEE TEC
    2002).

    Within a rank, results far from their neighbours come first (the crowding distance of NSGA-II,
    the same paper), so that what is kept spreads over the trade-offs. The ends of a front are equal
    then, so this does not tell the best: see `Results.ranked`.
    """
    if not values or len(values[0]) == 2:  # one objective
        return values
    keys = [(value[0], 0, 0.0) for value in values]
    kept = [i for i, value in enumerate(values) if not value[0]]
    ranks, crowding = non_dominated([values[i][1:] for i in kept])
    for i, rank, distance in zip(kept, ranks, crowding, strict=True):
        keys[i] = (0.0, rank, -distance)
    return keys


def non_dominated(points: Sequence[Values]) -> tuple[list[int], list[float]]:
    """Rank of each point, 0 for the front, and its crowding distance within the rank.

    Args:
        points: of up to three values each, lower is better; equal points share a rank.
    """
    if not len(points):
        return [], []
    values_NK = np.asarray(points, dtype=np.float64) + 0.0  # no -0.0, which sorts before 0.0
    unique_UK, unique_N = np.unique(values_NK, axis=0, return_inverse=True)
    rank_N = np.asarray(_ranks(unique_UK))[unique_N.reshape(-1)]
    crowding_N = np.zeros(len(values_NK))
    by_rank_N = np.argsort(rank_N, kind="stable")
    for front in np.split(by_rank_N, np.flatnonzero(np.diff(rank_N[by_rank_N])) + 1):
        crowding_N[front] = _crowding(values_NK[front])
    return rank_N.tolist(), crowding_N.tolist()


def _ranks(sorted_UK: np.ndarray) -> list[int]:
    """Ranks of different points in lexicographic order, in memory for these points only.

    A point can be dominated by an earlier one alone, and is if that is no worse in the second and
    the third value. Where any point of a rank dominates it, some point of every lower rank does, so
    its own rank is found by bisection (Jensen, "Reducing the Run-Time Complexity of Multiobjective
    EAs", IEEE TEC 2003). A matrix of all pairs took 0.7 GB for 15,000 reports.
    """
    fronts: list[_Staircase] = []
    ranks = []
    for _, second, third in _three_columns(sorted_UK).tolist():
        rank = bisect_left(fronts, True, key=lambda front: not front.dominates(second, third))
        if rank == len(fronts):
            fronts.append(_Staircase())
        fronts[rank].add(second, third)
        ranks.append(rank)
    return ranks


def _three_columns(values_NK: np.ndarray) -> np.ndarray:
    """The points with zeros for the values that they lack."""
    count, columns = values_NK.shape
    return np.hstack([values_NK, np.zeros((count, MOST_VALUES - columns))])


class _Staircase:
    """The best of some points of two values: the first ascends, so the second descends."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._second: list[float] = []

    def dominates(self, first: float, second: float) -> bool:
        """Whether any of the points is no worse in both values."""
        place = bisect_right(self._first, first)
        return place > 0 and self._second[place - 1] <= second

    def add(self, first: float, second: float) -> None:
        """Take in a point that none dominates; those that it dominates are dropped."""
        start = end = bisect_left(self._first, first)
        while end < len(self._first) and self._second[end] >= second:
            end += 1
        self._first[start:end], self._second[start:end] = [first], [second]


def _crowding(values_NK: np.ndarray) -> np.ndarray:
    """Sum over objectives of the gap between a point's neighbours, as a share of the range."""
    distance_N = np.zeros(len(values_NK))
    for value_N in values_NK.T:
        order = np.argsort(value_N, kind="stable")
        ranked = value_N[order]
        extent = ranked[-1] - ranked[0]
        distance_N[order[[0, -1]]] = np.inf
        if extent > 0:
            distance_N[order[1:-1]] += (ranked[2:] - ranked[:-2]) / extent
    return distance_N
