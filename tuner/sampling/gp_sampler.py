"""The default sampler: Bayesian optimization with a Gaussian process over parameters and steps.

Every report at a rung is one observation, with the steps as an additional coordinate. So trials
that were stopped early count, too, and the process predicts values at the last step. The sampler
proposes whole configurations, so the conditions of a search space hold.

It proposes the configuration with the largest expected improvement (Jones, Schonlau and Welch,
"Efficient Global Optimization", 1998) at the last step, weighted by the probability that it keeps
the constraints (Gardner et al., "Bayesian Optimization with Inequality Constraints", ICML 2014).
Several objectives are combined with random weights, new ones for each draw (Knowles, "ParEGO",
2006).

For a trial that has not reached the last step, its prediction there is added as an observation
(the kriging believer of Ginsbourger, Le Riche and Carraro, "Kriging is Well-Suited to Parallelize
Optimization", 2010). For running trials, this keeps simultaneous draws apart. For trials that
halving stopped, it prevents endless repetition: in a region that looks slow but good, every trial
is stopped, so nothing more is learned there, and the region would be proposed again and again. This
happened on real pictures.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from nst_core.errors import ConfigError
from search_spaces import Params, Space
from search_spaces.priors import Stated, priors_of
from tuner.sampling.candidates import most_promising, shares_with_random
from tuner.sampling.encoding import point_at, value_at
from tuner.sampling.gaussian_process import one_thread
from tuner.sampling.gp_posterior import Posterior
from tuner.sampling.lengthscales import Lengths, expected_lengths
from tuner.sampling.observations import Observation, observation_of, thinned
from tuner.sampling.optuna_space import distributions
from tuner.sampling.user_prior import UserPrior

#: Number of trials with reports that the sampler needs before it proposes anything.
STARTUP = 8
#: Largest number of trials without reports that the sampler uses, failed and running ones each.
MOST_PENDING = 64
#: Number of trials whose random draws may be in progress at the same time.
MOST_DRAWN = 256


class GaussianProcessSampler(BaseSampler):
    """A sampler for any study of Optuna whose parameters are those of one search space.

    It reads parameters, states, values, constraints and (with ``max_steps``) intermediate values of
    all trials. A draw depends on these, on the seed and on the number of the trial only. Values of
    ``study.enqueue_trial`` are kept, and the other parameters are chosen to fit them.

    Args:
        space: the search space; `suggested` asks a trial for its parameters.
        max_steps: largest number of steps at which a trial reports; steps are counted from 1. None
            if trials have final values only.
        seed: seed of all draws, 0 or more; None for a random one.
        lengths: known lengthscales of the parameters, for a single objective.
        prior: parameter -> [value, maybe | likely | sure], where good values are expected.
        observe: returns the observation of a trial with parameters, or None for a trial that does
            not count. By default it is `observation_of`, which reads the fields that Optuna has.

    Raises:
        ValueError: ``max_steps`` is below 1, or the seed below 0.
        ConfigError: the prior does not fit the space; the error lists all problems.
    """

    def __init__(
        self,
        space: Space,
        *,
        max_steps: int | None = None,
        seed: int | None = None,
        lengths: Lengths | None = None,
        prior: Stated | None = None,
        observe: Callable[[FrozenTrial], Observation | None] | None = None,
    ):
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps: expected at least 1 or None, got {max_steps}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed: expected at least 0 or None, got {seed}")
        self._space, self._max_steps, self._observe = space, max_steps, observe
        self._seed = secrets.randbelow(2**31) if seed is None else seed
        self._lengths_D = expected_lengths(space, lengths or {})
        self._prior = _user_prior(space, prior) if prior else None
        #: Number of a finished trial -> the trial and its observation. It does not change.
        self._finished: dict[int, tuple[FrozenTrial, Observation | None]] = {}
        self._random: dict[int, RandomSampler] = {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters of the space."""
        self._begin(trial.number)
        return distributions(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the configuration to try next; nothing if there are too few observations."""
        if not search_space:
            return {}
        proposed = propose(
            self._space,
            self._observations(study, trial.number),
            max_steps=self._max_steps or 1,
            index=trial.number,
            seed=self._seed,
            given=self._enqueued(trial),
            # Lengthscales are known only for single objectives.
            lengths_D=self._lengths_D if len(study.directions) == 1 else None,
            prior=self._prior,
        )
        return {name: value for name, value in (proposed or {}).items() if name in search_space}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value, for parameters that `sample_relative` did not choose."""
        if self._prior and param_name in self._prior:
            rng = np.random.default_rng([self._seed, trial.number, crc32(param_name.encode())])
            share = self._prior.draw_one(param_name, rng)
            return value_at(self._space.params[param_name], share)
        random = self._random.get(trial.number) or self._begin(trial.number)
        return random.sample_independent(study, trial, param_name, param_distribution)

    def _begin(self, number: int) -> RandomSampler:
        """Return the random sampler of a trial at its start."""
        if len(self._random) >= MOST_DRAWN:
            self._random.pop(next(iter(self._random)), None)
        sampler = RandomSampler(seed=(self._seed * 1_000_003 + number) % 2**32)
        self._random[number] = sampler
        return sampler

    def _enqueued(self, trial: FrozenTrial) -> Params:
        """Return the parameters of the space that `optuna.Study.enqueue_trial` gave the trial."""
        given = trial.system_attrs.get("fixed_params", {})
        params = self._space.params
        return {k: v for k, v in given.items() if k in params and params[k].contains(v)}

    def _observations(self, study: optuna.Study, drawn: int) -> list[Observation]:
        """Return the observations of all trials of the space but the one that is drawn now."""
        observed = [
            self._observation(study, trial)
            for trial in study.get_trials(deepcopy=False)
            if trial.number != drawn and trial.params
        ]
        return [observation for observation in observed if observation is not None]

    def _observation(self, study: optuna.Study, trial: FrozenTrial) -> Observation | None:
        """Return the observation of a trial; that of a finished trial is computed only once."""
        kept = self._finished.get(trial.number)
        if kept is not None and kept[0] is trial:
            return kept[1]
        if self._observe:
            observation = self._observe(trial)
        else:
            observation = observation_of(trial, study.directions, self._max_steps)
        if trial.state.is_finished():
            self._finished[trial.number] = (trial, observation)
        return observation


def _user_prior(space: Space, stated: Stated) -> UserPrior:
    priors, problems = priors_of(space, stated)
    if problems:
        texts = [f"`{name}`: {problem}" for name, problem in problems.items()]
        raise ConfigError(f"prior of space {space.name}", texts)
    return UserPrior(space, priors)


@one_thread()
def propose(
    space: Space,
    tried: Sequence[Observation],
    *,
    max_steps: int,
    index: int,
    seed: int,
    given: Params | None = None,
    lengths_D: np.ndarray | None = None,
    prior: UserPrior | None = None,
) -> Params | None:
    """Return the configuration to try next, or None if there are too few observations.

    Args:
        space: the search space.
        tried: trials so far, in their order.
        max_steps: steps of a full trial.
        index: number of the draw, different for each draw of a run.
        seed: seed of the run.
        given: parameters that the configuration must have.
        lengths_D: expected lengthscales; see `fitted_kernel`.
        prior: the prior of a person.
    """
    given = given or {}
    reported = thinned([trial for trial in tried if trial.losses])
    failed = [trial for trial in tried if trial.failed and not trial.losses][-MOST_PENDING:]
    if len(reported) + len(failed) < STARTUP or not reported:
        return None
    rng = np.random.default_rng([seed, index])
    pending = [trial for trial in tried if trial.pending and not trial.losses][-MOST_PENDING:]
    posterior = Posterior(space, [*reported, *failed, *pending], max_steps, rng, lengths_D)
    start_NP = np.stack([shares_with_random(space, trial.params, rng) for trial in reported])
    share_P = most_promising(space, posterior, start_NP, given, rng, prior, len(tried))
    return point_at(space, dict(zip(space.params, share_P.tolist(), strict=True)), given)
