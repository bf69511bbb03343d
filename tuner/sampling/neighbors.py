"""Neighbors: configurations near another one."""

from __future__ import annotations

import numpy as np

from search_spaces import Choice, Params, Space
from tuner.sampling.encoding import point_at, shares_of

#: Standard deviation of a number's change, as a share of its range.
SPREAD = 0.08
#: Probability that a choice changes.
CHANGED_CHOICE = 0.1


def near(space: Space, params: Params, seed: tuple[int, ...]) -> Params:
    """Return a configuration near another one.

    Numbers change a little, and a choice changes rarely. Parameters that have a meaning only after
    such a change are drawn from their whole range.

    Args:
        space: the search space.
        params: a configuration of the space.
        seed: seed of the random changes.
    """
    rng = np.random.default_rng(seed)
    known = shares_of(space, params)
    shares = {}
    for name, parameter in space.params.items():
        anywhere, change, changes = rng.random(), rng.normal(0.0, SPREAD), rng.random()
        if name not in known or (isinstance(parameter, Choice) and changes < CHANGED_CHOICE):
            shares[name] = anywhere
        elif isinstance(parameter, Choice):
            shares[name] = known[name]
        else:  # reflected at the ends of the range
            shares[name] = 1 - abs(1 - abs(known[name] + change))
    return point_at(space, shares)
