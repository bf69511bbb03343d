"""Agreement: how often metrics agree with votes, and which weighted sum of metrics agrees most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from nst_core.metrics.registry import METRICS, OBJECTIVES
from tuner.pages.prefer.votes import Vote
from tuner.study.records import Scores

#: Strength of the prior that pulls learned weights towards zero, so that few votes decide little.
REGULARIZATION = 1.0

#: A metric whose share of the learned objective is smaller than this is left out.
_MIN_SHARE = 0.02


class Agreement(NamedTuple):
    """How often a metric prefers the same result as the person.

    Attributes:
        agreed: number of votes on which both agree.
        votes: number of all votes.
    """

    agreed: int
    votes: int

    @property
    def share(self) -> float:
        """Share of votes on which both agree, from 0 to 1; a coin reaches 0.5."""
        return self.agreed / self.votes if self.votes else 0.5


#: Trial -> its scores on each pair.
PairScores = Mapping[int, Sequence[Scores]]


def agreements(scores: PairScores, votes: Sequence[Vote]) -> dict[str, Agreement]:
    """Return metric -> its agreement with the votes, the highest first.

    Each vote is compared with the scores on the pair that the person saw.

    Args:
        scores: scores of all trials, on the same number of pairs.
        votes: the votes; those on other trials are ignored.
    """
    usable = [vote for vote in votes if vote.better in scores and vote.worse in scores]
    by_metric = {}
    for name in _common(scores):
        better = METRICS[name].better
        agreed = sum(
            better(scores[v.better][v.pair][name], scores[v.worse][v.pair][name]) for v in usable
        )
        by_metric[name] = Agreement(agreed, len(usable))
    return dict(sorted(by_metric.items(), key=lambda item: -item[1].share))


def learned_objective(scores: PairScores, votes: Sequence[Vote]) -> dict[str, float]:
    """Return metric -> weight of the sum that explains the votes best, for a job's ``objective``.

    The weights come from a logistic regression on score differences on the pair that the person
    saw, with each metric divided by its standard deviation over trials. Weights are not negative:
    a metric counts in its own direction or not at all.

    Args:
        scores: scores of all trials, on the same number of pairs.
        votes: the votes; those on other trials are ignored.

    Returns:
        The weights, or nothing if no metric explains the votes.
    """
    names = [name for name in _common(scores) if name in OBJECTIVES]
    signs_K = np.array([1.0 if METRICS[name].higher_is_better else -1.0 for name in names])
    scores_NPK = signs_K * np.array(
        [[[on_pair[name] for name in names] for on_pair in pairs] for pairs in scores.values()]
    )
    row = {trial: index for index, trial in enumerate(scores)}
    usable = [v for v in votes if v.better in row and v.worse in row]
    if not usable or not names:
        return {}
    spread_K = (scores_NPK - scores_NPK.mean(axis=0)).std(axis=(0, 1))
    varied = [k for k in range(len(names)) if spread_K[k] > 0]
    if not varied:
        return {}
    scaled_NPK = scores_NPK[..., varied] / spread_K[varied]
    differences_MK = np.array(
        [scaled_NPK[row[v.better], v.pair] - scaled_NPK[row[v.worse], v.pair] for v in usable]
    )

    def loss(weights_K: np.ndarray) -> tuple[float, np.ndarray]:
        margins_M = differences_MK @ weights_K
        value = np.logaddexp(0, -margins_M).sum() + REGULARIZATION * (weights_K**2).sum() / 2
        gradient_K = -(expit(-margins_M) @ differences_MK) + REGULARIZATION * weights_K
        return float(value), gradient_K

    start_K = np.ones(len(varied)) / len(varied)
    best = minimize(loss, start_K, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(varied))
    total = best.x.sum()
    return {
        names[k]: float(f"{weight / spread_K[k] / total:.4g}")
        for k, weight in zip(varied, best.x, strict=True)
        if total > 0 and weight / total > _MIN_SHARE
    }


def _common(scores: PairScores) -> list[str]:
    """Return the metrics that every trial has on every pair."""
    sets = [set(on_pair) for pairs in scores.values() for on_pair in pairs]
    return [name for name in METRICS if sets and name in set.intersection(*sets)]
