"""The view of a study that a sampler gets: without presets and finals, with reports so far."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Space
from tuner.job.objective import Goals
from tuner.job.ranking import best_first
from tuner.sampling.encoding import value_at
from tuner.sampling.optuna_space import distributions
from tuner.study.attributes import (
    BEYOND,
    CONSTRAINT,
    FINAL_OF,
    PRESET,
    RUNG,
    VALUES,
    reported,
)
from tuner.study.optuna_private import study_with


class FilteredSampler(BaseSampler):
    """A sampler of Optuna that sees only the trials of the search, with their latest reports.

    Args:
        sampler: makes the suggestions.
        goals: whose constraint violations unfinished trials get; None leaves these out.
        stopped_as_complete: whether pruned and paused trials look complete, with their latest
            values. Samplers that do not know early stopping need this.
        space: completes trials, for samplers that consider only complete ones and parameters that
            all of them have: a parameter without a meaning in a trial gets the middle of its range,
            and a trial that failed, or might not even begin, gets the worst value.
        most_trials: number of finished trials that the sampler sees, half of them the best ones
            and half of them the latest ones; None: all.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        *,
        goals: Goals | None = None,
        stopped_as_complete: bool = False,
        space: Space | None = None,
        most_trials: int | None = None,
    ):
        self._sampler, self._goals = sampler, goals
        self._stopped_as_complete = stopped_as_complete
        self._space, self._most_trials = space, most_trials
        self._view: optuna.Study | None = None
        self._view_for: int | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `BaseSampler`."""
        return self._sampler.infer_relative_search_space(self._view_of(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        return self._sampler.sample_relative(self._view_of(study, trial), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `BaseSampler`."""
        view = self._view_of(study, trial)
        return self._sampler.sample_independent(view, trial, param_name, param_distribution)

    def _view_of(self, study: optuna.Study, drawn: FrozenTrial) -> optuna.Study:
        """Return the view for the draw of one trial, during which a sampler asks several times."""
        if self._view is None or self._view_for != drawn.number:
            self._view_for = drawn.number
            # With several objectives Optuna itself ignores reports, whatever the sampler.
            as_complete = self._stopped_as_complete or len(study.directions) > 1
            trials = [
                self._with_report(trial, as_complete)
                for trial in study.get_trials(deepcopy=False)
                if _searched(trial)
            ]
            if self._space:
                trials = [
                    _completed(trial, self._space)
                    for trial in _failed_as_worst(trials, study.directions)
                ]
            if self._most_trials and len(trials) > self._most_trials:
                trials = _best_and_latest(trials, study.directions, self._most_trials)
            self._view = study_with(study, trials)
        return self._view

    def _with_report(self, trial: FrozenTrial, as_complete: bool) -> FrozenTrial:
        """Return an unfinished trial as if it had been stopped at its latest report."""
        unfinished = trial.state is TrialState.RUNNING
        stopped = trial.state is TrialState.PRUNED and as_complete
        rungs = reported(trial.user_attrs)
        if not (unfinished or stopped) or not rungs:
            return trial
        latest = trial.user_attrs[RUNG.format(max(rungs))]
        view = copy.copy(trial)
        view.state = TrialState.PRUNED
        if as_complete:
            view = _as_complete(trial, latest[VALUES])
        if self._goals:
            violations = self._goals.violations(latest["scores"])
            constraints = {CONSTRAINT.format(name): excess for name, excess in violations.items()}
            view.system_attrs = {**trial.system_attrs, **constraints}
        return view


def _best_and_latest(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], most: int
) -> list[FrozenTrial]:
    """Return the trials that have not finished, and some of those that have, in their order."""
    finished = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    signs = [1 if direction == StudyDirection.MINIMIZE else -1 for direction in directions]
    values = [
        (
            sum(max(0.0, excess) for excess in _constraints(trial).values()),
            *(sign * value for sign, value in zip(signs, trial.values, strict=True)),
        )
        for trial in finished
    ]
    best = best_first(values, range(len(values)))[: most // 2]
    latest = range(max(0, len(finished) - most // 2), len(finished))
    kept = {finished[index].number for index in {*best, *latest}}
    return [t for t in trials if t.number in kept or t.state is not TrialState.COMPLETE]


def _constraints(trial: FrozenTrial) -> dict[str, float]:
    """Return attribute -> violation of each constraint of a trial."""
    prefix = CONSTRAINT.format("")
    return {key: excess for key, excess in trial.system_attrs.items() if key.startswith(prefix)}


def _failed_as_worst(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Return the trials; those that failed have the worst values and violations so far."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not complete:
        return list(trials)
    values = [trial.values for trial in complete]
    worst = [
        max(column) if direction == StudyDirection.MINIMIZE else min(column)
        for column, direction in zip(zip(*values, strict=True), directions, strict=True)
    ]
    violations: dict[str, float] = {}
    for trial in complete:
        for key, excess in _constraints(trial).items():
            violations[key] = max(excess, violations.get(key, excess))

    def shown(trial: FrozenTrial) -> FrozenTrial:
        if trial.state is not TrialState.FAIL and BEYOND not in trial.user_attrs:
            return trial
        view = _as_complete(trial, worst)
        view.system_attrs = {**violations, **trial.system_attrs}
        return view

    return [shown(trial) for trial in trials]


def _as_complete(trial: FrozenTrial, values: Sequence[float]) -> FrozenTrial:
    """Return a copy of a trial as a complete one with these values."""
    view = copy.copy(trial)
    view.state, view.values = TrialState.COMPLETE, list(values)
    return view


def _completed(trial: FrozenTrial, space: Space) -> FrozenTrial:
    """Return a trial with all parameters of a space."""
    missing = [name for name in space.params if name not in trial.params]
    if not trial.params or not missing:  # the trial that is drawn now has none yet
        return trial
    view = copy.copy(trial)
    middle = {name: value_at(space.params[name], 0.5) for name in missing}
    view.params, view.distributions = {**trial.params, **middle}, distributions(space)
    return view


def _searched(trial: FrozenTrial) -> bool:
    """Return whether the search chose a trial: it is neither a preset nor a final."""
    return PRESET not in trial.user_attrs and FINAL_OF not in trial.user_attrs
