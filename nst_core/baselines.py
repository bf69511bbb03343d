"""What any result must beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.colors import luminance
from nst_core.images import resize, to_uint8


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


def _blur(image_3HW: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image_3HW.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(image_3HW[None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[..., None, :], groups=3)
    return F.conv2d(rows, kernel[..., :, None], groups=3)[0]
