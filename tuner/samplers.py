"""What proposes parameters: Optuna's samplers, shown what they need of a study and no more."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

#: The time of a draw grows with the trials that a sampler looks at: TPE takes 0.6 s at 10,000.
#: What it learns from them hardly does: it compares the best tenth, but never more than 25, with
#: all others.
MOST_SEEN = 256

#: Of these, how many are the best; the others stand evenly for the rest.
BEST_SEEN = MOST_SEEN // 4


#: Random trials before there is enough to learn from.
STARTUP = 8


def make_sampler(name: str, *, seed: int) -> BaseSampler:
    """A sampler for one draw.

    Args:
        name: ``tpe`` or ``random``.
        seed: of this draw.
    """
    if name == "random":
        return RandomSampler(seed=seed)
    tpe = TPESampler(
        n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True, seed=seed
    )
    return Shown(tpe)


class Shown(BaseSampler):
    """A sampler for one draw that is shown `MOST_SEEN` finished trials at most, and no presets."""

    def __init__(self, sampler: BaseSampler):
        self._sampler = sampler
        self._view: _View | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `BaseSampler`."""
        return self._sampler.infer_relative_search_space(self._shown(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        return self._sampler.sample_relative(self._shown(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `BaseSampler`."""
        shown = self._shown(study)
        return self._sampler.sample_independent(shown, trial, param_name, param_distribution)

    def _shown(self, study: optuna.Study) -> optuna.Study:
        self._view = self._view or _View(study)
        return cast("optuna.Study", self._view)


class _View:
    """A study at one moment, with the trials that a sampler sees; all else is the study's."""

    def __init__(self, study: optuna.Study):
        self._study = study
        trials = study.get_trials(deepcopy=False)
        searched = [trial for trial in trials if "preset" not in trial.user_attrs]
        self._trials = thinned(searched, maximize=study.direction.name == "MAXIMIZE")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Trials to learn from; a sampler does not change them, so they are never copied."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        """By this name Optuna's samplers ask for them."""
        return self.get_trials(deepcopy, states)


def thinned(trials: Sequence[FrozenTrial], *, maximize: bool) -> list[FrozenTrial]:
    """At most `MOST_SEEN` of the finished trials and all others, in their order.

    Those that came furthest with the best values are kept, and an even choice of the rest.
    """
    finished = [trial for trial in trials if trial.state.is_finished()]
    if len(finished) <= MOST_SEEN:
        return list(trials)
    sign = -1.0 if maximize else 1.0

    def rank(trial: FrozenTrial) -> tuple[bool, int, float]:
        """As TPE ranks: complete ones first, then by the step where they were stopped."""
        values = trial.intermediate_values
        last = max(values, default=-1)
        if trial.state is TrialState.COMPLETE:
            return False, 0, sign * (trial.value or 0.0)
        return True, -last, sign * values.get(last, 0.0)

    ranked = sorted(finished, key=rank)
    best, rest = ranked[:BEST_SEEN], sorted(ranked[BEST_SEEN:], key=lambda trial: trial.number)
    places = MOST_SEEN - BEST_SEEN
    even = [rest[place * len(rest) // places] for place in range(places)]
    shown = {trial.number for trial in [*best, *even]}
    return [t for t in trials if t.number in shown or not t.state.is_finished()]
