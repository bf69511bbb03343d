"""Optuna's samplers, each with the view of the study that it needs (`study_view`).

Sobol sequences and grids are in `sobol_grid`, the default sampler is in `gp_sampler`.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces import Choice, Int, Params, Space
from tuner.job.objective import Goals
from tuner.job.sections import SamplerName
from tuner.sampling.study_view import FilteredSampler
from tuner.study.optuna_private import ReplayedCmaEs

#: Number of random trials before a sampler learns from results.
STARTUP = 8

#: Settings of TPE, compared with others by `benchmarks.search`.
TPE: dict[str, Any] = {
    "n_startup_trials": STARTUP,
    "multivariate": True,
    "group": True,
    "constant_liar": True,
}


def make_sampler(name: SamplerName, *, seed: int, goals: Goals | None = None) -> BaseSampler:
    """Return a sampler of Optuna for one draw.

    Args:
        name: name of the sampler. For ``gp``, ``sobol`` and ``grid``, which are not Optuna's, the
            sampler is random; it draws what these leave open.
        seed: seed of this draw.
        goals: objectives and constraints of the run; see `FilteredSampler`.
    """
    if name == "tpe":
        return FilteredSampler(TPESampler(**TPE, seed=seed), goals=goals)
    if name == "cmaes":
        cmaes = ReplayedCmaEs(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return FilteredSampler(cmaes, goals=goals, stopped_as_complete=True)
    if name == "gpsampler":
        gaussian = GPSampler(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return FilteredSampler(gaussian, goals=goals, stopped_as_complete=True)
    if name == "nsga2":
        nsga2 = NSGAIISampler(seed=seed, population_size=16)
        return FilteredSampler(nsga2, goals=goals, stopped_as_complete=True)
    return RandomSampler(seed=seed)


def suggested(trial: optuna.Trial, space: Space) -> Params:
    """Return the parameters that a trial's sampler suggests; conditions of the space hold."""
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
