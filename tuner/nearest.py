"""Configurations of a space as points, and guesses from the nearest of those that were tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search_spaces import Choice, Params, Space

#: Tried configurations that a guess between them is made of.
NEIGHBOURS = 4
#: How far apart two choices of a parameter are, as a share of a number's range.
CHOICE_DISTANCE = 0.5


def encode(space: Space, params: Params) -> np.ndarray:
    """A configuration as a point_D; numbers by their share of the range.

    A parameter that has no meaning for the configuration stands in the middle of its range.
    """
    point: list[float] = []
    for name, parameter in space.params.items():
        value = params.get(name)
        if isinstance(parameter, Choice):
            apart = CHOICE_DISTANCE / 2**0.5  # two unlike choices differ in two places
            point += [apart * (value == option) for option in parameter.options]
        elif value is None:
            point.append(0.5)
        else:
            low, high, at = float(parameter.low), float(parameter.high), float(value)
            if parameter.log:
                low, high, at = np.log(low), np.log(high), np.log(at)
            point.append((at - low) / (high - low) if high > low else 0.5)
    return np.asarray(point)


def encode_all(space: Space, params: Sequence[Params]) -> np.ndarray:
    """Configurations as points_ND."""
    return np.stack([encode(space, one) for one in params])


def nearest(
    points_ND: np.ndarray, point_D: np.ndarray, *, without: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the nearest points, and weights that sum to 1 and favour the very nearest.

    Args:
        points_ND: that were tried.
        point_D: that is asked about; one that was tried gets all the weight.
        without: index of a point to leave out, to see how good a guess is.
    """
    distance_N = np.linalg.norm(points_ND - point_D, axis=1)
    if without is not None:
        distance_N[without] = np.inf
    found_K = np.argsort(distance_N, kind="stable")[:NEIGHBOURS]
    weight_K = 1 / np.maximum(distance_N[found_K], 1e-6) ** 4
    return found_K, weight_K / weight_K.sum()
