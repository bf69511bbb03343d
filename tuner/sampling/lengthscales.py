"""Over which distance a parameter matters, as other pairs of pictures teach it.

How much of style and content a picture takes differs from pair to pair; that it is this, the
learning rate and the start which decide, and hardly the layers, does not. A search that knows it
needs not find it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log10

import numpy as np

from search_spaces import Choice, Space
from search_spaces.derived import base_of
from tuner.job.objective import Goals
from tuner.transfer.curves import Curves, known_lengths

#: Note of a study, of what it began with.
LENGTHS = "lengths"
#: The objective whose recorded curves they are learned from.
LEARNED_FROM = "lpips"

#: By coordinate: the length of a kernel (`surrogate.Kernel`), of a number in its own unit, or in
#: decades where its logarithm is drawn; of a choice next to the others in the unit of the kernel.
Lengths = Mapping[str, float]


def lengths_for(space: Space, goals: Goals, curves: Curves) -> tuple[Lengths, str | None]:
    """The lengths that a search may start with, and one line where its objective allows none.

    Over which distance a parameter changes LPIPS says nothing of another measure: by colors, for
    example, a parameter may matter that LPIPS hardly sees.
    """
    known = known_lengths(curves)
    if goals.name == LEARNED_FROM or np.isnan(expected_lengths(space, known)).all():
        return known, None
    return {}, (
        f"the objective is {goals.name}: what is known beforehand about which parameters matter is"
        f" not used, since it was learned from {LEARNED_FROM}"
    )


def expected_lengths(space: Space, known: Lengths) -> np.ndarray:
    """The lengths_D of a space's coordinates, as of `surrogate.encode`; NaN where none is known."""
    return np.array(
        [
            known.get(name, np.nan) / extent if extent > 0 else np.nan  # a range of one value
            for name, extent in _coordinates(space)
        ]
    )


def _coordinates(space: Space) -> Iterable[tuple[str, float]]:
    """Name and extent of every coordinate, in the order of `surrogate.encode`."""
    for variant, parameter in space.params.items():
        name = base_of(variant)
        if isinstance(parameter, Choice):
            for option in parameter.options:
                yield f"{name}={option}", 1.0
        elif parameter.log:
            yield f"log10 {name}", log10(parameter.high / parameter.low)
        else:
            yield name, float(parameter.high - parameter.low)
