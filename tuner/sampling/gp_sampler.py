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

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import log_ndtr

from search_spaces import Choice, Params, Space
from tuner.job.ranking import Values, ranking
from tuner.sampling.encoding import encode_all, encode_shares, point_at, shares_of, with_conditions
from tuner.sampling.gaussian_process import GaussianProcess, Kernel, fitted_kernel, one_thread

#: Number of trials with reports that the sampler needs before it proposes anything.
STARTUP = 8
#: Largest number of trials with reports that the sampler uses, and of those without. The time of a
#: draw grows with the cube of both.
MOST_SEEN, MOST_PENDING = 160, 64
#: Number of reports that the kernel is fitted to, which takes most of the time.
MOST_FITTED = 80
#: Prior variance of the mean of a value and of its slope along the steps.
TREND = 4.0
#: Values that are worse than the median by more than this many standard deviations are clipped,
#: because a few outliers would stretch the scale of all others.
OUTLIER = 4.0
#: Points with a smaller distance count as equal.
SAME = 1e-6
#: Number of random candidates, and of candidates near the best trials.
ANYWHERE, NEAR = 600, 400
#: Distances, as shares of a range, of further candidates from the best candidates so far.
CLOSER = (0.1, 0.03)
#: Probability that a candidate near another one differs in a parameter.
MOVES = 0.4
#: Weight of the mean over the objectives, beside the worst of them (Knowles 2006).
MEAN = 0.05


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The reports and the state of a trial.

    Attributes:
        params: parameters of the trial.
        values: steps -> `Goals.values` of the report; empty if there is no report yet.
        violations: steps -> violation of each constraint, 0 or less if it is kept.
        pending: whether the trial is running and will report again.
        failed: whether the trial failed, whatever it had reported before.
    """

    params: Params
    values: Mapping[int, Values]
    violations: Mapping[int, Sequence[float]]
    pending: bool = False
    failed: bool = False


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
    """
    given = given or {}
    reported = _thinned([trial for trial in tried if trial.values])
    failed = [trial for trial in tried if trial.failed and not trial.values][-MOST_PENDING:]
    if len(reported) + len(failed) < STARTUP or not reported:
        return None
    rng = np.random.default_rng([seed, index])
    pending = [trial for trial in tried if trial.pending and not trial.values][-MOST_PENDING:]
    posterior = _Posterior(space, [*reported, *failed, *pending], max_steps, rng, lengths_D)
    start_NP = np.stack([_shares(space, trial.params, rng) for trial in reported])
    share_P = _most_promising(space, posterior, start_NP, given, rng)
    return point_at(space, dict(zip(space.params, share_P.tolist(), strict=True)), given)


# --- the posterior --------------------------------------------------------------------------------


class _Posterior:
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
        reported = [trial for trial in tried if trial.values]
        first_rung = min(min(trial.values) for trial in reported)
        self._tried_KD = encode_all(space, [trial.params for trial in tried])
        # The coordinate of the steps goes from 0 at the first rung to 1 at the last.
        span = np.log(max_steps / first_rung) or 1.0
        # A failed trial counts as the worst of all at the last step, however good its reports were.
        rows = [(trial, steps) for trial in tried for steps in trial.values]
        failed = [(trial, max_steps) for trial in tried if trial.failed]
        step_N = 1 + np.log([steps / max_steps for _, steps in [*rows, *failed]]) / span
        encoded_ND = encode_all(space, [trial.params for trial, _ in [*rows, *failed]])
        self._point_ND = np.hstack([encoded_ND, step_N[:, None]])
        self._reported_MD = _at_the_end(encode_all(space, [trial.params for trial in reported]))
        unfinished = [t for t in tried if max_steps not in t.values and not t.failed]
        self._unfinished_QD = _at_the_end(encode_all(space, [trial.params for trial in unfinished]))

        def with_failed(values: list[Sequence[float]]) -> np.ndarray:
            value_NV = np.array(values, dtype=float)
            return np.vstack([value_NV, *[value_NV.max(0)] * len(failed)])

        loss_NV = with_failed([trial.values[steps][1:] for trial, steps in rows])
        violation_NC = with_failed([trial.violations[steps] for trial, steps in rows])
        self._loss = self._model(_without_outliers(_joined(loss_NV, rng)), lengths_D)
        # Violations keep their outliers: whether a constraint is kept depends on a fixed bound.
        self._violations = [self._model(violation_N) for violation_N in violation_NC.T]
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

    def _model(self, value_N: np.ndarray, lengths_D: np.ndarray | None = None) -> GaussianProcess:
        """Return a process of one value, which unfinished trials have as predicted."""
        value_N1 = value_N[:, None]
        model = GaussianProcess(self._point_ND, value_N1, self._kernel(value_N1, lengths_D))
        if not len(self._unfinished_QD):
            return model
        return GaussianProcess(
            np.vstack([self._point_ND, self._unfinished_QD]),
            np.vstack([value_N1, model(self._unfinished_QD)]),
            model.kernel,
        )

    def _kernel(self, value_N1: np.ndarray, lengths_D: np.ndarray | None) -> Kernel:
        count = len(value_N1)
        chosen = np.linspace(0, count - 1, min(count, MOST_FITTED)).astype(int)
        points_ND = self._point_ND[chosen]
        return fitted_kernel(points_ND, value_N1[chosen], trend=TREND, lengths_D=lengths_D)


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


