"""What proposes parameters: Optuna's samplers, each shown what it needs of a study (`shown`).

Sobol points and grids are worked out from the space and the trial's number alone.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from search_spaces import Choice, Int, Params, Space
from tuner.job import SamplerName
from tuner.objective import Goals
from tuner.shown import MOST_SEEN, Shown

#: Random trials before there is enough to learn from.
STARTUP = 8

#: Settings of TPE, next to others in `benchmarks.search`.
TPE: dict[str, Any] = {
    "n_startup_trials": STARTUP,
    "multivariate": True,
    "group": True,
    "constant_liar": True,
}

#: Values of a number on a grid.
GRID_LEVELS = 3

#: Samplers that draw by what earlier trials reached.
LEARNING = frozenset({"tpe", "gp", "cmaes", "nsga2"})


def make_sampler(name: SamplerName, *, seed: int, goals: Goals | None = None) -> BaseSampler:
    """A sampler for one draw with a seed of its own; ``sobol`` and ``grid`` have none.

    Args:
        name: of the job.
        seed: of this draw.
        goals: whose constraints it is shown for trials that are not over.
    """
    if name == "tpe":
        return Shown(TPESampler(**TPE, seed=seed), goals=goals)
    if name == "gp":
        gp = LoneThreadGP(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return Shown(gp, goals=goals, most=MOST_SEEN // 2, stopped_as_complete=True)
    if name == "cmaes":
        cmaes = ReplayedCmaEs(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return Shown(cmaes, goals=goals, most=None, stopped_as_complete=True)
    if name == "nsga2":
        nsga2 = NSGAIISampler(seed=seed, population_size=16)
        return Shown(nsga2, goals=goals, most=None, stopped_as_complete=True)
    return RandomSampler(seed=seed)


class LoneThreadGP(GPSampler):
    """A Gaussian process on one thread.

    Its matrices are small, and where engines work on the same cores, its threads mostly wait for
    each other.
    """

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `BaseSampler`."""
        import torch  # as Optuna does: only here

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().sample_relative(study, trial, search_space)
        finally:
            torch.set_num_threads(threads)


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


# --- points that need no study --------------------------------------------------------------------


def planned_point(name: SamplerName, space: Space, index: int, seed: int) -> Params | None:
    """The ``index``-th point of a Sobol sequence or a grid; None for other samplers."""
    if name == "sobol":
        from scipy.stats import qmc

        points = qmc.Sobol(len(space.params), rng=seed)
        if index:
            points.fast_forward(index)
        return _at(space, dict(zip(space.params, points.random(1)[0].tolist(), strict=True)))
    if name == "grid":
        levels = [_levels(parameter) for parameter in space.params.values()]
        total = math.prod(levels)
        # In an order that favours no corner; without a list of all points, which may be millions.
        step = _coprime(random.Random(seed).randrange(total), total)
        place = (index * step + seed) % total
        shares = {}
        for parameter, count in zip(space.params, levels, strict=True):
            place, level = divmod(place, count)
            shares[parameter] = level / (count - 1) if count > 1 else 0.0
        return _at(space, shares)
    return None


def _levels(parameter: Any) -> int:
    return len(parameter.options) if isinstance(parameter, Choice) else GRID_LEVELS


def _coprime(start: int, total: int) -> int:
    return next(n for n in itertools.count(max(1, start)) if math.gcd(n, total) == 1)


def _at(space: Space, shares: Mapping[str, float]) -> Params:
    """The point of the space whose parameters lie at these shares of their ranges."""
    drawn: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if not space.active(name, drawn):
            continue
        share = shares[name]
        if isinstance(parameter, Choice):
            count = len(parameter.options)
            drawn[name] = parameter.options[min(count - 1, int(share * count))]
            continue
        low, high = float(parameter.low), float(parameter.high)
        value = low * (high / low) ** share if parameter.log else low + (high - low) * share
        value = min(high, max(low, value))
        drawn[name] = round(value) if isinstance(parameter, Int) else value
    return drawn
