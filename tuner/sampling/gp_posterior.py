"""The posterior of the default sampler: how promising a configuration is, given all observations.

See `gp_sampler` for the method.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import log_ndtr

from search_spaces import Space
from tuner.sampling.encoding import encode_all, encode_shares, with_conditions
from tuner.sampling.gaussian_process import GaussianProcess, Kernel, fitted_kernel
from tuner.sampling.observations import Observation

#: Number of reports that the kernel is fitted to, which takes most of the time.
MOST_FITTED = 80
#: Prior variance of the mean of a value and of its slope along the steps.
TREND = 4.0
#: Values that are worse than the median by more than this many standard deviations are clipped,
#: because a few outliers would stretch the scale of all others.
OUTLIER = 4.0
#: Points with a smaller distance count as equal.
SAME = 1e-6
#: Weight of the mean over the objectives, beside the worst of them (Knowles 2006).
MEAN = 0.05


class Posterior:
    """Rates how promising a configuration is at the last step, given all observations."""

    def __init__(
        self,
        space: Space,
        tried: Sequence[Observation],
        max_steps: int,
        rng: np.random.Generator,
        lengths_D: np.ndarray | None,
    ):
        self._space = space
        reported = [trial for trial in tried if trial.losses]
        first_rung = min(min(trial.losses) for trial in reported)
        self._tried_KD = encode_all(space, [trial.params for trial in tried])
        # The coordinate of the steps goes from 0 at the first rung to 1 at the last.
        span = np.log(max_steps / first_rung) or 1.0
        # A failed trial counts as the worst of all at the last step, however good its reports were.
        rows = [(trial, steps) for trial in tried for steps in trial.losses]
        failed = [(trial, max_steps) for trial in tried if trial.failed]
        step_N = 1 + np.log([steps / max_steps for _, steps in [*rows, *failed]]) / span
        encoded_ND = encode_all(space, [trial.params for trial, _ in [*rows, *failed]])
        point_ND = np.hstack([encoded_ND, step_N[:, None]])
        self._reported_MD = _at_the_end(encode_all(space, [trial.params for trial in reported]))
        unfinished = [t for t in tried if max_steps not in t.losses and not t.failed]
        self._unfinished_QD = _at_the_end(encode_all(space, [trial.params for trial in unfinished]))

        def with_failed(values: list[Sequence[float]]) -> np.ndarray:
            value_NV = np.array(values, dtype=float)
            return np.vstack([value_NV, *[value_NV.max(0)] * len(failed)])

        loss_N = _joined(with_failed([trial.losses[steps] for trial, steps in rows]), rng)
        self._loss = self._model(point_ND, _without_outliers(loss_N), lengths_D)
        # Violations keep their outliers: whether a constraint is kept depends on a fixed bound.
        excess = [trial.violations.get(steps, {}) for trial, steps in rows]
        self._violations = []
        for name in {name: None for of_report in excess for name in of_report}:
            known = [index for index, of_report in enumerate(excess) if name in of_report]
            value_N = with_failed([[excess[index][name]] for index in known])[:, 0]
            known += range(len(rows), len(point_ND))
            self._violations.append(self._model(point_ND[known], value_N))
        # A proposal must also improve upon the predictions of unfinished trials.
        rival_MD = np.vstack([self._reported_MD, self._unfinished_QD])
        expected_M = self._loss(rival_MD)[:, 0]
        feasible_M = self._log_feasible(rival_MD) > np.log(0.5)
        # If no trial is likely to keep the constraints, only they matter.
        self._any_feasible = bool(feasible_M.any())
        self._best = float(expected_M[feasible_M].min()) if self._any_feasible else 0.0

    def __call__(self, share_NP: np.ndarray) -> np.ndarray:
        """Return the logarithm of the expected improvement_N of configurations.

        It is minus infinity for configurations that were tried already.
        """
        encoded_ND = encode_shares(self._space, with_conditions(self._space, share_NP))
        point_ND = _at_the_end(encoded_ND)
        promising_N = self._log_feasible(point_ND)
        if self._any_feasible:
            mean_N, spread_N = self._loss(point_ND)[:, 0], self._loss.spread(point_ND)[:, 0]
            promising_N += log_improvement(mean_N, spread_N, self._best)
        repeated_N = cdist(encoded_ND, self._tried_KD).min(1) < SAME
        return np.where(repeated_N, -np.inf, promising_N)

    def best_first(self) -> np.ndarray:
        """Return the indices of the trials with reports, in the order of their predictions."""
        loss_M = self._loss(self._reported_MD)[:, 0] - self._log_feasible(self._reported_MD)
        return np.asarray(np.argsort(loss_M, kind="stable"))

    def _log_feasible(self, point_ND: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability that a point keeps all constraints."""
        log_N = np.zeros(len(point_ND))
        for violation in self._violations:
            log_N += log_ndtr(-violation(point_ND)[:, 0] / violation.spread(point_ND)[:, 0])
        return log_N

    def _model(
        self, point_ND: np.ndarray, value_N: np.ndarray, lengths_D: np.ndarray | None = None
    ) -> GaussianProcess:
        """Return a process of one value, which unfinished trials have as predicted."""
        value_N1 = value_N[:, None]
        model = GaussianProcess(point_ND, value_N1, _kernel(point_ND, value_N1, lengths_D))
        if not len(self._unfinished_QD):
            return model
        return GaussianProcess(
            np.vstack([point_ND, self._unfinished_QD]),
            np.vstack([value_N1, model(self._unfinished_QD)]),
            model.kernel,
        )


