"""Planner: which configuration each trial runs, and at which steps the trial reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from nst_core.presets.preset import Preset
from nst_core.stylizer_config import Configuration, configuration_from_dict
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.sampling.draw import Draw
from tuner.sampling.sobol_grid import planned_point
from tuner.search.finals import FinalRun, final_config, final_rungs, full_rungs, missing_runs
from tuner.search.halving import Halving, Rung
from tuner.search.protocol import Plan
from tuner.search.steering import Steering
from tuner.study.records import DEFAULTS, Scores, TrialRecord
from tuner.study.study import RunStudy


class Planner:
    """Plans trials by their numbers: presets come first, then initial points, then drawn ones.

    Args:
        study: the run's study, which records every configuration.
        job: the job.
        space: the search space.
        presets: baseline presets, each with a note or None.
        initial_points: parameters of the first trials after the presets; None for those of the
            space.
        replay: recorded parameters to use instead of drawing, one per searched trial, in order.
        costs: return the costs of a configuration that are known before its first step.
        steering: knows the configurations that people asked for.

    Attributes:
        halving: the early stopping of the trials that the search chooses.
    """

    def __init__(
        self,
        study: RunStudy,
        job: JobSpec,
        space: Space,
        *,
        presets: Sequence[tuple[Preset, str | None]],
        initial_points: Sequence[Params] | None,
        replay: Sequence[Params] | None,
        costs: Callable[[Configuration], Scores],
        steering: Steering,
    ):
        self._study, self._job, self._space, self._costs = study, job, space, costs
        search = job.search
        self.halving = Halving.of(job.halving)
        self._no_halving = dataclasses.replace(self.halving, rule="none")
        self._draw = Draw(
            study,
            space,
            goals=job.goals,
            sampler=search.sampler,
            seed=search.seed,
            prior=job.prior,
        )
        self._presets, self._replay, self._steering = presets, replay, steering
        self._initial_points = space.initial_points if initial_points is None else initial_points
        #: Finals, and trials that people asked for; trials of the search may come after them.
        self._skipped: set[int] = set()

    def plan(self, number: int, record: TrialRecord | None = None) -> Plan:
        """Return the configuration of a trial and the rungs that it has still to reach.

        Args:
            number: number of the trial.
            record: what the study has of the trial; None if it has just begun.

        Raises:
            ConfigError: the trial's parameters make no valid configuration.
        """
        if record is not None and record.config:
            config = configuration_from_dict(record.config, source=f"trial {number}")
        else:
            config = self._configure(number)
        final = record is not None and record.final_of is not None
        if record is not None and record.full:
            rungs = full_rungs(config.steps, self._job.halving.max_steps)
        else:
            rungs = final_rungs(config) if final else self._rungs(number, config.steps)
        done = max(record.rungs, default=0) if record else 0
        ahead = tuple(steps for steps in rungs if steps > done)
        return Plan(trial=number, config=config, rungs=ahead, final=final)

    def plan_final(self, number: int, run: FinalRun) -> Plan:
        """Return the plan of a final that has begun, after recording its configuration."""
        self.skip(number)
        record = self._study.record(run.trial)
        config: Configuration
        if run.seed is None:
            preset, _ = self._presets[run.trial]
            config = preset.config.replace(size_px=self._job.size_px, schedule_steps=None)
        else:
            config = final_config(record, self._job.goals, run.seed)
        config = config.replace(**self._job.resources.final_settings)
        self._study.assign(
            number,
            config.to_dict(),
            preset=record.preset if run.seed is None else None,
            final_of=run.trial,
            full=run.seed is None,
        )
        return self.plan(number, self._study.record(number))

    def missing_finals(self) -> list[FinalRun]:
        """Return the finals of all trials in the study that have not begun."""
        own_steps = {trial: preset.config.steps for trial, (preset, _) in enumerate(self._presets)}
        return missing_runs(self._study.records(), self._job, own_steps)

    def known_violation(self, plan: Plan) -> str | None:
        """Record and return which constraints the known costs of a trial violate; None for none.

        This holds for presets as well: a result that may not be used is no baseline. A final has
        passed as a trial.
        """
        if plan.final:
            return None
        costs = self._costs(plan.config)
        if not (violations := self._job.goals.beyond(costs)):
            return None
        self._study.beyond(plan.trial, violations)
        values = ", ".join(f"{name} {value:.3g}" for name, value in costs.items())
        return f"violates {' and '.join(violations)} before its first step: {values}"

    def rung(self, number: int, steps: int) -> Rung:
        """Return the rung at which a trial of the search competes after so many steps."""
        return self.halving.rung(self._rungs(number, self._job.halving.max_steps), steps)

    def skip(self, number: int) -> None:
        """Leave a trial out of the count of initial points, grid points and replayed trials."""
        self._skipped.add(number)

    def preset(self, number: int) -> tuple[Preset, str | None] | None:
        """Return the baseline preset of a trial, with its note; None for any other trial."""
        return self._presets[number] if number < len(self._presets) else None

    def competes(self, plan: Plan) -> bool:
        """Whether the search chose a trial: it is neither a preset nor a final."""
        return not (plan.final or self.preset(plan.trial))

    def runs_in_full(self, number: int) -> bool:
        """Whether a trial of the search runs to its end: that of the first initial point.

        Halving drops what begins slowly, however well it ends. The first initial point is what the
        field or a stylizer uses by default, and the result of a search is never worse than that.
        """
        asked = self._steering.point(number) is not None
        return bool(self._initial_points) and self._index(number) == 0 and not asked

    def _configure(self, number: int) -> Configuration:
        """Choose the configuration of a trial that has just begun, and record it."""
        max_steps = self._job.halving.max_steps
        if preset := self.preset(number):
            return self._configure_preset(number, *preset, max_steps)
        given = self._given(number)
        drawn = max(0, self._index(number) - len(self._initial_points))
        params = self._draw(number, given, drawn=drawn)
        fixed: dict[str, Any] = {"size_px": self._job.size_px, "steps": max_steps}
        config: Configuration = self._space.build(
            params, **fixed, **self._job.resources.search_settings
        )
        note = DEFAULTS if given is not None and given == self._space.defaults else None
        if command := self._steering.command_of(number):
            note = f"asked for: {command}"
        self._study.assign(number, config.to_dict(), note=note)
        return config

    def _configure_preset(
        self, number: int, preset: Preset, note: str | None, max_steps: int
    ) -> Configuration:
        steps = min(preset.config.steps, max_steps)
        config = preset.config.replace(
            size_px=self._job.size_px,
            steps=steps,
            schedule_steps=None,
            **self._job.resources.search_settings,
        )
        notes = [note] if note else []
        if steps < preset.config.steps:
            notes.append(f"{steps} of its {preset.config.steps} steps")
        note = "; ".join(notes) or None
        self._study.assign(number, config.to_dict(), preset=preset.name, note=note)
        return config

    def _given(self, number: int) -> Params | None:
        """Return the parameters that the sampler must keep.

        They are asked for by a person, replayed, or those of an initial or grid point.
        """
        if (asked := self._steering.point(number)) is not None:
            return asked
        index = self._index(number)
        if self._replay:
            # A run that is resumed with fewer trials has trials beyond the end of the replay.
            return self._replay[index] if index < len(self._replay) else None
        if index < len(self._initial_points):
            return self._initial_points[index]
        search = self._job.search
        return planned_point(search.sampler, self._space, index, search.seed)

    def _index(self, number: int) -> int:
        """Return the number of trials before one that the search itself planned."""
        return number - len(self._presets) - sum(other < number for other in self._skipped)

    def _rungs(self, number: int, max_steps: int) -> tuple[int, ...]:
        halving = self._no_halving if self.preset(number) else self.halving
        return halving.rungs(number, max_steps)
