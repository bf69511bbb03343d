"""The prior of a person about good configurations, for the default sampler.

As in Hvarfner et al., "πBO: Augmenting Acquisition Functions with User Beliefs for Bayesian
Optimization" (ICLR 2022), the sampler adds the logarithm of the prior, times `STRENGTH` over the
number of trials, to the logarithm of its acquisition function. So the prior fades.
`benchmarks.priors` measures what a wrong one costs; it has not been run in full yet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr, ndtri

from search_spaces import Choice, Space
from search_spaces.priors import Prior, Word
from tuner.sampling.encoding import options_at, shares_of, with_conditions

#: Weight of the logarithm of the prior, times the number of trials. It is not tuned yet;
#: `benchmarks.priors` compares others.
STRENGTH = 10.0
#: Word -> standard deviation of the bell around a number, as a share of its range.
WIDTHS: Mapping[Word, float] = {"maybe": 0.3, "likely": 0.15, "sure": 0.07}
#: Word -> probability of an option of a choice, as a share of the way from that of any to 1.
CERTAINTY: Mapping[Word, float] = {"maybe": 0.3, "likely": 0.6, "sure": 0.85}
#: Smallest density relative to the highest one, so that no value is impossible.
FLOOR = 0.01


class UserPrior:
    """A prior over the configurations of a space; parameters are independent.

    Args:
        space: the search space.
        priors: parameter -> its prior. The others are drawn evenly.
    """

    def __init__(self, space: Space, priors: Mapping[str, Prior]):
        self._space, self._priors = space, dict(priors)
        self._column = {name: index for index, name in enumerate(space.params)}

    def __contains__(self, name: str) -> bool:
        return name in self._priors

    def weighted_log(self, share_NP: np.ndarray, trials: int) -> np.ndarray:
        """Return what is added to the logarithm of the acquisition function, 0 at the mode.

        Parameters without a meaning in a configuration have no share in it.

        Args:
            share_NP: configurations.
            trials: number of trials so far, at least 1.
        """
        log_N = np.zeros(len(share_NP))
        share_NP = with_conditions(self._space, share_NP)
        for name, prior in self._priors.items():
            share_N = share_NP[:, self._column[name]]
            density_N = self._relative_density(name, prior, share_N)
            log_N += np.where(np.isnan(share_N), 0.0, np.log(np.maximum(density_N, FLOOR)))
        return log_N * STRENGTH / trials

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return the shares_NP of random configurations."""
        share_NP = rng.random((count, len(self._column)))
        for name, prior in self._priors.items():
            column = self._column[name]
            share_NP[:, column] = self._at_quantile(name, prior, share_NP[:, column])
        return share_NP

    def draw_one(self, name: str, rng: np.random.Generator) -> float:
        """Return a random share of one parameter with a prior."""
        return float(self._at_quantile(name, self._priors[name], rng.random(1))[0])

    def _relative_density(self, name: str, prior: Prior, share_N: np.ndarray) -> np.ndarray:
        parameter = self._space.params[name]
        if isinstance(parameter, Choice):
            chance_K = _chances(parameter, prior)
            return np.asarray((chance_K / chance_K.max())[options_at(parameter, share_N)])
        deviation_N = (share_N - self._center(name, prior)) / WIDTHS[prior.word]
        return np.asarray(np.exp(-(deviation_N**2) / 2))

    def _at_quantile(self, name: str, prior: Prior, quantile_N: np.ndarray) -> np.ndarray:
        parameter = self._space.params[name]
        if isinstance(parameter, Choice):
            ends_K = np.cumsum(_chances(parameter, prior))
            count = len(ends_K)
            option_N = np.minimum(np.searchsorted(ends_K, quantile_N, side="right"), count - 1)
            return np.asarray((option_N + 0.5) / count)
        center, width = self._center(name, prior), WIDTHS[prior.word]
        low, high = ndtr((0 - center) / width), ndtr((1 - center) / width)
        share_N = center + width * ndtri(low + (high - low) * quantile_N)
        return np.asarray(np.clip(share_N, 0, 1))

    def _center(self, name: str, prior: Prior) -> float:
        return shares_of(self._space, {name: prior.value})[name]


def _chances(parameter: Choice, prior: Prior) -> np.ndarray:
    """Return the probabilities_K of the options of a choice."""
    count, certainty = len(parameter.options), CERTAINTY[prior.word]
    chance_K = np.full(count, (1 - certainty) / count)
    chance_K[parameter.options.index(str(prior.value))] += certainty
    return chance_K
