"""Draw the parameters of the next trial with the sampler of the job."""

from __future__ import annotations

import warnings

import optuna

from search_spaces import Params, Space
from tuner.job.objective import Goals
from tuner.job.sections import SamplerName
from tuner.sampling.gp_sampler import propose
from tuner.sampling.lengthscales import LENGTHS, expected_lengths
from tuner.sampling.optuna_samplers import make_sampler, suggested
from tuner.sampling.study_view import Trials
from tuner.study.study import RunStudy


class Draw:
    """Draws the parameters of trials and records them in the study.

    The seed of a draw comes from the run's seed and the trial's number. A draw depends on nothing
    but these and the study, so a resumed run draws the same parameters as an uninterrupted one.

    Args:
        study: the study of the run.
        goals: objectives and constraints of the run.
        sampler: name of the sampler.
        seed: seed of the run.
    """

    def __init__(self, study: RunStudy, *, goals: Goals, sampler: SamplerName, seed: int):
        self._study, self._goals = study, goals
        self._sampler_name, self._seed = sampler, seed
        self._trials = Trials(goals)

    def __call__(
        self, number: int, space: Space, max_steps: int, given: Params | None = None
    ) -> Params:
        """Draw, record and return the parameters of a trial that has begun.

        Args:
            number: number of the trial.
            space: the search space.
            max_steps: steps of the trial unless it is stopped early.
            given: fixed parameters; the sampler draws the others.
        """
        if self._sampler_name == "gp":
            given = self._propose(number, space, max_steps, given) or given
        return suggested(self._study.sampled_by(self._sampler(number, given), number), space)

    def _propose(
        self, number: int, space: Space, max_steps: int, given: Params | None
    ) -> Params | None:
        observations = self._trials.tried(self._study.trials, number)
        # Lengthscales are known only for single objectives.
        lengths = {} if self._goals.pareto else self._study.notes.get(LENGTHS, {})
        return propose(
            space,
            observations,
            max_steps=max_steps,
            index=number,
            seed=self._seed,
            given=given,
            lengths_D=expected_lengths(space, lengths),
        )

    def _sampler(self, number: int, given: Params | None) -> optuna.samplers.BaseSampler:
        seed = (self._seed * 1_000_003 + number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = make_sampler(self._sampler_name, seed=seed, goals=self._goals)
            if given is not None:
                sampler = optuna.samplers.PartialFixedSampler(dict(given), sampler)
        return sampler
