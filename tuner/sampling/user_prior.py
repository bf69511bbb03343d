"""The prior of a person about good configurations, for every sampler that draws.

Some trials take the values of the parameters with a prior from it, and the sampler draws their
other parameters. The first trials nearly always do, later ones ever more rarely, so that a wrong
prior is forgotten. `benchmarks.priors` measures what a right one saves and a wrong one costs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr, ndtri

from search_spaces import Choice, Params, Space
from search_spaces.priors import Prior, Word
from tuner.sampling.encoding import shares_of, value_at

#: Number of drawn trials after which half of the new ones use the prior.
STRENGTH = 10.0
#: Word -> standard deviation of the bell around a number, as a share of its range.
WIDTHS: Mapping[Word, float] = {"maybe": 0.3, "likely": 0.15, "sure": 0.07}
#: Word -> probability of an option of a choice, as a share of the way from that of any to 1.
CERTAINTY: Mapping[Word, float] = {"maybe": 0.3, "likely": 0.6, "sure": 0.85}


class UserPrior:
    """A prior over some parameters of a space, which are independent.

    Args:
        space: the search space.
        priors: parameter -> its prior.
    """

    def __init__(self, space: Space, priors: Mapping[str, Prior]):
        self._space, self._priors = space, dict(priors)

    def values(self, drawn: int, rng: np.random.Generator) -> Params:
        """Return values of the parameters with a prior, or nothing.

        Args:
            drawn: number of trials that were drawn so far; the more, the rarer are values.
            rng: source of random numbers.
        """
        if rng.random() >= STRENGTH / (STRENGTH + drawn):
            return {}
        return {name: self._value(name, prior, rng) for name, prior in self._priors.items()}

    def _value(self, name: str, prior: Prior, rng: np.random.Generator) -> float | int | str:
        """Return a random value of one parameter."""
        parameter = self._space.params[name]
        if isinstance(parameter, Choice):
            count, certainty = len(parameter.options), CERTAINTY[prior.word]
            chance_K = np.full(count, (1 - certainty) / count)
            chance_K[parameter.options.index(str(prior.value))] += certainty
            return parameter.options[int(rng.choice(count, p=chance_K))]
        center, width = shares_of(self._space, {name: prior.value})[name], WIDTHS[prior.word]
        # The quantiles of the bell that are inside the range, from 0 to 1.
        low, high = ndtr((0 - center) / width), ndtr((1 - center) / width)
        share = center + width * ndtri(rng.uniform(low, high))
        return value_at(parameter, float(np.clip(share, 0, 1)))
