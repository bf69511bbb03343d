"""Expected lengthscales of the Gaussian process: what tuning on other pairs has shown.

The best balance of style and content differs from pair to pair. Which parameters matter does not:
they are this balance, the learning rate and the initialization, and hardly the layers. A search
that knows this needs fewer trials.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from search_spaces import Space
from tuner.job.objective import Goals
from tuner.sampling.encoding import coordinates

#: Note of a study: the lengthscales that the run started with.
LENGTHS = "lengths"

#: Coordinate (`encoding.coordinates`) -> lengthscale of the kernel: in the unit of the parameter,
#: in decades if its range is logarithmic, and in the unit of the kernel for an option of a choice.
Lengths = Mapping[str, float]

#: Lengthscales for LPIPS, the median over eight pairs on a log scale: a kernel was fitted to the
#: best LPIPS of 240 configurations of each pair. `python -m benchmarks.lengthscales` prints them.
KNOWN_LENGTHS: Lengths = {
    "log10_style_content": 2.3,
    "log10 lr": 1.1,
    "style_set=relu1_1-3_1": 1.1,
    "style_set=relu1_1-4_1": 3.0,
    "style_set=relu1_1-5_1": 1.4,
    "style_set=relu1_2-4_3": 1.1,
    "style_scheme=equal": 4.9,
    "style_scheme=shallow": 2.3,
    "style_scheme=deep": 1.4,
    "content_layer=relu2_2": 1.9,
    "content_layer=relu3_2": 2.6,
    "content_layer=relu4_2": 1.9,
    "tv=off": 3.2,
    "tv=on": 3.2,
    "log10 tv_weight": 5.0,
    "init=content": 0.46,
    "init=noise": 0.41,
    "init=style": 2.0,
}
#: Objective that `KNOWN_LENGTHS` belong to.
_OBJECTIVE = "lpips"


def initial_lengths(space: Space, goals: Goals) -> tuple[Lengths, str | None]:
    """Return lengthscales for the start of a search, and a message if there are none.

    Lengthscales for LPIPS do not hold for other objectives: a parameter that hardly changes LPIPS
    may change the colors, for example.

    Args:
        space: space of the search.
        goals: objectives of the search.
    """
    if goals.name == _OBJECTIVE or np.isnan(expected_lengths(space, KNOWN_LENGTHS)).all():
        return KNOWN_LENGTHS, None
    return {}, (
        f"the objective is {goals.name}: prior knowledge about which parameters matter is not used,"
        f" since it was learned from {_OBJECTIVE}"
    )


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
