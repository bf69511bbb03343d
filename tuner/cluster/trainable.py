"""StyleTrial: a trial as Ray Tune's `Trainable`, which asks an engine to advance its lanes.

Every trial is a process of its own. So neither this module nor anything that is sent to a trial may
load torch.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import ray
from ray import tune

from nst_core.stylizer_config import configuration_from_dict
from tuner.search.rungs import next_rungs
from tuner.study.records import Report

#: Keys of the config, which the searcher makes.
TRIAL, CONFIG, RUNGS, ENGINE, SLOT = "trial", "style_config", "rungs", "engine", "slot"
HOLDOUT, HAS_SAVED_LANES = "holdout", "has_saved_lanes"
#: Key of a result, which the scheduler reads.
REPORTS = "reports"

#: CPU share that a trial reserves: it only waits for its engine, and Ray wants more than 0.
TRIAL_CPUS = 0.001


class StyleTrial(tune.Trainable):
    """Trial whose `step` brings it to its next rung and returns the engine's reports."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return almost no CPU, and a number of bytes that differs from slot to slot.

        A new process takes seconds of a core to import Ray, so every slot keeps its process. Tune
        reuses processes by their resources. With equal resources it would give the process of a
        finished trial to any waiting trial, and stop the new process that it was starting for that.
        """
        return tune.PlacementGroupFactory([{"CPU": TRIAL_CPUS, "memory": 1 + config[SLOT]}])

    def setup(self, config: dict[str, Any]) -> None:
        """Set the trial's number, settings and rungs, and find its engine."""
        self._trial: int = config[TRIAL]
        self._config = configuration_from_dict(config[CONFIG], source="trial")
        self._rungs: tuple[int, ...] = tuple(config[RUNGS])
        self._engine = ray.get_actor(config[ENGINE])
        self._holdout: bool = config[HOLDOUT]
        self._has_saved_lanes: bool = config[HAS_SAVED_LANES]
        self._steps = 0

    def step(self) -> dict[str, Any]:
        """Advance to the next rung; return the trial's `Report` as JSON under the key `REPORTS`.

        Reports of other trials, which ended in the same turn of the engine, may follow it.
        """
        until, beyond = next_rungs(self._rungs, self._steps)
        answer: Any = self._engine.advance.remote(
            self._trial,
            self._config,
            until,
            beyond,
            holdout=self._holdout,
            has_saved_lanes=self._has_saved_lanes,
        )
        reports = cast("list[Report]", ray.get(answer))
        self._has_saved_lanes = False
        self._steps = reports[0].steps
        # JSON, because Tune would flatten a nested result into keys with slashes.
        return {REPORTS: json.dumps([dataclasses.asdict(report) for report in reports])}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run another trial in the same process."""
        self.setup(new_config)
        return True
