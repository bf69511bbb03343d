"""Keys of what a study holds about its trials; older studies use the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Attributes of trials that a sampler does not learn from: they have no point in the space, or
#: repeat one.
PRESET, FINAL_OF = "preset", "final_of"

#: Attribute of a trial that waits at a rung, with the steps of the rung.
PAUSED = "waits"

#: The same of one that was told to go on beyond a rung.
RESUMED = "went_on"

#: Attribute of a report at a rung, with its steps.
RUNG = "rung-{}"

#: In it, what the trial is ranked by.
VALUES = "values"

#: Attribute of a trial whose known costs broke a bound before its first step.
BEYOND = "beyond"

#: Optuna's own: by how much a trial breaks a constraint.
CONSTRAINT = "constraints:{}"


def reported(user_attrs: Mapping[str, Any]) -> list[int]:
    """Steps of the rungs at which a trial reported, by its attributes."""
    start = RUNG.format("")
    return [int(key.removeprefix(start)) for key in user_attrs if key.startswith(start)]
