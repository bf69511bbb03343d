"""Baselines: images that any result must beat, and degraded copies of a reference."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nst_core.images.colors import luminance
from nst_core.images.tensors import resize, to_uint8

#: Standard deviation of the noise for pixels in [0, 1], and quality of the JPEG file (1 to 95).
#: Both degradations are visible at a glance, and the motif remains recognizable.
NOISE, JPEG_QUALITY = 0.1, 10


def baselines(
    content_3HW: Tensor, style_3HW: Tensor, reference_3HW: Tensor
) -> Mapping[str, np.ndarray]:
    """Return the baselines as uint8 images HW3 of the reference's size, by name.

    The baselines are the untouched content, the style image stretched to the reference's shape, and
    two copies of the reference: one blurred, one gray. A metric that prefers such a copy to a good
    result does not see detail or color.

    Args:
        content_3HW: content image in [0, 1], any size.
        style_3HW: style image in [0, 1], any size.
        reference_3HW: reference in [0, 1].
    """
    _, height, width = reference_3HW.shape
    sigma = max(height, width) / 64
    return {
        "content": to_uint8(resize(content_3HW, height, width)),
        "style": to_uint8(resize(style_3HW, height, width)),
        "blurred_reference": to_uint8(_blur(reference_3HW, sigma)),
        "grey_reference": to_uint8(luminance(reference_3HW)),
    }


def degraded(
    content_3HW: Tensor, style_3HW: Tensor, reference_3HW: Tensor
) -> Mapping[str, np.ndarray]:
    """Return `baselines` and four more copies of the reference, as uint8 images HW3, by name.

    People see all four as more similar to the reference than the content: with noise, as a JPEG
    file of low quality, shifted right and down by 1/64 of the longer side, and averaged with the
    content.

    Args:
        content_3HW: content image in [0, 1], any size.
        style_3HW: style image in [0, 1], any size.
        reference_3HW: reference in [0, 1].
    """
    _, height, width = reference_3HW.shape
    content = resize(content_3HW, height, width)
    noise = torch.randn(reference_3HW.shape, generator=torch.Generator().manual_seed(0))
    return {
        **baselines(content_3HW, style_3HW, reference_3HW),
        "noisy_reference": to_uint8(reference_3HW + NOISE * noise),
        "jpeg_reference": _jpeg(to_uint8(reference_3HW)),
        "shifted_reference": to_uint8(_shift(reference_3HW, max(1, max(height, width) // 64))),
        "half_reference": to_uint8((reference_3HW + content) / 2),
    }


def _blur(image_3HW: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image_3HW.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(image_3HW[None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[..., None, :], groups=3)
    return F.conv2d(rows, kernel[..., :, None], groups=3)[0]


def _jpeg(image_HW3: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, "JPEG", quality=JPEG_QUALITY)
    with Image.open(buffer) as picture:
        return np.asarray(picture)


def _shift(image_3HW: Tensor, pixels: int) -> Tensor:
    """Return the image shifted right and down; its first row and column fill the gap."""
    _, height, width = image_3HW.shape
    shifted = F.pad(image_3HW[None], (pixels, 0, pixels, 0), mode="replicate")
    return shifted[0, :, :height, :width]
