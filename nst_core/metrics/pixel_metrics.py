"""RMSE, PSNR, SSIM and edges: metrics of pixels at their places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.errors import InputError
from nst_core.images.colors import luminance
from nst_core.metrics.measure import Features, Measure

#: PSNR of equal images, which is infinite by definition; tables and means need a finite number.
PSNR_CAP_DB = 100.0

#: Standard deviation and radius of the window of SSIM in pixels: scikit-image cuts it at 3.5 sigma.
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
#: Constants C1 and C2 of SSIM for levels from 0 to 255.
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

#: Standard deviation of the gradient magnitude, for levels from 0 to 255, below which an image has
#: no edges.
FLAT = 1e-3


class Rmse(Measure):
    """Root mean squared difference of pixels, scaled to [0, 1]; 0 is equal."""

    def _features(self, level_N3HW: Tensor) -> Features:
        return [level_N3HW]

    def _compare(self, images: Features, reference: Features) -> Tensor:
        # Squares of differences of levels are whole numbers that float32 holds exactly.
        squares = images[0].float().sub_(reference[0]).square_()
        return squares.mean(dim=(1, 2, 3), dtype=torch.float64).sqrt() / 255


class Psnr(Rmse):
    """Peak signal-to-noise ratio in dB, at most `PSNR_CAP_DB`."""

    def _compare(self, images: Features, reference: Features) -> Tensor:
        return (-20 * super()._compare(images, reference).log10()).clamp(max=PSNR_CAP_DB)


class Ssim(Measure):
    """Structural similarity, mean over channels and over places with a whole window; 1 is equal.

    As in Wang et al. (IEEE TIP 2004): Gaussian window with sigma 1.5, population covariance; data
    range 255. Computed in float64, because a variance is the small difference of two large numbers.

    Raises:
        InputError: a picture is smaller than the window of 11 x 11 pixels.
    """

    def _features(self, level_N3HW: Tensor) -> Features:
        """Return levels, their mean and the mean of their squares, for each part of channels."""
        _check_sides("ssim", level_N3HW, 2 * SSIM_RADIUS + 1)
        level = level_N3HW.double()
        # One channel at a time stays in a core's cache: twice as fast on a CPU at 256 px.
        parts = level.chunk(3, dim=1) if level.device.type == "cpu" else [level]
        return [feature for part in parts for feature in (part, _mean(part), _mean(part.square()))]

    def _compare(self, images: Features, reference: Features) -> Tensor:
        parts = zip(*(_triples(features) for features in (images, reference)), strict=True)
        return torch.stack([_similarity(*a, *b) for a, b in parts]).mean(0)


def _triples(features: Features) -> list[tuple[Tensor, Tensor, Tensor]]:
    return list(zip(features[::3], features[1::3], features[2::3], strict=True))


def _similarity(
    a: Tensor, mean_a: Tensor, square_a: Tensor, b: Tensor, mean_b: Tensor, square_b: Tensor
) -> Tensor:
    """Return the mean structural similarity_N of one part of the channels.

    Most operations overwrite an operand, since new memory costs more than the arithmetic.
    """
    product = mean_a * mean_b
    squares = mean_a.square().addcmul_(mean_b, mean_b)
    covariance = _mean(a * b).sub_(product)
    variances = (square_a + square_b).sub_(squares)
    similarity = product.mul_(2).add_(SSIM_C1).mul_(covariance.mul_(2).add_(SSIM_C2))
    similarity.div_(squares.add_(SSIM_C1).mul_(variances.add_(SSIM_C2)))
    return similarity.mean(dim=(1, 2, 3))


class Edges(Measure):
    """Share of the content's edges that an image keeps: 1 is all of them, 0 none.

    The share is the correlation of gradient magnitudes (Sobel filter on luma); negative values
    count as 0. Both images are blurred first, with a standard deviation of 1/256 of the longer
    side, at least 1 px: strokes move edges a little, and fine texture is not an edge of the
    content. If an image has no edges at all, the result is 1 if the other has none either, else 0.

    Raises:
        InputError: a picture has a side of one pixel.
    """

    def _features(self, level_N3HW: Tensor) -> Features:
        """Return gradient magnitudes with mean 0 and deviation 1, and whether all are equal."""
        _check_sides("edges", level_N3HW, 2)
        luma_NHW = luminance(level_N3HW)[:, 0]
        sigma = max(1.0, max(luma_NHW.shape[1:]) / 256)
        radius = round(8 * sigma + 1) // 2  # as OpenCV's for images of floating-point numbers
        weights = gaussian(sigma, radius)
        blurred = _filtered(_filtered(_mirrored(luma_NHW, radius, radius), weights, 1), weights, 2)
        bordered = _mirrored(blurred, 1, 1)
        across = _difference(_filtered(bordered, (2.0, 1.0), 1), 2)
        down = _difference(_filtered(bordered, (2.0, 1.0), 2), 1)
        gradient_NP = across.square().addcmul_(down, down).sqrt_().flatten(1)
        centered_NP = gradient_NP - gradient_NP.mean(1, keepdim=True)
        deviation_N1 = centered_NP.square().mean(1, keepdim=True, dtype=torch.float64).sqrt()
        return [centered_NP / deviation_N1.clamp_min(FLAT).float(), deviation_N1[:, 0] < FLAT]

    def _compare(self, images: Features, reference: Features) -> Tensor:
        (a_NP, flat_a), (b_NP, flat_b) = images, reference
        correlation_N = (a_NP * b_NP).mean(1, dtype=torch.float64).clamp(0, 1)
        return torch.where(flat_a | flat_b, (flat_a & flat_b).double(), correlation_N)


def _check_sides(metric: str, level_N3HW: Tensor, least: int) -> None:
    height, width = level_N3HW.shape[2:]
    if min(height, width) < least:
        raise InputError(
            f"{metric}: a picture has {width}x{height} pixels, expected at least {least} on each"
            " side; use larger pictures, or leave out this metric"
        )


def gaussian(sigma: float, radius: int) -> list[float]:
    """Return the weights of a Gaussian window from its center to its edge, which sum to 1.

    The sum counts every weight but the center's twice.
    """
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius + 1)]
    total = 2 * sum(weights) - weights[0]
    return [weight / total for weight in weights]


def _mean(value_NCHW: Tensor) -> Tensor:
    """Return the mean over SSIM's window, at places where the window is inside the image."""
    weights = gaussian(SSIM_SIGMA, SSIM_RADIUS)
    return _filtered(_filtered(value_NCHW, weights, 3), weights, 2)


