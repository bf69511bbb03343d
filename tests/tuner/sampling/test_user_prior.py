"""The prior of a person: its density, its draws, and how it fades."""

import numpy as np
import optuna
import pytest

from nst_core.errors import ConfigError
from search_spaces import Choice, Float, Space
from search_spaces.priors import Prior
from tuner.sampling.gp_sampler import STARTUP, GaussianProcessSampler
from tuner.sampling.optuna_space import suggested
from tuner.sampling.user_prior import UserPrior

SPACE = Space(
    name="plane",
    why="A number and a choice.",
    params={
        "lr": Float(low=0.01, high=1.0, log=True),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1.0, high=100.0, log=True, when={"tv": ("on",)}),
    },
)
PRIOR = UserPrior(
    SPACE, {"lr": Prior(0.1, "sure"), "tv": Prior("on", "likely"), "tv_weight": Prior(1.0, "sure")}
)


def test_draws_follow_the_prior() -> None:
    """Numbers are near the expected one in their own scale; an option has its probability."""
    share_NP = PRIOR.draw(4000, np.random.default_rng(0))
    assert abs(share_NP[:, 0].mean() - 0.5) < 0.01 and 0.06 < share_NP[:, 0].std() < 0.08
    assert abs((share_NP[:, 1] > 0.5).mean() - 0.8) < 0.03
    assert share_NP[:, 2].min() >= 0 and share_NP[:, 2].max() < 0.4


def test_the_density_is_highest_at_the_expected_value() -> None:
    """The logarithm is 0 at the mode, falls with the distance, and fades with the trials."""
    share_NP = np.array([[0.5, 0.75, 0.0], [0.55, 0.75, 0.0], [1.0, 0.75, 0.0], [0.5, 0.75, 1.0]])
    log_N = PRIOR.weighted_log(share_NP, 10)
    assert log_N[0] == 0 and 0 > log_N[1] > log_N[2] and np.isfinite(log_N).all()
    np.testing.assert_allclose(PRIOR.weighted_log(share_NP, 100), log_N / 10)


def test_a_parameter_without_meaning_has_no_density() -> None:
    """Without total variation, the expected weight of total variation does not count."""
    off_NP = np.array([[0.5, 0.25, 0.0], [0.5, 0.25, 1.0]])
    assert len(set(PRIOR.weighted_log(off_NP, 10))) == 1


def test_a_search_begins_where_the_prior_is() -> None:
    """The random trials before the model starts are drawn from the prior."""
    sampler = GaussianProcessSampler(SPACE, seed=0, prior={"lr": [0.05, "sure"]})
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: float(suggested(trial, SPACE)["lr"]), n_trials=STARTUP)
    assert all(0.02 < trial.params["lr"] < 0.13 for trial in study.trials)


def test_a_wrong_prior_fades() -> None:
    """With a wrong prior, the optimum is found nevertheless."""
    sampler = GaussianProcessSampler(SPACE, seed=0, prior={"lr": [0.9, "sure"]})
    study = optuna.create_study(sampler=sampler)
    study.optimize(
        lambda trial: abs(np.log10(float(suggested(trial, SPACE)["lr"])) + 1.8), n_trials=30
    )
    assert study.best_value < 0.1


def test_a_prior_that_does_not_fit_is_refused() -> None:
    """All problems of a prior are one error."""
    prior = {"lr": [5, "sure"], "lrr": [0.1, "sure"]}
    with pytest.raises(ConfigError, match=r"`lr`: expected 0\.01.*\n.*`lrr`: no such parameter"):
        GaussianProcessSampler(SPACE, prior=prior)
