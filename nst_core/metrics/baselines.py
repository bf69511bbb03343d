"""What any result must beat, and copies of a reference that lost something."""

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

#: Standard deviation of the noise, of pixels in [0, 1], and quality of the JPEG file: both are seen
#: at a glance, and neither hides what the picture is.
NOISE, JPEG_QUALITY = 0.1, 10


def baselines(
    content_3HW: Tensor, style_3HW: Tensor, reference_3HW: Tensor
) -> Mapping[str, np.ndarray]:
    """What a result must beat, as uint8 images of the reference's size.

    The untouched content, the style image stretched to the frame, and two copies of the reference
    that lost its detail or its colour: a metric that likes these is blind to what they lost.
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
    """`baselines` and more copies of the reference, all of them nearer to it than the content.

    With noise, as a JPEG file of poor quality, moved by 1/64 of the longer side to the right and
    down, and half faded into the content.
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
    """Moved right and down; the first row and column fill what was left open."""
    _, height, width = image_3HW.shape
    moved = F.pad(image_3HW[None], (pixels, 0, pixels, 0), mode="replicate")
    return moved[0, :, :height, :width]
