"""What proposes parameters: Optuna's samplers, each shown what it needs of a study (`shown`).

What needs no sampler of Optuna's is in `points` and in `gp`.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from search_spaces import Choice, Int, Params, Space
from tuner.job import SamplerName
from tuner.objective import Goals
from tuner.shown import Shown

#: Random trials before there is enough to learn from.
STARTUP = 8

#: Settings of TPE, next to others in `benchmarks.search`.
TPE: dict[str, Any] = {
    "n_startup_trials": STARTUP,
    "multivariate": True,
    "group": True,
    "constant_liar": True,
}

#: Samplers that draw by what earlier trials reached.
LEARNING = frozenset({"tpe", "gp", "cmaes", "nsga2"})


def make_sampler(name: SamplerName, *, seed: int, goals: Goals | None = None) -> BaseSampler:
    """A sampler for one draw with a seed of its own; ``gp``, ``sobol`` and ``grid`` need none.

    Args:
        name: of the job.
        seed: of this draw.
        goals: whose constraints it is shown for trials that are not over.
    """
    if name == "tpe":
        return Shown(TPESampler(**TPE, seed=seed), goals=goals)
    if name == "cmaes":
        cmaes = ReplayedCmaEs(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return Shown(cmaes, goals=goals, most=None, stopped_as_complete=True)
    if name == "nsga2":
        nsga2 = NSGAIISampler(seed=seed, population_size=16)
        return Shown(nsga2, goals=goals, most=None, stopped_as_complete=True)
    return RandomSampler(seed=seed)


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


def suggested(trial: optuna.Trial, space: Space) -> Params:
    """What a trial's sampler draws from a space, conditions included."""
    drawn: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if not space.active(name, drawn):
            continue
        if isinstance(parameter, Choice):
            drawn[name] = trial.suggest_categorical(name, parameter.options)
        elif isinstance(parameter, Int):
            low, high = parameter.low, parameter.high
            drawn[name] = trial.suggest_int(name, low, high, log=parameter.log)
        else:
            low_end, high_end = parameter.low, parameter.high
            drawn[name] = trial.suggest_float(name, low_end, high_end, log=parameter.log)
    return drawn
