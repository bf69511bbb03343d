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

#: Note of a study, of what it began with.
LENGTHS = "lengths"

#: By coordinate: the length of a kernel (`surrogate.Kernel`), of a number in its own unit, or in
#: decades where its logarithm is drawn; of a choice next to the others in the unit of the kernel.
Lengths = Mapping[str, float]


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
