"""Keys of trial attributes in a study. Older studies use the same keys, so they must not change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Attributes of presets and finals. Samplers do not learn from these trials, because a preset is no
#: point of the search space, and a final repeats another trial.
PRESET, FINAL_OF = "preset", "final_of"

#: Attribute of a paused trial: the steps of the rung at which it is paused.
PAUSED = "waits"

#: Attribute of a trial that may continue: the steps of the rung beyond which it continues.
RESUMED = "went_on"

#: Attribute of a trial that a person asked for: id of the command.
ASKED_BY = "asked_by"

#: Attribute of a trial: its report at the rung with this number of steps.
RUNG = "rung-{}"

#: Key in a report: the values of all objectives.
VALUES = "values"

#: Attribute of a trial whose costs violated a constraint before its first step: the violations.
BEYOND = "beyond"

#: Attribute that Optuna uses: the violation of the constraint with this name.
CONSTRAINT = "constraints:{}"


def reported(user_attrs: Mapping[str, Any]) -> list[int]:
    """Return the steps of all rungs at which a trial reported."""
    start = RUNG.format("")
    return [int(key.removeprefix(start)) for key in user_attrs if key.startswith(start)]