def _thinned(reported: Sequence[Observation]) -> Sequence[Observation]:
    """Return at most `MOST_SEEN` trials, in their order.

    A quarter of them are the best of those with the most steps; the others are spread evenly.
    """
    if len(reported) <= MOST_SEEN:
        return reported
    by_steps: dict[int, list[int]] = defaultdict(list)
    for index, trial in enumerate(reported):
        by_steps[max(trial.values)].append(index)
    ranked: list[int] = []
    for steps in sorted(by_steps, reverse=True):
        indices = by_steps[steps]
        if len(ranked) < MOST_SEEN // 4:  # the order of the others does not matter, and takes long
            keys = ranking([reported[index].values[steps] for index in indices])
            indices = [index for _, index in sorted(zip(keys, indices, strict=True))]
        ranked += indices
    best, rest = ranked[: MOST_SEEN // 4], sorted(ranked[MOST_SEEN // 4 :])
    count = MOST_SEEN - len(best)
    spread = [rest[k * len(rest) // count] for k in range(count)]
    return [reported[index] for index in sorted([*best, *spread])]


# --- the search for the best candidate ------------------------------------------------------------


def _most_promising(
    space: Space,
    posterior: _Posterior,
    start_NP: np.ndarray,
    given: Params,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the shares_P of the best candidate: random ones, and ones near the best trials."""
    given_P = np.array([shares_of(space, given).get(name, np.nan) for name in space.params])

    def with_given(share_NP: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(given_P), share_NP, given_P)

    best_BP = start_NP[posterior.best_first()[:8]]
    share_NP = with_given(
        np.vstack(
            [
                rng.random((ANYWHERE, len(space.params))),
                _next_to(space, best_BP, NEAR // 2, 0.2, rng),
                _next_to(space, best_BP, NEAR // 2, 0.05, rng),
            ]
        )
    )
    promising_N = posterior(share_NP)
    for distance in CLOSER:
        best = np.argsort(-promising_N, kind="stable")[:6]
        closer_NP = with_given(_next_to(space, share_NP[best], 150, distance, rng))
        share_NP = np.vstack([share_NP[best], closer_NP])
        promising_N = np.append(promising_N[best], posterior(closer_NP))
    return np.asarray(share_NP[int(promising_N.argmax())])


def _next_to(
    space: Space, share_BP: np.ndarray, count: int, distance: float, rng: np.random.Generator
) -> np.ndarray:
    """Return shares_NP that differ from given ones in some numbers and some choices.

    Numbers that would leave their range are reflected at its end. If they were clipped, candidates
    would gather at the ends of many ranges, in corners that are the least known and rarely good.
    """
    share_NP = share_BP[rng.integers(len(share_BP), size=count)]
    choice_P = np.array([isinstance(p, Choice) for p in space.params.values()])
    near_NP = share_NP + distance * rng.normal(size=share_NP.shape)
    moved_NP = np.where(choice_P, rng.random(share_NP.shape), near_NP)
    moves_NP = rng.random(share_NP.shape) < np.where(choice_P, MOVES / 3, MOVES)
    inside_NP = np.abs(np.where(moves_NP, moved_NP, share_NP))
    return np.clip(np.where(inside_NP > 1, 2 - inside_NP, inside_NP), 0, 1)


def _shares(space: Space, params: Params, rng: np.random.Generator) -> np.ndarray:
    """Return the shares_P of a configuration; random ones for parameters without a meaning."""
    shares = shares_of(space, params)
    return np.array([shares.get(name, rng.random()) for name in space.params])
