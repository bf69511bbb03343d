"""The search of the default sampler for the most promising candidate."""

from __future__ import annotations

import numpy as np

from search_spaces import Choice, Params, Space
from tuner.sampling.encoding import shares_of
from tuner.sampling.gp_posterior import Posterior
from tuner.sampling.user_prior import UserPrior

#: Number of random candidates, and of candidates near the best trials.
ANYWHERE, NEAR = 600, 400
#: Number of candidates from the prior of a person.
EXPECTED = 200
#: Distances, as shares of a range, of further candidates from the best candidates so far.
CLOSER = (0.1, 0.03)
#: Probability that a candidate near another one differs in a parameter.
MOVES = 0.4


def most_promising(
    space: Space,
    posterior: Posterior,
    start_NP: np.ndarray,
    given: Params,
    rng: np.random.Generator,
    prior: UserPrior | None,
    trials: int,
) -> np.ndarray:
    """Return the shares_P of the best candidate: random ones, and ones near the best trials.

    Args:
        space: the search space.
        posterior: rates candidates.
        start_NP: the trials with reports.
        given: parameters that the candidate must have.
        rng: source of random numbers.
        prior: the prior of a person, if there is one.
        trials: number of trials so far.
    """
    given_P = np.array([shares_of(space, given).get(name, np.nan) for name in space.params])

    def with_given(share_NP: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(given_P), share_NP, given_P)

    def rated(share_NP: np.ndarray) -> np.ndarray:
        bonus_N = prior.weighted_log(share_NP, trials) if prior else 0.0
        return np.asarray(posterior(share_NP) + bonus_N)

    best_BP = start_NP[posterior.best_first()[:8]]
    share_NP = with_given(
        np.vstack(
            [
                rng.random((ANYWHERE, len(space.params))),
                _next_to(space, best_BP, NEAR // 2, 0.2, rng),
                _next_to(space, best_BP, NEAR // 2, 0.05, rng),
                *([prior.draw(EXPECTED, rng)] if prior else []),
            ]
        )
    )
    promising_N = rated(share_NP)
    for distance in CLOSER:
        best = np.argsort(-promising_N, kind="stable")[:6]
        closer_NP = with_given(_next_to(space, share_NP[best], 150, distance, rng))
        share_NP = np.vstack([share_NP[best], closer_NP])
        promising_N = np.append(promising_N[best], rated(closer_NP))
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


def shares_with_random(space: Space, params: Params, rng: np.random.Generator) -> np.ndarray:
    """Return the shares_P of a configuration; random ones for parameters without a meaning."""
    shares = shares_of(space, params)
    return np.array([shares.get(name, rng.random()) for name in space.params])
