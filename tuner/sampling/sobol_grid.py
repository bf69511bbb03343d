"""Points of a space that need no study: Sobol sequences and grids, and what shares stand for."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from search_spaces import Choice, Int, Params, Space
from tuner.job.spec import SamplerName

#: Values of a number on a grid.
GRID_LEVELS = 3


def planned_point(
    name: SamplerName, space: Space, index: int, seed: int, given: Params | None = None
) -> Params | None:
    """The ``index``-th point of a Sobol sequence or a grid; None for other samplers.

    Args:
        name: of the sampler.
        space: where the point is.
        index: of the point, from 0.
        seed: of the sequence.
        given: parameters that it must have, whatever the sequence says.
    """
    if name == "sobol":
        from scipy.stats import qmc

        points = qmc.Sobol(len(space.params), rng=seed)
        if index:
            points.fast_forward(index)
        shares = dict(zip(space.params, points.random(1)[0].tolist(), strict=True))
        return point_at(space, shares, given)
    if name == "grid":
        grid = _Grid(space)
        # In an order that favours no corner; without a list of all points, which may be millions.
        step = _coprime(random.Random(seed).randrange(grid.size), grid.size)
        return point_at(space, grid.shares((index * step + seed) % grid.size), given)
    return None


def grid_size(space: Space) -> int:
    """How many points the grid of a space has."""
    return _Grid(space).size


class _Grid:
    """Points that differ: levels of what has no meaning at a point do not multiply."""

    def __init__(self, space: Space):
        self._space, self._params = space, list(space.params.items())
        self._asked = {other for _, parameter in self._params for other in parameter.when}
        self._known: dict[tuple[object, ...], int] = {}
        self.size = self._count(0, {})

    def shares(self, place: int) -> dict[str, float]:
        """Of each parameter at one of the points; 0 where it has no meaning."""
        shares, drawn = dict.fromkeys(self._space.params, 0.0), dict[str, float | int | str]()
        for at, (name, parameter) in enumerate(self._params):
            if not self._space.active(name, drawn):
                continue
            count = _levels(parameter)
            if isinstance(parameter, Choice):
                level, drawn[name] = 0, parameter.options[0]
                while place >= (below := self._count(at + 1, drawn)):
                    place, level = place - below, level + 1
                    drawn[name] = parameter.options[level]
            else:
                place, level = divmod(place, count)
            shares[name] = level / (count - 1) if count > 1 else 0.0
        return shares

    def _count(self, at: int, drawn: dict[str, float | int | str]) -> int:
        """Points that parameters from one on make, by what those before them are."""
        if at == len(self._params):
            return 1
        key = (at, *((name, drawn[name]) for name in self._asked & drawn.keys()))
        if key not in self._known:
            name, parameter = self._params[at]
            if not self._space.active(name, drawn):
                self._known[key] = self._count(at + 1, drawn)
            elif isinstance(parameter, Choice):
                each = [self._count(at + 1, {**drawn, name: o}) for o in parameter.options]
                self._known[key] = sum(each)
            else:
                self._known[key] = _levels(parameter) * self._count(at + 1, drawn)
        return self._known[key]


def _levels(parameter: Any) -> int:
    if isinstance(parameter, Choice):
        return len(parameter.options)
    if isinstance(parameter, Int):
        return min(GRID_LEVELS, parameter.high - parameter.low + 1)
    return GRID_LEVELS if parameter.high > parameter.low else 1


def _coprime(start: int, total: int) -> int:
    return next(n for n in itertools.count(max(1, start)) if math.gcd(n, total) == 1)


def point_at(space: Space, shares: Mapping[str, float], given: Params | None = None) -> Params:
    """The point of a space whose parameters lie at these shares of their ranges, from 0 to 1.

    Args:
        space: where the point is.
        shares: of each parameter, also of those that turn out to have no meaning there.
        given: values that it has whatever the shares say.
    """
    drawn: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if not space.active(name, drawn):
            continue
        if given and name in given:
            drawn[name] = given[name]
            continue
        share = shares[name]
        if isinstance(parameter, Choice):
            count = len(parameter.options)
            drawn[name] = parameter.options[min(count - 1, int(share * count))]
            continue
        low, high = float(parameter.low), float(parameter.high)
        value = low * (high / low) ** share if parameter.log else low + (high - low) * share
        value = min(high, max(low, float(value)))
        drawn[name] = round(value) if isinstance(parameter, Int) else value
    return drawn


def shares_of(space: Space, params: Params) -> dict[str, float]:
    """Shares at which `point_at` finds a point again; none for parameters it does not have."""
    shares = {}
    for name, parameter in space.params.items():
        if name not in params:
            continue
        if isinstance(parameter, Choice):
            place = parameter.options.index(str(params[name]))
            shares[name] = (place + 0.5) / len(parameter.options)
            continue
        low, high, at = float(parameter.low), float(parameter.high), float(params[name])
        if parameter.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        shares[name] = min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.5
    return shares


def whole_shares(parameter: Int, share_N: np.ndarray) -> np.ndarray:
    """Shares of the whole numbers that shares stand for; NaN stays."""
    low, high = float(parameter.low), float(parameter.high)
    if high <= low:
        return np.where(np.isnan(share_N), share_N, 0.5)  # as `shares_of`
    if parameter.log:
        whole_N = np.round(low * (high / low) ** share_N)
        return np.asarray(np.log(whole_N / low) / np.log(high / low))
    return np.asarray((np.round(low + (high - low) * share_N) - low) / (high - low))
