"""Draw the parameters of the next trial with the sampler of the job."""

from __future__ import annotations

import warnings

import optuna

from search_spaces import Params, Space
from search_spaces.priors import Stated
from tuner.job.objective import Goals
from tuner.job.sections import SamplerName
from tuner.sampling.gp_sampler import GaussianProcessSampler
from tuner.sampling.lengthscales import LENGTHS
from tuner.sampling.optuna_samplers import make_sampler
from tuner.sampling.optuna_space import suggested
from tuner.sampling.study_view import observe_reports
from tuner.study.study import RunStudy


class Draw:
    """Draws the parameters of trials and records them in the study.

    The seed of a draw comes from the run's seed and the trial's number. A draw depends on nothing
    but these and the study, so a resumed run draws the same parameters as an uninterrupted one.

    Args:
        study: the study of the run.
        space: the search space.
        max_steps: steps of a trial unless it is stopped early.
        goals: objectives and constraints of the run.
        sampler: name of the sampler.
        seed: seed of the run.
        prior: the prior of a person, for the sampler ``gp``.
    """

    def __init__(
        self,
        study: RunStudy,
        space: Space,
        max_steps: int,
        *,
        goals: Goals,
        sampler: SamplerName,
        seed: int,
        prior: Stated | None = None,
    ):
        self._study, self._space, self._goals = study, space, goals
        self._sampler_name, self._seed = sampler, seed
        self._gp: GaussianProcessSampler | None = None
        if sampler == "gp":  # it has the seed of the run, and remembers the trials that it has read
            self._gp = GaussianProcessSampler(
                space,
                max_steps=max_steps,
                seed=seed,
                lengths=study.notes.get(LENGTHS),
                prior=prior,
                observe=observe_reports(goals),
            )

    def __call__(self, number: int, given: Params | None = None) -> Params:
        """Draw, record and return the parameters of a trial that has begun.

        Args:
            number: number of the trial.
            given: fixed parameters; the sampler draws the others.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(number)
            if given is not None:
                sampler = optuna.samplers.PartialFixedSampler(dict(given), sampler)
        return suggested(self._study.sampled_by(sampler, number), self._space)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        if self._gp:
            return self._gp
        seed = (self._seed * 1_000_003 + number) % 2**32
        return make_sampler(self._sampler_name, seed=seed, goals=self._goals)
