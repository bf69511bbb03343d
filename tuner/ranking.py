"""What is better: by bounds and one objective, or by the trade-offs of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: What a result is ranked by, lower is better: what it breaks of the bounds, then each objective.
Values = tuple[float, ...]


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
    """Rank of each point, 0 for the front, and its crowding distance within the rank."""
    values_NK = np.asarray(points, dtype=np.float64)
    better_NN = _dominates(values_NK)
    above_N = better_NN.sum(0)  # how many dominate each point, of those that have no rank yet
    rank_N, crowding_N = np.full(len(points), -1), np.zeros(len(points))
    level = 0
    while len(front := np.flatnonzero((rank_N < 0) & (above_N == 0))):
        rank_N[front], crowding_N[front] = level, _crowding(values_NK[front])
        above_N -= better_NN[front].sum(0)
        level += 1
    return rank_N.tolist(), crowding_N.tolist()


def _dominates(values_NK: np.ndarray) -> np.ndarray:
    """Whether the row's point is nowhere worse than the column's, and somewhere better."""
    nowhere_worse_NN = np.ones((len(values_NK), len(values_NK)), dtype=bool)
    for value_N in values_NK.T:  # one by one: all at once takes K times the memory
        nowhere_worse_NN &= value_N[:, None] <= value_N[None]
    return np.logical_and(nowhere_worse_NN, np.logical_not(nowhere_worse_NN.T))


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
