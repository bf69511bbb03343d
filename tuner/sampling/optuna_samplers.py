"""Optuna's samplers, each with the view of the study that it needs (`study_view`).

Sobol sequences and grids are in `sobol_grid`.
"""

from __future__ import annotations

from typing import Any

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces import Space
from tuner.job.objective import Goals
from tuner.job.sections import SamplerName
from tuner.sampling.study_view import FilteredSampler
from tuner.study.optuna_private import ReplayedCmaEs

#: Number of random trials before a sampler learns.
STARTUP = 8
#: Number of finished trials that the Gaussian process sees: the time of a draw grows with the cube
#: of it. With 200, a draw takes 0.3 s on one core.
MOST_TRIALS = 200
#: Settings of TPE, compared with others by `benchmarks.search`.
TPE: dict[str, Any] = {
    "n_startup_trials": STARTUP,
    "multivariate": True,
    "group": True,
    "constant_liar": True,
}


def make_sampler(
    name: SamplerName, *, seed: int, goals: Goals | None = None, space: Space | None = None
) -> BaseSampler:
    """Return a sampler of Optuna for one draw.

    Args:
        name: name of the sampler. For ``sobol`` and ``grid``, which are not Optuna's, it is
            random; it draws what these leave open.
        seed: seed of this draw.
        goals: objectives and constraints of the run; see `FilteredSampler`.
        space: search space of the run; see `FilteredSampler`.
    """
    if name == "gp":
        gaussian = GPSampler(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return FilteredSampler(
            gaussian,
            goals=goals,
            stopped_as_complete=True,
            space=space,
            most_trials=MOST_TRIALS,
        )
    if name == "tpe":
        return FilteredSampler(TPESampler(**TPE, seed=seed), goals=goals)
    if name == "cmaes":
        cmaes = ReplayedCmaEs(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        return FilteredSampler(cmaes, goals=goals, stopped_as_complete=True)
    if name == "nsga2":
        nsga2 = NSGAIISampler(seed=seed, population_size=16)
        return FilteredSampler(nsga2, goals=goals, stopped_as_complete=True)
    return RandomSampler(seed=seed)