def _kernel(point_ND: np.ndarray, value_N1: np.ndarray, lengths_D: np.ndarray | None) -> Kernel:
    count = len(value_N1)
    chosen = np.linspace(0, count - 1, min(count, MOST_FITTED)).astype(int)
    return fitted_kernel(point_ND[chosen], value_N1[chosen], trend=TREND, lengths_D=lengths_D)


def _at_the_end(encoded_ND: np.ndarray) -> np.ndarray:
    return np.hstack([encoded_ND, np.ones((len(encoded_ND), 1))])


def log_improvement(mean_N: np.ndarray, spread_N: np.ndarray, best: float) -> np.ndarray:
    """Return the logarithm of the expected improvement upon ``best``; lower values are better.

    Far above ``best``, where the improvement underflows to 0, the leading term of its series is
    used (Ament et al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023).
    """
    ahead_N = (best - mean_N) / spread_N
    log_density_N = -(ahead_N**2) / 2 - np.log(2 * np.pi) / 2
    near_N = np.maximum(ahead_N, -5)
    exact_N = np.exp(-(near_N**2) / 2) / np.sqrt(2 * np.pi) + near_N * np.exp(log_ndtr(near_N))
    far_N = log_density_N - 2 * np.log(np.maximum(-ahead_N, 1))
    return np.asarray(np.log(spread_N) + np.where(ahead_N > -5, np.log(exact_N), far_N))


def _joined(value_NV: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one value for all objectives, by random weights (Knowles 2006)."""
    if value_NV.shape[1] == 1:
        return value_NV[:, 0]
    low_V, high_V = value_NV.min(0), value_NV.max(0)
    share_NV = (value_NV - low_V) / np.where(high_V > low_V, high_V - low_V, 1.0)
    weighted_NV = share_NV * rng.dirichlet(np.ones(value_NV.shape[1]))
    return np.asarray(weighted_NV.max(1) + MEAN * weighted_NV.sum(1))


def _without_outliers(value_N: np.ndarray) -> np.ndarray:
    median = np.median(value_N)
    deviation = 1.4826 * np.median(np.abs(value_N - median))  # of normal values: the standard one
    return np.minimum(value_N, median + OUTLIER * deviation) if deviation > 0 else value_N
