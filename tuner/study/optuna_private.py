"""Private parts of Optuna that this package uses, with the release that they were tested with.

Optuna may change them in any minor release. Before raising the bound in pyproject.toml, set
`CHECKED` and run `tests/tuner/sampling`, `tests/tuner/study` and `tests/tuner/test_conformance.py`.
"""

from __future__ import annotations

import logging
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

#: Release of Optuna that this module was tested with.
CHECKED = "5.0"

# The Gaussian process says "Study already converged" where one candidate is far ahead of all
# others, even in the first trials of a run. That is no news for people.
logging.getLogger("optuna._gp").setLevel(logging.ERROR)


def trial_id(trial: FrozenTrial | optuna.Trial) -> int:
    """Return the identifier of a trial in its storage."""
    return int(trial._trial_id)


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage of a study."""
    return study._storage


def study_with(study: optuna.Study, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a view of a study for a sampler, with these trials in place of the study's own.

    A copy of the study would not do: CMA-ES and NSGA-II store attributes of trials, which must
    reach the study itself.
    """
    return cast("optuna.Study", _StudyView(study, trials))


class _StudyView:
    """A study with other trials; everything else is the study's own."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]):
        self._study, self._trials = study, trials
        self._storage = _StorageView(study._storage, {t._trial_id: t for t in trials})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of the view, never copied, since samplers do not change them."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        """Return the same; Optuna's samplers call this private method."""
        return self.get_trials(deepcopy, states)


class _StorageView:
    """A storage with the trials of a view; NSGA-II looks up the parents of a trial in it."""

    def __init__(self, storage: Any, trials: Mapping[int, FrozenTrial]):
        self._storage, self._trials = storage, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return the trial of the view, or the stored one if the view lacks it."""
        return self._trials.get(trial_id) or self._storage.get_trial(trial_id)


class ReplayedCmaEs(CmaEsSampler):
    """CMA-ES that computes its state from the trials of its generations.

    Optuna stores the state in the study as a pickle. A run directory may come from a stranger, and
    loading a pickle runs whatever code it contains.
    """

    _distributions: dict[str, BaseDistribution]
    _direction: StudyDirection

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        self._distributions, self._direction = search_space, study.direction
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        """Replace Optuna's method; all generations are processed, so no pickle is stored."""
        space = _SearchSpaceTransform(self._distributions, transform_step=True, transform_0_1=True)
        optimizer: Any = self._init_optimizer(space, self._direction)
        sign = -1.0 if self._direction is StudyDirection.MAXIMIZE else 1.0

        def point(trial: FrozenTrial) -> Any:
            return space.transform({name: trial.params[name] for name in self._distributions})

        trials = [t for t in completed_trials if self._distributions.keys() <= t.params.keys()]
        size = optimizer.population_size
        while len(solutions := self._get_solution_trials(trials, optimizer.generation)) >= size:
            optimizer.tell([(point(t), sign * (t.value or 0.0)) for t in solutions[:size]])
        return optimizer
