"""StyleTrial: one trial as Ray Tune sees it; it asks an engine to advance its lanes.

A trial is a process of its own, so it loads no torch; nor does anything that it is sent.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import ray
from ray import tune

from nst_core.config import StyleConfig
from tuner.search.rungs import next_rungs
from tuner.study.records import Report

#: Keys of the config that the searcher makes and of the results that the scheduler reads.
TRIAL, CONFIG, RUNGS, ENGINE, SLOT = "trial", "style_config", "rungs", "engine", "slot"
HOLDOUT, WAITED = "holdout", "waited"
REPORT = "report"

#: A trial only waits for its engine, so many share a core; Ray wants more than nothing.
TRIAL_CPUS = 0.001


class StyleTrial(tune.Trainable):
    """Each `step` brings the trial to its next rung and returns the engine's report."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Next to nothing, and a number of bytes that is its slot's own.

        A new process takes seconds of a core to import Ray, so a slot keeps the one that it has.
        Tune keeps processes by the resources that they take, and would otherwise give the process
        of a trial that is over to any trial that still waits for a new one, and stop that half-way.
        """
        return tune.PlacementGroupFactory([{"CPU": TRIAL_CPUS, "memory": 1 + config[SLOT]}])

    def setup(self, config: dict[str, Any]) -> None:
        """Take over a trial: its number, settings, rungs and the name of its engine."""
        self._trial: int = config[TRIAL]
        self._style = StyleConfig.from_dict(config[CONFIG])
        self._rungs: tuple[int, ...] = tuple(config[RUNGS])
        self._engine = ray.get_actor(config[ENGINE])
        self._holdout: bool = config[HOLDOUT]
        self._waited: bool = config[WAITED]
        self._steps = 0

    def step(self) -> dict[str, Any]:
        """Advance to the next rung."""
        until, beyond = next_rungs(self._rungs, self._steps)
        answer: Any = self._engine.advance.remote(
            self._trial, self._style, until, beyond, holdout=self._holdout, waited=self._waited
        )
        report = cast("Report", ray.get(answer))
        self._waited = False
        self._steps = report.steps
        # As text: Tune would flatten a nested result into keys with slashes.
        return {REPORT: json.dumps(dataclasses.asdict(report))}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve another trial in the same process."""
        self.setup(new_config)
        return True
