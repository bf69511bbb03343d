"""The prior of a person: its values, and how it fades."""

import numpy as np

from search_spaces import Choice, Float, Space
from search_spaces.priors import Prior
from tuner.sampling.user_prior import STRENGTH, UserPrior

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


def test_values_follow_the_prior() -> None:
    """Numbers are near the expected one in their own scale; an option has its probability."""
    rng = np.random.default_rng(0)
    drawn = [PRIOR.values(0, rng) for _ in range(4000)]
    lr_N = np.log10([float(values["lr"]) for values in drawn])
    assert abs(lr_N.mean() + 1) < 0.02 and 0.12 < lr_N.std() < 0.16
    assert abs(np.mean([values["tv"] == "on" for values in drawn]) - 0.8) < 0.03
    weight_N = [float(values["tv_weight"]) for values in drawn]
    assert min(weight_N) >= 1 and max(weight_N) < 100**0.4


def test_a_prior_fades() -> None:
    """The first trial takes values of the prior, and after many trials hardly any does."""
    rng = np.random.default_rng(1)

    def share(trials: int) -> float:
        return float(np.mean([bool(PRIOR.values(trials, rng)) for _ in range(2000)]))

    assert share(0) == 1
    assert abs(share(round(STRENGTH)) - 0.5) < 0.05
    assert share(round(99 * STRENGTH)) < 0.03
