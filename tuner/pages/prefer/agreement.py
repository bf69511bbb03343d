"""How far metrics agree with a person's votes, and which sum of them agrees most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from nst_core.metrics.registry import METRICS, OBJECTIVES
from tuner.pages.prefer.votes import Vote
from tuner.study.records import Scores

#: Pull of the learned weights towards zero, in units of votes: few votes should not decide much.
PULL = 1.0


class Agreement(NamedTuple):
    """How often a metric ranks two results as a person does."""

    agreed: int
    votes: int

    @property
    def share(self) -> float:
        """From 0 to 1; 0.5 is what a coin does."""
        return self.agreed / self.votes if self.votes else 0.5


#: Trial -> what it scores on each pair.
PairScores = Mapping[int, Sequence[Scores]]


def agreements(scores: PairScores, votes: Sequence[Vote]) -> dict[str, Agreement]:
    """Metric -> how far it agrees on the pictures that were compared; the most agreeing first.

    Args:
        scores: of all trials on as many pairs.
        votes: of the person.
    """
    known = [vote for vote in votes if vote.better in scores and vote.worse in scores]
    found = {}
    for name in _common(scores):
        better = METRICS[name].better
        agreed = sum(
            better(scores[v.better][v.pair][name], scores[v.worse][v.pair][name]) for v in known
        )
        found[name] = Agreement(agreed, len(known))
    return dict(sorted(found.items(), key=lambda item: -item[1].share))


def learned_objective(scores: PairScores, votes: Sequence[Vote]) -> dict[str, float]:
    """Weights of metrics whose sum explains the votes best, for the ``objective`` of a job.

    Logistic regression on the differences of scores on the pair that was shown, each metric in
    units of its spread between trials, with weights that are not negative: a metric counts in its
    own direction or not at all.
    """
    names = [name for name in _common(scores) if name in OBJECTIVES]
    signs_K = np.array([1.0 if METRICS[name].higher_is_better else -1.0 for name in names])
    table_NPK = signs_K * np.array(
        [[[one[name] for name in names] for one in pairs] for pairs in scores.values()]
    )
    row = {trial: index for index, trial in enumerate(scores)}
    known = [v for v in votes if v.better in row and v.worse in row]
    if not known or not names:
        return {}
    spread_K = (table_NPK - table_NPK.mean(axis=0)).std(axis=(0, 1))
    varied = [k for k in range(len(names)) if spread_K[k] > 0]
    if not varied:
        return {}
    unit_NPK = table_NPK[..., varied] / spread_K[varied]
    gaps_MK = np.array(
        [unit_NPK[row[v.better], v.pair] - unit_NPK[row[v.worse], v.pair] for v in known]
    )

    def loss(weights_K: np.ndarray) -> tuple[float, np.ndarray]:
        margins_M = gaps_MK @ weights_K
        value = np.logaddexp(0, -margins_M).sum() + PULL * (weights_K**2).sum() / 2
        slope_K = -(expit(-margins_M) @ gaps_MK) + PULL * weights_K
        return float(value), slope_K

    start_K = np.ones(len(varied)) / len(varied)
    best = minimize(loss, start_K, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(varied))
    weights = {names[k]: float(w / spread_K[k]) for k, w in zip(varied, best.x, strict=True)}
    total = sum(w * spread_K[names.index(name)] for name, w in weights.items())
    return {
        name: float(f"{weight / total:.4g}")
        for name, weight in weights.items()
        if total > 0 and weight * spread_K[names.index(name)] / total > 0.02
    }


def _common(scores: PairScores) -> list[str]:
    """Metrics that every trial has on every pair."""
    sets = [set(one) for pairs in scores.values() for one in pairs]
    return [name for name in METRICS if sets and name in set.intersection(*sets)]
