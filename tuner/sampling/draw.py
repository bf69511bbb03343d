"""Draw the parameters of the next trial with the sampler of the job."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import optuna
from threadpoolctl import ThreadpoolController

from search_spaces import Params, Space
from search_spaces.priors import Stated, priors_of
from tuner.job.objective import Goals
from tuner.job.sections import SamplerName
from tuner.sampling.optuna_samplers import make_sampler
from tuner.sampling.optuna_space import suggested
from tuner.sampling.user_prior import UserPrior
from tuner.study.study import RunStudy


class Draw:
    """Draws the parameters of trials and records them in the study.

    The seed of a draw comes from the run's seed and the trial's number. A draw depends on nothing
    but these and the study, so a resumed run draws the same parameters as an uninterrupted one.

    Args:
        study: the study of the run.
        space: the search space.
        goals: objectives and constraints of the run.
        sampler: name of the sampler.
        seed: seed of the run.
        prior: the prior of a person.
    """

    def __init__(
        self,
        study: RunStudy,
        space: Space,
        *,
        goals: Goals,
        sampler: SamplerName,
        seed: int,
        prior: Stated | None = None,
    ):
        self._study, self._space, self._goals = study, space, goals
        self._sampler, self._seed = sampler, seed
        self._prior = UserPrior(space, priors_of(space, prior)[0]) if prior else None

    def __call__(self, number: int, given: Params | None = None, *, drawn: int = 0) -> Params:
        """Draw, record and return the parameters of a trial that has begun.

        Args:
            number: number of the trial.
            given: fixed parameters; the sampler draws the others.
            drawn: number of trials before it that the sampler has drawn; the prior fades with it.
        """
        seed = (self._seed * 1_000_003 + number) % 2**32
        fixed = {**self._expected(number, drawn), **(given or {})}
        with warnings.catch_warnings(), _thread_pools().limit(limits=1):
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Optuna divides by 0 where one candidate is far ahead of all others.
            warnings.filterwarnings("ignore", "invalid value", RuntimeWarning, r"optuna\.")
            sampler = make_sampler(self._sampler, seed=seed, goals=self._goals, space=self._space)
            if fixed:
                sampler = optuna.samplers.PartialFixedSampler(fixed, sampler)
            return suggested(self._study.sampled_by(sampler, number), self._space)

    def _expected(self, number: int, drawn: int) -> Params:
        """Return the values that come from the prior of a person."""
        if self._prior is None:
            return {}
        return self._prior.values(drawn, np.random.default_rng([self._seed, number]))


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the thread pools of linear algebra, for draws on one thread.

    The matrices are small. With several threads each waits in loops for the others, which takes
    many times as long while engines use the cores.
    """
    return ThreadpoolController()
