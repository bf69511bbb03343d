"""Everything of Optuna that is not its public API, with the version it was checked with.

Optuna may rename any of this in a minor release. Before raising the bound in pyproject.toml, set
`CHECKED` and run `tests/tuner/sampling`, `tests/tuner/study` and `tests/tuner/test_conformance.py`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.storages import BaseStorage
from optuna.storages.journal._file import LOCK_FILE_SUFFIX
from optuna.storages.journal._storage import JournalOperation
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

__all__ = ["LOCK_FILE_SUFFIX", "FrozenStudy", "JournalOperation"]

#: Release of Optuna that this module was checked with.
CHECKED = "5.0"


def trial_id(trial: FrozenTrial | optuna.Trial) -> int:
    """Return the number by which a trial's storage knows it."""
    return int(trial._trial_id)


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return what keeps a study."""
    return study._storage


def study_with(study: optuna.Study, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a view of a study for a sampler, with these trials instead of its own."""
    return cast("optuna.Study", _StudyView(study, trials))


class _StudyView:
    """A study that has other trials than it has; all else is the study's."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]):
        self._study, self._trials = study, trials
        self._storage = _StorageView(study._storage, {t._trial_id: t for t in trials})

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


class _StorageView:
    """A study's storage, whose trials are those of a view; NSGA-II looks parents up here."""

    def __init__(self, storage: Any, trials: Mapping[int, FrozenTrial]):
        self._storage, self._trials = storage, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial as it is shown."""
        shown = self._trials.get(trial_id)
        return shown if shown is not None else self._storage.get_trial(trial_id)


class ReplayedCmaEs(CmaEsSampler):
    """CMA-ES whose state is worked out anew from the trials of its generations.

    Optuna keeps the state as a pickle in the study, which whoever hands over a run may have
    written.
    """

    _among: dict[str, BaseDistribution]
    _direction: StudyDirection

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        self._among, self._direction = search_space, study.direction
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        """In place of Optuna's; with no generation left to tell, it keeps no pickle either."""
        space = _SearchSpaceTransform(self._among, transform_step=True, transform_0_1=True)
        optimizer: Any = self._init_optimizer(space, self._direction)
        sign = -1.0 if self._direction is StudyDirection.MAXIMIZE else 1.0

        def place(trial: FrozenTrial) -> Any:
            return space.transform({name: trial.params[name] for name in self._among})

        known = [trial for trial in completed_trials if self._among.keys() <= trial.params.keys()]
        size = optimizer.population_size
        while len(told := self._get_solution_trials(known, optimizer.generation)) >= size:
            optimizer.tell([(place(t), sign * (t.value or 0.0)) for t in told[:size]])
        return optimizer
