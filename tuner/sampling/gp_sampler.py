"""What to try next, by a Gaussian process over parameters and steps.

Every report at a rung is a point of its own, with the steps as one more coordinate: a trial that
was stopped early says what it knows, and what is asked for is the value at the last step. A whole
configuration is proposed at once, so the conditions of a space hold.

Next is whatever promises the most expected improvement (Jones, Schonlau and Welch, "Efficient
Global Optimization", 1998) at the last step, weighted by how likely it is to keep the constraints
(Gardner et al., "Bayesian Optimization with Inequality Constraints", ICML 2014). Several objectives
are joined by weights that each draw takes anew (Knowles, "ParEGO", 2006).

What is expected of a trial that has not come to the last step is believed, as if it had been seen
there (Ginsbourger, Le Riche and Carraro, "Kriging is Well-Suited to Parallelize Optimization",
2010). Of those under way that keeps several draws at a time apart. Of those that halving stopped it
keeps the search from a place that looks slow but sure: whatever starts there is stopped as well, so
nothing would ever be learned of it, and it would be proposed for ever (seen on real pictures).
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

#: Trials that must have reported before there is enough to learn from.
STARTUP = 8
#: Trials that are looked at, the best of them and an even choice of the rest, and the latest of
#: those that have not reported: the time of a draw grows with the cube of all.
MOST_SEEN, MOST_PENDING = 160, 64
#: Reports by which the kernel is fitted, which takes most of the time.
MOST_FITTED = 80
#: How little is known beforehand of the mean of a value and of its slope along the steps.
TREND = 4.0
#: What is worse than the median by more than this, in units of the usual distance from it, counts
#: as no worse: a few that go astray would stretch the scale for all others.
OUTLIER = 4.0
#: Points that are no further apart are the same one.
SAME = 1e-6
#: Points at random, and points next to the best of those that were tried.
ANYWHERE, NEAR = 600, 400
#: How far from the best of them points are then looked for, as shares of a range.
CLOSER = (0.1, 0.03)
#: How likely a parameter is moved for a point nearby.
MOVES = 0.4
#: How much the mean over the objectives counts, next to the worst of them (Knowles 2006).
MEAN = 0.05


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is known of a trial.

    Attributes:
        params: that it runs.
        values: steps -> what it is ranked by, as of `Goals.values`: what is broken, then one value
            for each objective, lower is better; empty if it has not reported yet.
        violations: steps -> by how much it breaks each constraint, at most 0 where it keeps it.
        pending: whether it is under way, and will say more.
        failed: whether it went wrong, whatever it had reported.
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
    """The configuration to try next; None while there is too little to learn from.

    Args:
        space: where it is drawn from.
        tried: trials so far, in their order.
        max_steps: steps of a whole trial.
        index: number of the draw, which no two draws share.
        seed: of all draws.
        given: parameters that it must have.
        lengths_D: over which parameters are expected to matter; see `fitted_kernel`.
    """
    given = given or {}
    told = _thinned([one for one in tried if one.values])
    failed = [one for one in tried if one.failed and not one.values][-MOST_PENDING:]
    if len(told) + len(failed) < STARTUP or not told:
        return None
    rng = np.random.default_rng([seed, index])
    pending = [one for one in tried if one.pending and not one.values][-MOST_PENDING:]
    belief = _Posterior(space, [*told, *failed, *pending], max_steps, rng, lengths_D)
    start_NP = np.stack([_shares(space, one.params, rng) for one in told])
    share_P = _most_promising(space, belief, start_NP, given, rng)
    return point_at(space, dict(zip(space.params, share_P.tolist(), strict=True)), given)


# --- what is believed -----------------------------------------------------------------------------


class _Posterior:
    """How promising a point is at the last step, by what was tried."""

    def __init__(
        self,
        space: Space,
        tried: Sequence[Observation],
        max_steps: int,
        rng: np.random.Generator,
        lengths_D: np.ndarray | None,
    ):
        self._space = space
        told = [one for one in tried if one.values]
        first = min(min(one.values) for one in told)
        self._known_KD = encode_all(space, [one.params for one in tried])
        # From 0 at the first rung to 1 at the last.
        span = np.log(max_steps / first) or 1.0
        # What went wrong counts as the worst of all at the end, however good it looked.
        rows = [(one, steps) for one in tried for steps in one.values]
        wrong = [(one, max_steps) for one in tried if one.failed]
        at_N = 1 + np.log([steps / max_steps for _, steps in [*rows, *wrong]]) / span
        encoded_ND = encode_all(space, [one.params for one, _ in [*rows, *wrong]])
        self._point_ND = np.hstack([encoded_ND, at_N[:, None]])
        self._told_MD = _at_the_end(encode_all(space, [one.params for one in told]))
        unfinished = [one for one in tried if max_steps not in one.values and not one.failed]
        self._believed_QD = _at_the_end(encode_all(space, [one.params for one in unfinished]))

        def known(values: list[Sequence[float]]) -> np.ndarray:
            value_NV = np.array(values, dtype=float)
            return np.vstack([value_NV, *[value_NV.max(0)] * len(wrong)])

        value_NV = known([one.values[steps][1:] for one, steps in rows])
        excess_NC = known([one.violations[steps] for one, steps in rows])
        self._value = self._model(_without_outliers(_joined(value_NV, rng)), lengths_D)
        # By nothing else than a bound is told apart what keeps it: outliers of it stay.
        self._bounds = [self._model(excess_N) for excess_N in excess_NC.T]
        # What is believed of others is to be improved upon as well.
        known_MD = np.vstack([self._told_MD, self._believed_QD])
        expected_M = self._value(known_MD)[:, 0]
        kept_M = self._log_kept(known_MD) > np.log(0.5)
        # Where nothing is likely to keep the constraints, they alone matter.
        self._kept = bool(kept_M.any())
        self._best = float(expected_M[kept_M].min()) if self._kept else 0.0

    def __call__(self, share_NP: np.ndarray) -> np.ndarray:
        """The logarithm of the improvement_N that is expected of shares of parameters.

        There is none in running again what was run.
        """
        encoded_ND = encode_shares(self._space, with_conditions(self._space, share_NP))
        point_ND = _at_the_end(encoded_ND)
        promising_N = self._log_kept(point_ND)
        if self._kept:
            mean_N, spread_N = self._value(point_ND)[:, 0], self._value.spread(point_ND)[:, 0]
            promising_N += log_improvement(mean_N, spread_N, self._best)
        again_N = cdist(encoded_ND, self._known_KD).min(1) < SAME
        return np.where(again_N, -np.inf, promising_N)

    def best_first(self) -> np.ndarray:
        """Places of those that reported, the best first."""
        value_M = self._value(self._told_MD)[:, 0] - self._log_kept(self._told_MD)
        return np.asarray(np.argsort(value_M, kind="stable"))

    def _log_kept(self, point_ND: np.ndarray) -> np.ndarray:
        """The logarithm of how likely points keep all constraints."""
        log_N = np.zeros(len(point_ND))
        for bound in self._bounds:
            log_N += log_ndtr(-bound(point_ND)[:, 0] / bound.spread(point_ND)[:, 0])
        return log_N

    def _model(self, value_N: np.ndarray, lengths_D: np.ndarray | None = None) -> GaussianProcess:
        """Of a value, with what is expected of trials that have not come to the end for theirs."""
        value_N1 = value_N[:, None]
        model = GaussianProcess(self._point_ND, value_N1, self._kernel(value_N1, lengths_D))
        if not len(self._believed_QD):
            return model
        return GaussianProcess(
            np.vstack([self._point_ND, self._believed_QD]),
            np.vstack([value_N1, model(self._believed_QD)]),
            model.kernel,
        )

    def _kernel(self, value_N1: np.ndarray, lengths_D: np.ndarray | None) -> Kernel:
        spaced = np.linspace(0, len(value_N1) - 1, min(len(value_N1), MOST_FITTED)).astype(int)
        points_ND = self._point_ND[spaced]
        return fitted_kernel(points_ND, value_N1[spaced], trend=TREND, lengths_D=lengths_D)


def _at_the_end(encoded_ND: np.ndarray) -> np.ndarray:
    return np.hstack([encoded_ND, np.ones((len(encoded_ND), 1))])


def log_improvement(mean_N: np.ndarray, spread_N: np.ndarray, best: float) -> np.ndarray:
    """The logarithm of the expected improvement upon ``best``, lower values being better.

    Far above it by the leading term of its series, since the numbers themselves become 0 (Ament et
    al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023).
    """
    ahead_N = (best - mean_N) / spread_N
    log_density_N = -(ahead_N**2) / 2 - np.log(2 * np.pi) / 2
    near_N = np.maximum(ahead_N, -5)
    exact_N = np.exp(-(near_N**2) / 2) / np.sqrt(2 * np.pi) + near_N * np.exp(log_ndtr(near_N))
    far_N = log_density_N - 2 * np.log(np.maximum(-ahead_N, 1))
    return np.asarray(np.log(spread_N) + np.where(ahead_N > -5, np.log(exact_N), far_N))


def _joined(value_NV: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One value for all objectives."""
    if value_NV.shape[1] == 1:
        return value_NV[:, 0]
    low_V, high_V = value_NV.min(0), value_NV.max(0)
    share_NV = (value_NV - low_V) / np.where(high_V > low_V, high_V - low_V, 1.0)
    weighed_NV = share_NV * rng.dirichlet(np.ones(value_NV.shape[1]))
    return np.asarray(weighed_NV.max(1) + MEAN * weighed_NV.sum(1))


