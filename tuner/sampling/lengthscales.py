"""Expected lengthscales of the Gaussian process: what tuning on other pairs has shown.

The best balance of style and content differs from pair to pair. Which parameters matter does not:
they are this balance, the learning rate and the initialization, and hardly the layers. A search
that knows this needs fewer trials.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from search_spaces import Space
from tuner.sampling.encoding import coordinates

#: Note of a study: the lengthscales that the run started with.
LENGTHS = "lengths"

#: Coordinate (`encoding.coordinates`) -> lengthscale of the kernel: in the unit of the parameter,
#: in decades if its range is logarithmic, and in the unit of the kernel for an option of a choice.
Lengths = Mapping[str, float]


def expected_lengths(space: Space, lengths: Lengths) -> np.ndarray:
    """Return the lengthscales_D of a space's coordinates; NaN where none is known.

    Args:
        space: the search space.
        lengths: the known lengthscales, by name of the coordinate.
    """
    return np.array(
        [
            lengths.get(name, np.nan) / extent if extent > 0 else np.nan  # a range of one value
            for name, extent in coordinates(space)
        ]
    )
