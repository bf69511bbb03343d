"""Strengths: the ranking behind votes, by a Bradley-Terry model with uncertainty.

Trial i is chosen over trial j with probability s(theta_i - theta_j), where s is the logistic
function (Bradley and Terry, Biometrika 39, 1952). A weak normal prior keeps the theta of a trial
that won or lost every vote finite. The uncertainty is that of the normal distribution around the
most likely thetas (Laplace's approximation).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from tuner.pages.prefer.votes import Vote

#: Standard deviation of the prior; with 2, the stronger of two trials wins 79 % of the votes.
PRIOR = 2.0

_MAX_ITERATIONS = 100


@dataclass(frozen=True)
class Strengths:
    """The strengths of trials.

    Attributes:
        trials: numbers of the trials.
        theta_N: strength of each trial; their mean is 0.
        covariance_NN: covariance of the strengths.
    """

    trials: Sequence[int]
    theta_N: np.ndarray
    covariance_NN: np.ndarray

    @property
    def spread_N(self) -> np.ndarray:
        """Standard deviation of each strength."""
        return np.sqrt(np.diag(self.covariance_NN))

    def of(self, trial: int) -> tuple[float, float]:
        """Return the strength of a trial and its standard deviation."""
        index = self.trials.index(trial)
        return float(self.theta_N[index]), float(self.spread_N[index])

    def order(self) -> list[int]:
        """Return the numbers of the trials, the strongest first."""
        return [self.trials[index] for index in np.argsort(-self.theta_N, kind="stable")]

    def chance(self, better: int, worse: int) -> float:
        """Return the probability that the first of two trials is the stronger one."""
        i, j = self.trials.index(better), self.trials.index(worse)
        spread = np.sqrt(self._variance(i, j))
        # With the factor 1.702 the logistic function is within 1 % of the normal distribution's.
        return float(expit(1.702 * (self.theta_N[i] - self.theta_N[j]) / spread))

    def _variance(self, i: int, j: int) -> float:
        """Return the variance of the difference of two strengths."""
        covariance = self.covariance_NN
        return float(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])

    def information(self, a: int, b: int) -> float:
        """Return how informative a vote on two trials is: most if they are close and uncertain."""
        i, j = self.trials.index(a), self.trials.index(b)
        chance = float(expit(self.theta_N[i] - self.theta_N[j]))
        return chance * (1 - chance) * self._variance(i, j)


def strengths(trials: Sequence[int], votes: Sequence[Vote]) -> Strengths:
    """Return the most likely strengths of trials, by Newton's method.

    Args:
        trials: numbers of the trials.
        votes: the votes; those on other trials are ignored.
    """
    index = {trial: position for position, trial in enumerate(trials)}
    wins = [(index[v.better], index[v.worse]) for v in votes if {v.better, v.worse} <= set(index)]
    wins_M2 = np.array(wins, dtype=int).reshape(-1, 2)
    theta_N = np.zeros(len(trials))
    for _ in range(_MAX_ITERATIONS):
        gradient_N, hessian_NN = _derivatives(theta_N, wins_M2)
        step_N = np.linalg.solve(hessian_NN, gradient_N)
        theta_N = theta_N - step_N
        if np.abs(step_N).max() < 1e-10:
            break
    _, hessian_NN = _derivatives(theta_N, wins_M2)
    covariance_NN = np.linalg.inv(hessian_NN)
    return Strengths(trials, theta_N - theta_N.mean(), covariance_NN)


def _derivatives(theta_N: np.ndarray, wins_M2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient and Hessian of the negative log-likelihood with the prior."""
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


def next_question(current: Strengths, votes: Sequence[Vote]) -> tuple[int, int]:
    """Return the two trials on which a vote is most informative, preferring those asked least.

    Args:
        current: the strengths so far.
        votes: the votes so far.
    """
    asked = Counter(frozenset((vote.better, vote.worse)) for vote in votes)
    pairs = list(itertools.combinations(current.trials, 2))
    return max(
        pairs, key=lambda pair: (current.information(*pair) / (1 + asked[frozenset(pair)]), pair)
    )
