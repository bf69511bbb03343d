"""Points of a space that need no study: Sobol sequences and grids, and what shares stand for."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from search_spaces import Choice, Int, Params, Space
from tuner.job.spec import SamplerName
from tuner.sampling.encoding import point_at

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
