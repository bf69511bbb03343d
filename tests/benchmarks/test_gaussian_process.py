"""The Gaussian process of recorded curves: predictions, and the gradient of the fit."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from benchmarks.support import gaussian_process
from benchmarks.support.gaussian_process import GaussianProcess, Kernel, fitted_kernel


def test_the_gradient_of_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient equals finite differences, with several columns."""
    seen = {}

    def instead(function, start, **_: object):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(0)
        logs = np.asarray(start) + rng.normal(size=len(start)) * 0.3
        seen["off"] = check_grad(lambda x: function(x)[0], lambda x: function(x)[1], logs)
        seen["size"] = np.linalg.norm(function(logs)[1])
        return type("TrialResult", (), {"x": np.asarray(start)})

    monkeypatch.setattr(gaussian_process, "minimize", instead)
    rng = np.random.default_rng(1)
    fitted_kernel(rng.random((12, 3)), rng.normal(size=(12, 2)))
    assert seen["off"] < 1e-4 * seen["size"]


def bowl(points_ND: np.ndarray) -> np.ndarray:
    """Return two values for each point, which depend on its first two coordinates only."""
    first_N, second_N = points_ND[:, 0], points_ND[:, 1]
    return np.stack([(first_N - 0.3) ** 2 + second_N, 100 * first_N], 1)


def test_gaussian_process_predicts_observed_and_new_points() -> None:
    """Predictions equal the observations, and are near the true values at new points."""
    points_ND = np.random.default_rng(0).random((80, 4))
    kernel = fitted_kernel(points_ND, bowl(points_ND))
    assert kernel.lengths_D[:2].max() < kernel.lengths_D[2:].min()
    predict = GaussianProcess(points_ND[:60], bowl(points_ND[:60]), kernel)
    error_NV = np.abs(predict(points_ND) - bowl(points_ND)) / bowl(points_ND).std(0)
    assert error_NV[:60].max() < 0.02
    assert error_NV[60:].mean() < 0.05


def test_leave_one_out_predictions_use_all_other_points() -> None:
    """A leave-one-out prediction equals that of a Gaussian process without the point."""
    points_ND = np.random.default_rng(1).random((12, 3))
    values_NV = bowl(points_ND)
    kernel = Kernel(lengths_D=np.ones(3), noise=1e-2)
    process = GaussianProcess(points_ND, values_NV, kernel)
    others = np.arange(12) != 5
    # Values are standardized with all points in one case only, so the noise differs a little.
    expected = GaussianProcess(points_ND[others], values_NV[others], kernel)(points_ND[5:6])[0]
    assert process.left_out()[5] == pytest.approx(expected, rel=0.05, abs=0.05)


def test_gaussian_process_of_equal_values_predicts_their_mean() -> None:
    """One point, or several equal values, cause no division by zero."""
    kernel = Kernel(lengths_D=np.ones(2), noise=1e-6)
    for count in (1, 5):
        points_ND = np.random.default_rng(2).random((count, 2))
        predict = GaussianProcess(points_ND, np.full((count, 1), 3.0), kernel)
        assert predict(np.array([[0.5, 0.5]]))[0, 0] == pytest.approx(3.0)
