"""A smooth guess of what any configuration reaches, from those that were tried.

Gaussian-process regression with a Matérn-5/2 kernel and a length for each coordinate (Rasmussen and
Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.2, 4.2 and 5.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one core while it is entered.

    Matrices here are small. Threads of BLAS would wait for each other in loops, which beside busy
    engines takes many times as long.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How alike the values of two points are expected to be, in units of their variance.

    Attributes:
        lengths_D: over which a coordinate matters, one for each; a long one hardly does.
        noise: variance of what the coordinates do not explain.
        amplitude: variance of what they do.
        trend: how little is known of the mean and of its slope along the last coordinate; 0 is
            for a mean of 0 everywhere.
    """

    lengths_D: np.ndarray
    noise: float
    amplitude: float = 1.0
    trend: float = 0.0

    def __call__(self, one_ND: np.ndarray, other_MD: np.ndarray) -> np.ndarray:
        """The covariance_NM of two sets of points, without noise."""
        scaled_NM = 5**0.5 * cdist(one_ND / self.lengths_D, other_MD / self.lengths_D)
        matern_NM = (1 + scaled_NM + scaled_NM**2 / 3) * np.exp(-scaled_NM)
        return np.asarray(self.amplitude * matern_NM + _trend(self.trend, one_ND, other_MD))

    def variance(self, points_ND: np.ndarray) -> np.ndarray:
        """The covariance_N of each point with itself."""
        return np.asarray(self.amplitude + self.trend * (1 + points_ND[:, -1] ** 2))


def _trend(trend: float, one_ND: np.ndarray, other_MD: np.ndarray) -> np.ndarray:
    return np.asarray(trend * (1 + np.multiply.outer(one_ND[:, -1], other_MD[:, -1])))


class GaussianProcess:
    """Several values of any point, guessed from points that were tried.

    Args:
        points_ND: that were tried.
        values_NV: what they reached, finite.
        kernel: how alike points are.
    """

    def __init__(self, points_ND: np.ndarray, values_NV: np.ndarray, kernel: Kernel):
        self._points_ND, self._values_NV, self.kernel = points_ND, values_NV, kernel
        self._mean_V, self._scale_V = values_NV.mean(0), values_NV.std(0)
        self._factor = cho_factor(_with_noise(kernel(points_ND, points_ND), kernel.noise))
        # What does not vary is its mean.
        scale_V = np.where(self._scale_V > 0, self._scale_V, 1.0)
        self._weight_NV = cho_solve(self._factor, (values_NV - self._mean_V) / scale_V)

    def __call__(self, points_MD: np.ndarray) -> np.ndarray:
        """The expected values_MV."""
        near_MN = self.kernel(points_MD, self._points_ND)
        return np.asarray(self._mean_V + self._scale_V * (near_MN @ self._weight_NV))

    def spread(self, points_MD: np.ndarray) -> np.ndarray:
        """The standard deviations_MV of what is expected, without noise, above 0."""
        near_MN = self.kernel(points_MD, self._points_ND)
        known_M = (near_MN * cho_solve(self._factor, near_MN.T).T).sum(1)
        left_M = np.sqrt(np.maximum(self.kernel.variance(points_MD) - known_M, 1e-12))
        return np.asarray(left_M[:, None] * np.maximum(self._scale_V, 1e-12))

    def left_out(self) -> np.ndarray:
        """values_NV of each point that was tried, guessed from all the others."""
        inverse_NN = cho_solve(self._factor, np.eye(len(self._points_ND)))
        off_NV = self._weight_NV / np.diag(inverse_NN)[:, None]
        return np.asarray(self._values_NV - self._scale_V * off_NV)


def _with_noise(covariance_NN: np.ndarray, noise: float) -> np.ndarray:
    return covariance_NN + (noise + 1e-6) * np.eye(len(covariance_NN))