def _filtered(value: Tensor, weights: Sequence[float], dim: int) -> Tensor:
    """Filter along a dimension by a symmetric window, given from its center to its edge.

    Sums of shifted views are many times faster on a CPU than convolutions of a single channel.
    """
    radius = len(weights) - 1
    length = value.shape[dim] - 2 * radius
    result = value.narrow(dim, radius, length) * weights[0]
    for offset, weight in enumerate(weights[1:], 1):
        result.add_(value.narrow(dim, radius - offset, length), alpha=weight)
        result.add_(value.narrow(dim, radius + offset, length), alpha=weight)
    return result


def _difference(value: Tensor, dim: int) -> Tensor:
    """Return the next value minus the previous one along a dimension."""
    length = value.shape[dim] - 2
    return value.narrow(dim, 2, length) - value.narrow(dim, 0, length)


def _mirrored(value_NHW: Tensor, rows: int, columns: int) -> Tensor:
    """Extend images on all sides by their mirror image, without repeating the border pixels.

    A border wider than the image mirrors the mirror image again. Sides have two pixels or more.
    """
    height, width = value_NHW.shape[1:]
    now_rows, now_columns = min(rows, height - 1), min(columns, width - 1)
    extended = F.pad(value_NHW, (now_columns, now_columns, now_rows, now_rows), mode="reflect")
    if (now_rows, now_columns) == (rows, columns):
        return extended
    return _mirrored(extended, rows - now_rows, columns - now_columns)
