"""The loss terms as pure functions of batched tensors.

Shapes stand in the names: ``feat_NCHW`` holds N lanes, and every term returns ``loss_N``, one
number a lane, so that nothing here mixes lanes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gram(feat_NCHW: Tensor, norm: str = "per_pixel") -> Tensor:
    """Gram matrices of a batch of feature maps.

    Args:
        feat_NCHW: features, any floating dtype.
        norm: ``per_pixel`` divides by H*W, so that the value does not depend on the image's size;
            ``per_element`` by C*H*W, as the PyTorch tutorial does. Gatys et al. (CVPR 2016, eq. 3
            and 4) leave G undivided and divide the squared error by 4 C^2 (HW)^2, which is 1/4 of
            `style_loss` over ``per_pixel`` Grams.

    Returns:
        gram_NCC, same dtype.
    """
    _, channels, height, width = feat_NCHW.shape
    feat_NCP = feat_NCHW.flatten(2)
    scale = height * width * (channels if norm == "per_element" else 1)
    return torch.bmm(feat_NCP, feat_NCP.mT) / scale


def content_loss(feat_NCHW: Tensor, target_NCHW: Tensor) -> Tensor:
    """Mean square difference of features per lane -> loss_N."""
    return (feat_NCHW - target_NCHW).square().mean(dim=(1, 2, 3))


def style_loss(gram_NCC: Tensor, target_NCC: Tensor) -> Tensor:
    """Mean square difference of Gram matrices over their C^2 entries, per lane -> loss_N."""
    return (gram_NCC - target_NCC).square().mean(dim=(1, 2))


def total_variation(image_N3HW: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, horizontal plus vertical -> loss_N.

    A mean, not a sum: the same weight then means the same smoothness at every size (L2 form of
    Mahendran & Vedaldi, CVPR 2015, with beta = 2).
    """
    dx = image_N3HW[..., :, 1:] - image_N3HW[..., :, :-1]
    dy = image_N3HW[..., 1:, :] - image_N3HW[..., :-1, :]
    return dx.square().mean(dim=(1, 2, 3)) + dy.square().mean(dim=(1, 2, 3))
