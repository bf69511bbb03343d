"""Color transfer: luminance, recoloring a style image, keeping a photo's colors.

The formulas are from Gatys, Bethge, Hertzmann & Shechtman (arXiv 1606.05897) and from Gatys, Ecker,
Bethge, Hertzmann & Shechtman (CVPR 2017).
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.exposure import match_histograms
from torch import Tensor

#: Luma of ITU-R BT.601, as YIQ and YCbCr use it.
LUMA = (0.299, 0.587, 0.114)


def luminance(image_N3HW: Tensor) -> Tensor:
    """Return the luma of each pixel in all three channels, image_N3HW."""
    # Python numbers instead of a tensor: a recorded CUDA graph may copy nothing to the device.
    red, green, blue = (
        weight * channel for weight, channel in zip(LUMA, image_N3HW.unbind(-3), strict=True)
    )
    return (red + green + blue).unsqueeze(-3).expand_as(image_N3HW)


def with_hues_of(image_3HW: Tensor, content_3HW: Tensor) -> Tensor:
    """Return the luma of an image with the hues of the content, clamped to [0, 1].

    Both images have one size. Replacing the luma of YIQ adds the same number to all RGB channels
    of a pixel.
    """
    return (content_3HW + luminance(image_3HW) - luminance(content_3HW)).clamp(0, 1)


def luminance_like(style_3HW: Tensor, content_3HW: Tensor) -> Tensor:
    """Return the style's luma with mean and standard deviation of the content's, gray image_3HW."""
    style, content = luminance(style_3HW), luminance(content_3HW)
    spread = content.std() / style.std().clamp_min(1e-6)
    return (style - style.mean()) * spread + content.mean()


def recolored(style_3HW: Tensor, content_3HW: Tensor, how: str) -> Tensor:
    """Return the style image with the content's colors, clamped to [0, 1].

    Args:
        style_3HW: image to change.
        content_3HW: image whose colors are matched, of any size.
        how: ``none``; ``mean`` matches the mean color; ``mean_cov`` also the covariance, by the
            symmetric map ``S_c^(1/2) S_s^(-1/2)``; ``histogram`` matches each channel's histogram.
    """
    if how == "none":
        return style_3HW
    if how == "histogram":
        matched = match_histograms(
            np.asarray(style_3HW.cpu()), np.asarray(content_3HW.cpu()), channel_axis=0
        )
        return torch.as_tensor(matched).to(style_3HW).clamp(0, 1)
    style_mean, content_mean = (image.mean(dim=(1, 2)) for image in (style_3HW, content_3HW))
    centered_3P = style_3HW.flatten(1) - style_mean[:, None]
    if how == "mean_cov":
        whitened_3P = _root(_covariance(style_3HW), -1) @ centered_3P
        centered_3P = _root(_covariance(content_3HW)) @ whitened_3P
    return (centered_3P + content_mean[:, None]).view_as(style_3HW).clamp(0, 1)


def color_noise(style_3HW: Tensor, noise_3HW: Tensor) -> Tensor:
    """Return noise with the mean and covariance of an image's colors.

    Args:
        style_3HW: image whose colors are measured.
        noise_3HW: standard normal noise.
    """
    colored_3P = _root(_covariance(style_3HW)) @ noise_3HW.flatten(1)
    return colored_3P.view_as(noise_3HW) + style_3HW.mean(dim=(1, 2))[:, None, None]


def _covariance(image_3HW: Tensor) -> Tensor:
    return torch.cov(image_3HW.flatten(1), correction=0)


def _root(matrix_33: Tensor, sign: int = 1) -> Tensor:
    """Return the symmetric square root of a covariance, or its inverse for ``sign`` -1."""
    values, vectors = torch.linalg.eigh(matrix_33)
    # Nearly gray images have eigenvalues of almost 0.
    roots = values.clamp_min(1e-6).sqrt() ** sign
    root: Tensor = (vectors * roots) @ vectors.T
    return root