#: What is expected of a kernel before any value is known, as natural logarithms: of lengths, where
#: 1 is the range of a number, of the noise and of the amplitude; and how sure that is. A length is
#: for one coordinate and grows with the root of their number, as the distance of two points does:
#: else all points of a large space were strangers, and its corners the most promising of all
#: (Hvarfner, Hellsten and Nardi, "Vanilla Bayesian Optimization Performs Great in High Dimensions",
#: ICML 2024; how long they are was found on pictures, with `benchmarks.live`).
_LENGTH, _NOISE, _AMPLITUDE = (np.log(0.57), 1.0), (np.log(1e-3), 1.5), (0.0, 0.7)
#: How sure a length is that other pairs had.
_KNOWN = 0.5
#: The last coordinate is that of the steps where there is a trend: curves change slowly.
_LENGTH_OF_STEPS = (np.log(1.5), 1.0)
#: Where to look for them.
_BOUNDS = ((-4.0, 4.0), (-12.0, 0.0), (-3.0, 3.0))


def fitted_kernel(
    points_ND: np.ndarray,
    values_NV: np.ndarray,
    *,
    trend: float = 0.0,
    lengths_D: np.ndarray | None = None,
    rounds: int = 20,
) -> Kernel:
    """The likeliest kernel, by values and by what is expected of any.

    Args:
        points_ND: that were tried.
        values_NV: what they reached, each column by a measure of its own.
        trend: of the kernel; the last coordinate is that of the steps then.
        lengths_D: that are expected, but of the steps; NaN where nothing is known.
        rounds: of L-BFGS.
    """
    scale_V = values_NV.std(0)
    values_NV = (values_NV - values_NV.mean(0)) / np.where(scale_V > 0, scale_V, 1.0)
    count, dims = points_ND.shape
    apart_ED = ((points_ND[:, None] - points_ND[None]) ** 2).reshape(count * count, dims)
    trend_NN = _trend(trend, points_ND, points_ND)
    lengths = [(_LENGTH[0] + np.log(dims) / 2, _LENGTH[1])] * dims
    if lengths_D is not None:
        for index, length in enumerate(lengths_D):
            lengths[index] = (np.log(length), _KNOWN) if length > 0 else lengths[index]
    if trend:
        lengths[-1] = _LENGTH_OF_STEPS
    expected, unsure = np.transpose([*lengths, _NOISE, _AMPLITUDE])

    def unlikely(logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the logarithm of the posterior, and its gradient."""
        per_square_D, (noise, amplitude) = np.exp(-2 * logs[:dims]), np.exp(logs[dims:])
        scaled_NN = np.sqrt(5 * (apart_ED @ per_square_D).reshape(count, count) + 1e-12)
        decay_NN = amplitude * np.exp(-scaled_NN)
        matern_NN = (1 + scaled_NN + scaled_NN**2 / 3) * decay_NN
        factor = cho_factor(_with_noise(matern_NN + trend_NN, noise), lower=True)
        weight_NV = cho_solve(factor, values_NV)
        fit = (values_NV * weight_NV).sum() / values_NV.shape[1]
        off = (logs - expected) / unsure
        value = fit / 2 + np.log(np.diag(factor[0])).sum() + off @ off / 2
        # By the covariance first, then by what it is made of.
        inverse_NN = cho_solve(factor, np.eye(count))
        by_NN = (inverse_NN - weight_NV @ weight_NV.T / values_NV.shape[1]) / 2
        by_lengths_D = ((by_NN * (1 + scaled_NN) * decay_NN).ravel() @ apart_ED) * per_square_D
        by_noise, by_amplitude = noise * np.trace(by_NN), (by_NN * matern_NN).sum()
        gradient = np.array([*(5 / 3 * by_lengths_D), by_noise, by_amplitude])
        return float(value), gradient + off / unsure

    bounds = [_BOUNDS[0]] * dims + list(_BOUNDS[1:])
    options = {"maxiter": rounds}
    found = minimize(
        unlikely, expected, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    noise, amplitude = np.exp(found.x[dims:])
    return Kernel(
        lengths_D=np.exp(found.x[:dims]),
        noise=float(noise),
        amplitude=float(amplitude),
        trend=trend,
    )
