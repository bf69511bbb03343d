"""The view of a study that a sampler gets: without presets and finals, with reports so far."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from tuner.job.objective import Goals
from tuner.sampling.observations import Observation
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
    """

    def __init__(
        self,
        sampler: BaseSampler,
        *,
        goals: Goals | None = None,
        stopped_as_complete: bool = False,
    ):
        self._sampler, self._goals = sampler, goals
        self._stopped_as_complete = stopped_as_complete
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
            view.state, view.values = TrialState.COMPLETE, list(latest[VALUES])
        if self._goals:
            violations = self._goals.violations(latest["scores"])
            constraints = {CONSTRAINT.format(name): excess for name, excess in violations.items()}
            view.system_attrs = {**trial.system_attrs, **constraints}
        return view


def _searched(trial: FrozenTrial) -> bool:
    """Return whether the search chose a trial: it is neither a preset nor a final."""
    return PRESET not in trial.user_attrs and FINAL_OF not in trial.user_attrs


def observe_reports(goals: Goals) -> Callable[[FrozenTrial], Observation | None]:
    """Return what makes the observation of a trial of a run, from its reports at rungs.

    Presets and finals have none. Optuna itself stores no reports of several objectives, and no
    constraints of a report.
    """

    def observe(trial: FrozenTrial) -> Observation | None:
        if not _searched(trial):
            return None
        attrs = trial.user_attrs
        scores = {steps: attrs[RUNG.format(steps)]["scores"] for steps in reported(attrs)}
        return Observation(
            params=trial.params,
            losses={steps: goals.losses(scores[steps]) for steps in scores},
            violations={steps: goals.violations(scores[steps]) for steps in scores},
            pending=not trial.state.is_finished(),
            # A trial that may not even begin is avoided like one that failed.
            failed=trial.state is TrialState.FAIL or BEYOND in attrs,
        )

    return observe
