"""The Gaussian process: predictions, gradient of the fit, and expected improvement."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import norm

from tuner.sampling import gaussian_process
from tuner.sampling.gaussian_process import GaussianProcess, Kernel, fitted_kernel
from tuner.sampling.gp_sampler import log_improvement


@given(st.floats(-3, 3), st.floats(0.01, 3), st.floats(-3, 3))
def test_the_expected_improvement_equals_its_integral(
    mean: float, spread: float, best: float
) -> None:
    """The logarithm is that of the integral, and finite far above the best value."""
    found = log_improvement(np.array([mean]), np.array([spread]), best)[0]
    ahead = (best - mean) / spread
    if ahead > -5:
        exact = quad(lambda z: (ahead - z) * norm.pdf(z), -12, ahead, epsabs=1e-14)[0] * spread
        assert found == pytest.approx(math.log(exact), abs=1e-3)
    else:
        assert math.isfinite(found) and found < math.log(spread) - 10


def test_far_above_the_best_nearer_is_better() -> None:
    """Far above the best value, where the improvement underflows, its logarithm still falls."""
    far = log_improvement(np.linspace(4.5, 300, 200), np.ones(200), 0.0)
    assert (np.diff(far) < 0).all()
    assert np.abs(np.diff(log_improvement(np.array([4.999, 5.001]), np.ones(2), 0.0)))[0] < 0.2


def test_the_spread_grows_away_from_observed_points() -> None:
    """The spread is almost 0 at an observed point, and that of the prior far away."""
    points = np.array([[0.1, 0.2], [0.4, 0.9]])
    kernel = Kernel(lengths_D=np.array([0.2, 0.2]), noise=1e-6)
    model = GaussianProcess(points, np.array([[0.0], [2.0]]), kernel)
    spread = model.spread(np.array([[0.1, 0.2], [0.12, 0.2], [9.0, 9.0]]))[:, 0]
    assert spread[0] < 0.01 < spread[1] < 0.3 < spread[2] == pytest.approx(1.0, abs=1e-3)


def test_the_gradient_of_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient equals finite differences, with several columns and a trend."""
    seen = {}

    def instead(function, start, **_: object):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(0)
        logs = np.asarray(start) + rng.normal(size=len(start)) * 0.3
        seen["off"] = check_grad(lambda x: function(x)[0], lambda x: function(x)[1], logs)
        seen["size"] = np.linalg.norm(function(logs)[1])
        return type("TrialResult", (), {"x": np.asarray(start)})

    monkeypatch.setattr(gaussian_process, "minimize", instead)
    rng = np.random.default_rng(1)
    fitted_kernel(rng.random((12, 3)), rng.normal(size=(12, 2)), trend=4.0)
    assert seen["off"] < 1e-4 * seen["size"]
