"""A smooth guess of what any configuration reaches, from those that were tried.

Gaussian-process regression with a Matérn-5/2 kernel and a length for each coordinate (Rasmussen and
Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.2, 4.2 and 5.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from search_spaces import Choice, Params, Space

#: How far apart two choices of a parameter are, as a share of a number's range.
CHOICE_DISTANCE = 0.5


def encode(space: Space, params: Params) -> np.ndarray:
    """A configuration as a point_D; numbers by their share of the range.

    A parameter that has no meaning for the configuration stands in the middle of its range.
    """
    point: list[float] = []
    for name, parameter in space.params.items():
        value = params.get(name)
        if isinstance(parameter, Choice):
            apart = CHOICE_DISTANCE / 2**0.5  # two unlike choices differ in two places
            point += [apart * (value == option) for option in parameter.options]
        elif value is None:
            point.append(0.5)
        else:
            low, high, at = float(parameter.low), float(parameter.high), float(value)
            if parameter.log:
                low, high, at = np.log(low), np.log(high), np.log(at)
            point.append((at - low) / (high - low) if high > low else 0.5)
    return np.asarray(point)


def encode_all(space: Space, params: Sequence[Params]) -> np.ndarray:
    """Configurations as points_ND."""
    return np.stack([encode(space, one) for one in params])


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How alike two points are expected to be.

    Attributes:
        lengths_D: over which a coordinate matters, one for each; a long one hardly does.
        noise: variance of what the coordinates do not explain, next to 1 of what they do.
    """

    lengths_D: np.ndarray
    noise: float

    def __call__(self, one_ND: np.ndarray, other_MD: np.ndarray) -> np.ndarray:
        """The covariance_NM of two sets of points, 1 for equal ones."""
        scaled_NM = 5**0.5 * cdist(one_ND / self.lengths_D, other_MD / self.lengths_D)
        return np.asarray((1 + scaled_NM + scaled_NM**2 / 3) * np.exp(-scaled_NM))


class Surrogate:
    """Several values of any point, guessed from points that were tried.

    Args:
        points_ND: that were tried.
        values_NV: what they reached, finite.
        kernel: how alike points are.
    """

    def __init__(self, points_ND: np.ndarray, values_NV: np.ndarray, kernel: Kernel):
        self._points_ND, self._values_NV, self._kernel = points_ND, values_NV, kernel
        self._mean_V, self._scale_V = values_NV.mean(0), values_NV.std(0)
        covariance_NN = kernel(points_ND, points_ND) + kernel.noise * np.eye(len(points_ND))
        self._factor = cho_factor(covariance_NN)
        # What does not vary is its mean.
        scale_V = np.where(self._scale_V > 0, self._scale_V, 1.0)
        self._weight_NV = cho_solve(self._factor, (values_NV - self._mean_V) / scale_V)

    def __call__(self, points_MD: np.ndarray) -> np.ndarray:
        """The expected values_MV."""
        near_MN = self._kernel(points_MD, self._points_ND)
        return np.asarray(self._mean_V + self._scale_V * (near_MN @ self._weight_NV))

    def left_out(self) -> np.ndarray:
        """values_NV of each point that was tried, guessed from all the others."""
        inverse_NN = cho_solve(self._factor, np.eye(len(self._points_ND)))
        off_NV = self._weight_NV / np.diag(inverse_NN)[:, None]
        return np.asarray(self._values_NV - self._scale_V * off_NV)


def fitted_kernel(points_ND: np.ndarray, values_NV: np.ndarray, rounds: int = 300) -> Kernel:
    """The kernel under which values are likeliest, together.

    Args:
        points_ND: that were tried.
        values_NV: what they reached, each column by a measure of its own.
        rounds: of Adam on the logarithms of lengths and noise.
    """
    import torch  # only where curves are recorded

    points = torch.as_tensor(points_ND)
    scale_V = values_NV.std(0)
    values = torch.as_tensor((values_NV - values_NV.mean(0)) / np.where(scale_V > 0, scale_V, 1.0))
    logs = torch.zeros(points.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logs], lr=0.05)
    eye = torch.eye(len(points), dtype=torch.float64)
    for _ in range(rounds):
        lengths, noise = logs[:-1].exp(), 0.1 * logs[-1].exp()
        apart = ((points[:, None] - points[None]) / lengths).square().sum(-1)
        scaled = (5 * apart + 1e-12).sqrt()
        covariance = (1 + scaled + scaled**2 / 3) * (-scaled).exp() + (noise + 1e-6) * eye
        factor = torch.linalg.cholesky(covariance)
        fit = (values * torch.cholesky_solve(values, factor)).sum() / values.shape[1]
        # Where the values say nothing of a length it stays near 1, the range of a number.
        unlikely = fit / 2 + factor.diagonal().log().sum() + 0.05 * logs.square().sum()
        optimizer.zero_grad()
        unlikely.backward()
        optimizer.step()
    found = logs.detach().exp().numpy()
    return Kernel(lengths_D=found[:-1], noise=float(0.1 * found[-1] + 1e-6))
