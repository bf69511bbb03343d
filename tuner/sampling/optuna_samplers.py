"""What proposes parameters: Optuna's samplers, each shown what it needs of a study (`shown`).

What needs no sampler of Optuna's is in `points` and in `gp`.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces import Choice, Int, Params, Space
from tuner.job.objective import Goals
from tuner.job.spec import SamplerName
from tuner.sampling.study_view import FilteredSampler
from tuner.study.optuna_private import ReplayedCmaEs

#: Random trials before there is enough to learn from.
STARTUP = 8

#: Settings of TPE, next to others in `benchmarks.search`.
TPE: dict[str, Any] = {
    "n_startup_trials": STARTUP,
    "multivariate": True,
    "group": True,
    "constant_liar": True,
}


def make_sampler(name: SamplerName, *, seed: int, goals: Goals | None = None) -> BaseSampler:
    """A sampler for one draw with a seed of its own; ``gp``, ``sobol`` and ``grid`` need none.

    Args:
        name: of the job.
        seed: of this draw.
        goals: whose constraints it is shown for trials that are not over.
    """
    if name == "tpe":
        return FilteredSampler(TPESampler(**TPE, seed=seed), goals=goals)
    if name == "cmaes":
        cmaes = ReplayedCmaEs(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return FilteredSampler(cmaes, goals=goals, most=None, stopped_as_complete=True)
    if name == "nsga2":
        nsga2 = NSGAIISampler(seed=seed, population_size=16)
        return FilteredSampler(nsga2, goals=goals, most=None, stopped_as_complete=True)
    return RandomSampler(seed=seed)


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
