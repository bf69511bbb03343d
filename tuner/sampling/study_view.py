"""What samplers are shown of a study: no more than they need, and as they should take it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.job.objective import Goals
from tuner.job.ranking import Values, non_dominated
from tuner.sampling.gp_sampler import Observation, best_and_even
from tuner.study.attributes import (
    BEYOND,
    CONSTRAINT,
    FINAL_OF,
    PAUSED,
    PRESET,
    RUNG,
    VALUES,
    reported,
)
from tuner.study.optuna_private import study_with

#: The time of a draw grows with the trials that a sampler looks at: TPE takes 0.6 s at 10,000.
#: What it learns from them hardly does: it compares the best tenth, but never more than 25, with
#: all others.
MOST_SEEN = 192


class FilteredSampler(BaseSampler):
    """A sampler that sees a study as it should.

    Args:
        sampler: what draws.
        goals: see `make_sampler`.
        most: finished trials that it is shown at most.
        stopped_as_complete: whether trials that were stopped or wait at a rung are shown as
            complete with what they reported last, to samplers that know no early stopping.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        *,
        goals: Goals | None = None,
        most: int | None = MOST_SEEN,
        stopped_as_complete: bool = False,
    ):
        self._sampler, self._goals, self._most = sampler, goals, most
        self._stopped_as_complete = stopped_as_complete
        self._view: optuna.Study | None = None
        self._drawn: int | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `BaseSampler`."""
        return self._sampler.infer_relative_search_space(self._shown(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        return self._sampler.sample_relative(self._shown(study, trial), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `BaseSampler`."""
        shown = self._shown(study, trial)
        return self._sampler.sample_independent(shown, trial, param_name, param_distribution)

    def _shown(self, study: optuna.Study, drawn: FrozenTrial) -> optuna.Study:
        """The view for one draw, in which a sampler asks for trials several times."""
        if self._view is None or self._drawn != drawn.number:
            self._drawn = drawn.number
            trials = [
                self._as_shown(trial, study.directions)
                for trial in study.get_trials(deepcopy=False)
                if PRESET not in trial.user_attrs and FINAL_OF not in trial.user_attrs
            ]
            if self._most is not None:
                trials = thinned(trials, study.directions, self._most)
            self._view = study_with(study, trials)
        return self._view

    def _as_shown(self, trial: FrozenTrial, directions: Sequence[StudyDirection]) -> FrozenTrial:
        """A trial that has reported and is not over counts as if it were stopped there."""
        # With several objectives Optuna knows nothing of rungs, whatever the sampler.
        as_complete = self._stopped_as_complete or len(directions) > 1
        if trial.state is TrialState.PRUNED and not as_complete:
            return trial
        if trial.state not in (TrialState.RUNNING, TrialState.PRUNED):
            return trial
        rungs = reported(trial.user_attrs)
        if not rungs:
            return trial
        last = trial.user_attrs[RUNG.format(max(rungs))]
        shown = copy.copy(trial)
        shown.state = TrialState.PRUNED
        if as_complete:
            shown.state, shown.values = TrialState.COMPLETE, list(last[VALUES])
        if self._goals:
            broken = self._goals.violations(last["scores"])
            known = {CONSTRAINT.format(name): excess for name, excess in broken.items()}
            shown.system_attrs = {**trial.system_attrs, **known}
        return shown


class Trials:
    """What `gp.propose` is told of a study: all but presets, finals and what is drawn now.

    Trials that are over stay as they are, so they are read once.

    Args:
        goals: that they are ranked by.
    """

    def __init__(self, goals: Goals):
        self._goals = goals
        self._over: dict[int, Observation | None] = {}

    def tried(self, trials: Sequence[FrozenTrial], drawn: int) -> list[Observation]:
        """Of all trials of a study, of which one is drawn now."""
        found = [self._of(trial) for trial in trials if trial.number != drawn]
        return [one for one in found if one is not None]

    def _of(self, trial: FrozenTrial) -> Observation | None:
        if not trial.state.is_finished():
            return _as_tried(trial, self._goals)
        if trial.number not in self._over:
            self._over[trial.number] = _as_tried(trial, self._goals)
        return self._over[trial.number]


def _as_tried(trial: FrozenTrial, goals: Goals) -> Observation | None:
    attrs = trial.user_attrs
    if not trial.params or PRESET in attrs or FINAL_OF in attrs:
        return None
    found = {steps: attrs[RUNG.format(steps)] for steps in reported(attrs)}
    running = trial.state is TrialState.RUNNING
    return Observation(
        params=trial.params,
        values={steps: goals.values(rung["scores"]) for steps, rung in found.items()},
        violations={
            steps: list(goals.violations(r["scores"]).values()) for steps, r in found.items()
        },
        pending=running and attrs.get(PAUSED) is None,
        # What may not even begin is to be avoided as what goes wrong is.
        failed=trial.state is TrialState.FAIL or BEYOND in attrs,
    )


def thinned(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], most: int = MOST_SEEN
) -> list[FrozenTrial]:
    """At most ``most`` of the finished trials and all others, in their order.

    Those that came furthest with the best values are kept, and an even choice of the rest.
    """
    finished = [trial for trial in trials if trial.state.is_finished()]
    if len(finished) <= most:
        return list(trials)
    rank = (
        _single_rank(directions[0]) if len(directions) == 1 else _pareto_rank(finished, directions)
    )
    shown = set(best_and_even([trial.number for trial in sorted(finished, key=rank)], most))
    return [t for t in trials if t.number in shown or not t.state.is_finished()]


def _single_rank(direction: StudyDirection) -> Callable[[FrozenTrial], tuple[Any, ...]]:
    """As TPE ranks: what keeps the constraints, complete ones, by the step of being stopped."""
    sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0

    def rank(trial: FrozenTrial) -> tuple[Any, ...]:
        if trial.state is TrialState.COMPLETE:
            return _broken(trial), False, 0, sign * (trial.value or 0.0)
        values = trial.intermediate_values
        last = max(values, default=-1)
        return _broken(trial), True, -last, sign * values.get(last, 0.0)

    return rank


def _broken(trial: FrozenTrial) -> float:
    """By how much a trial breaks its constraints, as samplers of Optuna's add it up."""
    start = CONSTRAINT.format("")
    known = [by for key, by in trial.system_attrs.items() if key.startswith(start)]
    return float(sum(max(0.0, by) for by in known))


def _pareto_rank(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> Callable[[FrozenTrial], tuple[Any, ...]]:
    """What keeps the constraints first, then complete ones, by non-dominated rank."""
    signs = [-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    points: list[Values] = [
        tuple(s * v for s, v in zip(signs, trial.values, strict=True)) for trial in complete
    ]
    ranks, crowding = non_dominated(points) if points else ([], [])
    places = {
        trial.number: (rank, -distance)
        for trial, rank, distance in zip(complete, ranks, crowding, strict=True)
    }

    def rank(trial: FrozenTrial) -> tuple[Any, ...]:
        place = places.get(trial.number, (0, 0.0))
        return _broken(trial), trial.number not in places, *place

    return rank
