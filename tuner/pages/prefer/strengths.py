"""The order behind votes: a Bradley-Terry model with uncertainty.

Trial i is found better than trial j with probability s(theta_i - theta_j), s the logistic function
(Bradley and Terry, Biometrika 39, 1952). A weak normal prior on every theta keeps one finite that
won or lost every vote; the uncertainty is that of the normal distribution around the most likely
thetas (Laplace's approximation).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from tuner.pages.prefer.votes import Vote

#: Standard deviation of the prior: with 2 the stronger of two wins 79 % of votes on average.
PRIOR = 2.0

_MOST_ITERATIONS = 100


@dataclass(frozen=True)
class Strengths:
    """How strong each trial is.

    Attributes:
        trials: their numbers.
        theta_N: strengths, of mean 0.
        covariance_NN: their uncertainty.
    """

    trials: Sequence[int]
    theta_N: np.ndarray
    covariance_NN: np.ndarray

    @property
    def spread_N(self) -> np.ndarray:
        """Standard deviation of each strength."""
        return np.sqrt(np.diag(self.covariance_NN))

    def order(self) -> list[int]:
        """Trials, the strongest first."""
        return [self.trials[index] for index in np.argsort(-self.theta_N, kind="stable")]

    def chance(self, better: int, worse: int) -> float:
        """Probability that the first of two trials is really stronger."""
        i, j = self.trials.index(better), self.trials.index(worse)
        spread = np.sqrt(self._variance(i, j))
        # A logistic curve follows the normal distribution's within 1 % with this factor.
        return float(expit(1.702 * (self.theta_N[i] - self.theta_N[j]) / spread))

    def _variance(self, i: int, j: int) -> float:
        part = self.covariance_NN
        return float(part[i, i] + part[j, j] - 2 * part[i, j])

    def information(self, a: int, b: int) -> float:
        """What a vote on two trials tells: much where they are close and little is known."""
        i, j = self.trials.index(a), self.trials.index(b)
        chance = float(expit(self.theta_N[i] - self.theta_N[j]))
        return chance * (1 - chance) * self._variance(i, j)


def strengths(trials: Sequence[int], votes: Sequence[Vote]) -> Strengths:
    """The most likely strengths, by Newton's method; votes on other trials are left out."""
    index = {trial: position for position, trial in enumerate(trials)}
    known = [(index[v.better], index[v.worse]) for v in votes if {v.better, v.worse} <= set(index)]
    wins_M2 = np.array(known, dtype=int).reshape(-1, 2)
    theta_N = np.zeros(len(trials))
    for _ in range(_MOST_ITERATIONS):
        gradient_N, hessian_NN = _slope(theta_N, wins_M2)
        step_N = np.linalg.solve(hessian_NN, gradient_N)
        theta_N = theta_N - step_N
        if np.abs(step_N).max() < 1e-10:
            break
    _, hessian_NN = _slope(theta_N, wins_M2)
    covariance_NN = np.linalg.inv(hessian_NN)
    return Strengths(trials, theta_N - theta_N.mean(), covariance_NN)


def _slope(theta_N: np.ndarray, wins_M2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of the negative log-likelihood with the prior."""
    gradient_N = theta_N / PRIOR**2
    hessian_NN = np.eye(len(theta_N)) / PRIOR**2
    for better, worse in wins_M2:
        chance = expit(theta_N[better] - theta_N[worse])
        gradient_N[better] -= 1 - chance
        gradient_N[worse] += 1 - chance
        weight = chance * (1 - chance)
        hessian_NN[[better, worse], [better, worse]] += weight
        hessian_NN[[better, worse], [worse, better]] -= weight
    return gradient_N, hessian_NN


def next_question(known: Strengths, votes: Sequence[Vote]) -> tuple[int, int]:
    """The two trials of which a vote tells most; of equal ones those asked of least."""
    asked = Counter(frozenset((vote.better, vote.worse)) for vote in votes)
    pairs = list(itertools.combinations(known.trials, 2))
    return max(
        pairs, key=lambda pair: (known.information(*pair) / (1 + asked[frozenset(pair)]), pair)
    )
