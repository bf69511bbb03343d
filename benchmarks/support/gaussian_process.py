"""Gaussian-process regression: predicts the curves of configurations from recorded ones.

The kernel is Matérn-5/2 with one lengthscale per coordinate (Rasmussen and Williams, "Gaussian
Processes for Machine Learning", 2006, sections 2.2, 4.2 and 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The covariance of the values of two points, in units of the variance of all values.

    Attributes:
        lengths_D: lengthscale of each coordinate; along a long one, values hardly change.
        noise: variance that the coordinates do not explain.
        amplitude: variance that the coordinates explain.
    """

    lengths_D: np.ndarray
    noise: float
    amplitude: float = 1.0

    def __call__(self, one_ND: np.ndarray, other_MD: np.ndarray) -> np.ndarray:
        """Return the covariance_NM of two sets of points, without noise."""
        scaled_NM = 5**0.5 * cdist(one_ND / self.lengths_D, other_MD / self.lengths_D)
        return np.asarray(self.amplitude * (1 + scaled_NM + scaled_NM**2 / 3) * np.exp(-scaled_NM))


class GaussianProcess:
    """Predicts V values of any point from N observed points.

    Args:
        points_ND: the observed points.
        values_NV: their values, which must be finite.
        kernel: covariance of the standardized values.
    """

    def __init__(self, points_ND: np.ndarray, values_NV: np.ndarray, kernel: Kernel):
        self._points_ND, self._values_NV, self.kernel = points_ND, values_NV, kernel
        self._mean_V, self._scale_V = values_NV.mean(0), values_NV.std(0)
        self._factor = cho_factor(_with_noise(kernel(points_ND, points_ND), kernel.noise))
        # A value that is the same everywhere is predicted by its mean.
        scale_V = np.where(self._scale_V > 0, self._scale_V, 1.0)
        self._weight_NV = cho_solve(self._factor, (values_NV - self._mean_V) / scale_V)

    def __call__(self, points_MD: np.ndarray) -> np.ndarray:
        """Return the predicted values_MV."""
        near_MN = self.kernel(points_MD, self._points_ND)
        return np.asarray(self._mean_V + self._scale_V * (near_MN @ self._weight_NV))

    def left_out(self) -> np.ndarray:
        """Return the values_NV of each observed point, predicted from all other points."""
        inverse_NN = cho_solve(self._factor, np.eye(len(self._points_ND)))
        residual_NV = self._weight_NV / np.diag(inverse_NN)[:, None]
        return np.asarray(self._values_NV - self._scale_V * residual_NV)


def _with_noise(covariance_NN: np.ndarray, noise: float) -> np.ndarray:
    return covariance_NN + (noise + 1e-6) * np.eye(len(covariance_NN))


#: Priors of the lengthscales, the noise and the amplitude: (mean, standard deviation) of their
#: natural logarithms. The range of a number has length 1. The lengthscale is that of a space with
#: one coordinate; it grows with the root of their number, like the distance of two points.
#: Otherwise all points of a large space would be uncorrelated, and its corners the most promising
#: ones (Hvarfner, Hellsten and Nardi, "Vanilla Bayesian Optimization Performs Great in High
#: Dimensions", ICML 2024).
_LENGTH, _NOISE, _AMPLITUDE = (np.log(0.57), 1.0), (np.log(1e-3), 1.5), (0.0, 0.7)
#: Bounds of the logarithms: of lengthscales, noise and amplitude.
_BOUNDS = ((-4.0, 4.0), (-12.0, 0.0), (-3.0, 3.0))


def fitted_kernel(
    points_ND: np.ndarray,
    values_NV: np.ndarray,
    *,
    rounds: int = 20,
) -> Kernel:
    """Return the kernel with the highest posterior probability.

    Args:
        points_ND: the observed points.
        values_NV: their values; columns are independent.
        rounds: largest number of iterations of L-BFGS.
    """
    scale_V = values_NV.std(0)
    values_NV = (values_NV - values_NV.mean(0)) / np.where(scale_V > 0, scale_V, 1.0)
    count, dims = points_ND.shape
    apart_ED = ((points_ND[:, None] - points_ND[None]) ** 2).reshape(count * count, dims)
    lengths = [(_LENGTH[0] + np.log(dims) / 2, _LENGTH[1])] * dims
    prior_mean, prior_std = np.transpose([*lengths, _NOISE, _AMPLITUDE])

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the logarithm of the posterior, and its gradient."""
        per_square_D, (noise, amplitude) = np.exp(-2 * logs[:dims]), np.exp(logs[dims:])
        scaled_NN = np.sqrt(5 * (apart_ED @ per_square_D).reshape(count, count) + 1e-12)
        decay_NN = amplitude * np.exp(-scaled_NN)
        matern_NN = (1 + scaled_NN + scaled_NN**2 / 3) * decay_NN
        factor = cho_factor(_with_noise(matern_NN, noise), lower=True)
        weight_NV = cho_solve(factor, values_NV)
        fit = (values_NV * weight_NV).sum() / values_NV.shape[1]
        deviation = (logs - prior_mean) / prior_std
        value = fit / 2 + np.log(np.diag(factor[0])).sum() + deviation @ deviation / 2
        # Derivatives by the covariance first, then by the parameters of the kernel.
        inverse_NN = cho_solve(factor, np.eye(count))
        by_NN = (inverse_NN - weight_NV @ weight_NV.T / values_NV.shape[1]) / 2
        by_lengths_D = ((by_NN * (1 + scaled_NN) * decay_NN).ravel() @ apart_ED) * per_square_D
        by_noise, by_amplitude = noise * np.trace(by_NN), (by_NN * matern_NN).sum()
        gradient = np.array([*(5 / 3 * by_lengths_D), by_noise, by_amplitude])
        return float(value), gradient + deviation / prior_std

    bounds = [_BOUNDS[0]] * dims + list(_BOUNDS[1:])
    options = {"maxiter": rounds}
    result = minimize(loss, prior_mean, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    noise, amplitude = np.exp(result.x[dims:])
    return Kernel(lengths_D=np.exp(result.x[:dims]), noise=float(noise), amplitude=float(amplitude))