def _without_outliers(value_N: np.ndarray) -> np.ndarray:
    middle = np.median(value_N)
    usual = 1.4826 * np.median(np.abs(value_N - middle))  # a standard deviation, if all is normal
    return np.minimum(value_N, middle + OUTLIER * usual) if usual > 0 else value_N


def _thinned(told: Sequence[Observation]) -> Sequence[Observation]:
    """At most `MOST_SEEN`: those that came furthest with the best values, and others evenly."""
    if len(told) <= MOST_SEEN:
        return told
    by_steps: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(told):
        by_steps[max(one.values)].append(place)
    ranked: list[int] = []
    for steps in sorted(by_steps, reverse=True):
        places = by_steps[steps]
        if len(ranked) < MOST_SEEN // 4:  # the order of others does not matter, and takes long
            keys = ranking([told[place].values[steps] for place in places])
            places = [place for _, place in sorted(zip(keys, places, strict=True))]
        ranked += places
    return [told[place] for place in best_and_even(ranked, MOST_SEEN)]


def best_and_even(ranked: Sequence[int], most: int) -> list[int]:
    """Of more than ``most`` numbers, ranked best first, the best quarter and others evenly."""
    best, rest = ranked[: most // 4], sorted(ranked[most // 4 :])
    places = most - len(best)
    return sorted([*best, *(rest[place * len(rest) // places] for place in range(places))])


# --- where to look --------------------------------------------------------------------------------


def _most_promising(
    space: Space,
    belief: _Posterior,
    start_NP: np.ndarray,
    given: Params,
    rng: np.random.Generator,
) -> np.ndarray:
    """Shares_P of the most promising point of those anywhere and next to the best so far."""
    given_P = np.array([shares_of(space, given).get(name, np.nan) for name in space.params])

    def with_given(share_NP: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(given_P), share_NP, given_P)

    best_BP = start_NP[belief.best_first()[:8]]
    share_NP = with_given(
        np.vstack(
            [
                rng.random((ANYWHERE, len(space.params))),
                _next_to(space, best_BP, NEAR // 2, 0.2, rng),
                _next_to(space, best_BP, NEAR // 2, 0.05, rng),
            ]
        )
    )
    value_N = belief(share_NP)
    for far in CLOSER:
        best = np.argsort(-value_N, kind="stable")[:6]
        closer_NP = with_given(_next_to(space, share_NP[best], 150, far, rng))
        share_NP = np.vstack([share_NP[best], closer_NP])
        value_N = np.append(value_N[best], belief(closer_NP))
    return np.asarray(share_NP[int(value_N.argmax())])


def _next_to(
    space: Space, share_BP: np.ndarray, count: int, far: float, rng: np.random.Generator
) -> np.ndarray:
    """Points_NP in which some parameters of others are moved, and some choices made anew.

    What would leave a range is reflected at its end: cut off there, points would gather at the
    ends, and those of many ranges at once are corners, which are the least known and rarely good.
    """
    share_NP = share_BP[rng.integers(len(share_BP), size=count)]
    choice_P = np.array([isinstance(one, Choice) for one in space.params.values()])
    near_NP = share_NP + far * rng.normal(size=share_NP.shape)
    moved_NP = np.where(choice_P, rng.random(share_NP.shape), near_NP)
    moves_NP = rng.random(share_NP.shape) < np.where(choice_P, MOVES / 3, MOVES)
    inside_NP = np.abs(np.where(moves_NP, moved_NP, share_NP))
    return np.clip(np.where(inside_NP > 1, 2 - inside_NP, inside_NP), 0, 1)


def _shares(space: Space, params: Params, rng: np.random.Generator) -> np.ndarray:
    """Shares_P of a configuration; at random where a parameter has no meaning for it."""
    known = shares_of(space, params)
    return np.array([known.get(name, rng.random()) for name in space.params])
