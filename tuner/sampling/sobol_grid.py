"""Sobol sequences and grids: points of a search space that do not depend on earlier trials."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from search_spaces import Choice, Int, Params, Space
from tuner.job.sections import SamplerName
from tuner.sampling.encoding import point_at

#: Number of values of a numeric parameter on a grid.
GRID_LEVELS = 3


def planned_point(
    name: SamplerName, space: Space, index: int, seed: int, given: Params | None = None
) -> Params | None:
    """Return one point of a Sobol sequence or a grid; None for other samplers.

    Args:
        name: name of the sampler.
        space: the search space.
        index: number of the point in the sequence or grid, from 0.
        seed: seed of the sequence, or of the order of the grid.
        given: values that replace those of the point.
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
        # Steps that are coprime to the size visit every point once, in an order that favors no
        # corner, and need no list of all points, which may be millions.
        step = _coprime(random.Random(seed).randrange(grid.size), grid.size)
        return point_at(space, grid.shares((index * step + seed) % grid.size), given)
    return None


def grid_size(space: Space) -> int:
    """Return the number of points of the grid of a space."""
    return _Grid(space).size


class _Grid:
    """The distinct points of a grid: a parameter without a meaning does not multiply them."""

    def __init__(self, space: Space):
        self._space, self._params = space, list(space.params.items())
        self._conditions = {other for _, parameter in self._params for other in parameter.when}
        self._counts: dict[tuple[object, ...], int] = {}
        self.size = self._count(0, {})

    def shares(self, place: int) -> dict[str, float]:
        """Return the share of each parameter at a point; 0 if it has no meaning there."""
        shares, drawn = dict.fromkeys(self._space.params, 0.0), dict[str, float | int | str]()
        for index, (name, parameter) in enumerate(self._params):
            if not self._space.active(name, drawn):
                continue
            count = _levels(parameter)
            if isinstance(parameter, Choice):
                level, drawn[name] = 0, parameter.options[0]
                while place >= (below := self._count(index + 1, drawn)):
                    place, level = place - below, level + 1
                    drawn[name] = parameter.options[level]
            else:
                place, level = divmod(place, count)
            shares[name] = level / (count - 1) if count > 1 else 0.0
        return shares

    def _count(self, first: int, drawn: dict[str, float | int | str]) -> int:
        """Return the number of points that the parameters from index ``first`` on form.

        Args:
            first: index of the first of these parameters.
            drawn: values of the choices before it.
        """
        if first == len(self._params):
            return 1
        key = (first, *((name, drawn[name]) for name in self._conditions & drawn.keys()))
        if key not in self._counts:
            name, parameter = self._params[first]
            if not self._space.active(name, drawn):
                count = self._count(first + 1, drawn)
            elif isinstance(parameter, Choice):
                count = sum(
                    self._count(first + 1, {**drawn, name: option}) for option in parameter.options
                )
            else:
                count = _levels(parameter) * self._count(first + 1, drawn)
            self._counts[key] = count
        return self._counts[key]


def _levels(parameter: Any) -> int:
    if isinstance(parameter, Choice):
        return len(parameter.options)
    if isinstance(parameter, Int):
        return min(GRID_LEVELS, parameter.high - parameter.low + 1)
    return GRID_LEVELS if parameter.high > parameter.low else 1


def _coprime(start: int, total: int) -> int:
    return next(n for n in itertools.count(max(1, start)) if math.gcd(n, total) == 1)
