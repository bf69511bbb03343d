"""Metrics of arrays with scikit-image and OpenCV, one image at a time.

The engine used them before its metrics were written in torch. They are the reference for the values
and for the time of `nst_core.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor

from nst_core.metrics.color_distance import (
    COLOR_BINS,
    COLOR_DIRECTIONS,
    COLOR_PIXELS,
    COLOR_RANGE_LAB,
)
from nst_core.metrics.pixel_metrics import FLAT, PSNR_CAP_DB


def rmse(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return the root mean squared difference of uint8 images, scaled to [0, 1]."""
    difference = image_HW3.astype(np.float64) - reference_HW3.astype(np.float64)
    return float(np.sqrt(np.mean(np.square(difference)))) / 255


def psnr(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 images in dB, at most `PSNR_CAP_DB`."""
    error = rmse(image_HW3, reference_HW3)
    return PSNR_CAP_DB if error == 0 else min(PSNR_CAP_DB, -20 * float(np.log10(error)))


def ssim(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return scikit-image's structural similarity of uint8 images, mean over channels."""
    return float(
        structural_similarity(
            image_HW3,
            reference_HW3,
            data_range=255,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def edges(image_HW3: np.ndarray, content_HW3: np.ndarray) -> float:
    """Return the share of the content's edges that an image keeps, with OpenCV's filters."""
    gradients = np.stack([_gradient(image).ravel() for image in (image_HW3, content_HW3)])
    flat = gradients.std(axis=1) < FLAT
    if flat.any():
        return float(flat.all())
    return float(np.corrcoef(gradients)[0, 1].clip(0, 1))


def _gradient(image_HW3: np.ndarray) -> np.ndarray:
    """Return gradient_HW, the gradient magnitude of the slightly blurred luma."""
    luma_HW = cv2.cvtColor(image_HW3.astype(np.float32), cv2.COLOR_RGB2GRAY)
    blurred_HW = cv2.GaussianBlur(luma_HW, (0, 0), max(1.0, max(luma_HW.shape) / 256))
    across_HW, down_HW = (cv2.Sobel(blurred_HW, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return cv2.magnitude(across_HW, down_HW)


def color(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return the distance of the colors of uint8 images, with scikit-image's CIE Lab colors."""
    return color_from_shares(color_shares(image_HW3), color_shares(reference_HW3))


def color_from_shares(share_DB: Tensor, reference_DB: Tensor) -> float:
    """Return the distance of colors from the histograms of both images."""
    between = (share_DB - reference_DB).cumsum(dim=1).abs().sum(dim=1).mean()
    return 2 * float(between) * 2 * COLOR_RANGE_LAB / COLOR_BINS


def color_shares(image_HW3: np.ndarray) -> Tensor:
    """Return share_DB, float64: the share of pixels in each histogram bin along each direction."""
    height, width, _ = image_HW3.shape
    stride = math.ceil(math.sqrt(height * width / COLOR_PIXELS))
    sample_HW3 = image_HW3[::stride, ::stride].astype(np.float32) / 255
    lab_P3 = torch.from_numpy(rgb2lab(sample_HW3)).view(-1, 3)
    along_DP = _directions() @ lab_P3.T
    reach = COLOR_RANGE_LAB
    counts = [torch.histc(along_P, COLOR_BINS, -reach, reach) for along_P in along_DP]
    return torch.stack(counts).double() / len(lab_P3)


def _directions() -> Tensor:
    turns = torch.arange(COLOR_DIRECTIONS) + 0.5
    up = turns / COLOR_DIRECTIONS
    angle, out = turns * (math.pi * (3 - math.sqrt(5))), (1 - up.square()).sqrt()
    return torch.stack([up, out * angle.cos(), out * angle.sin()], dim=1)


#: The metrics by name: (image, image to compare with) -> score.
ARRAY_METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "ssim": ssim,
    "psnr": psnr,
    "rmse": rmse,
    "color": color,
    "edges": edges,
}
