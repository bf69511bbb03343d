"""The loss terms as pure functions of batched tensors.

Shapes stand in the names: ``feat_NCHW`` holds N lanes, and every term returns ``loss_N``, one
number a lane, so that nothing here mixes lanes. All terms are means, never sums, so that a weight
means the same at every image size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

#: Added to a covariance's diagonal, relative to its mean: the root's slope at zero is infinite.
COVARIANCE_RIDGE = 1e-4

#: Added under the root of the absolute value's smooth stand-in, in squared pixel units.
L1_SMOOTHING = 1e-8


class Moments(NamedTuple):
    """First and raw second moments of features over the positions of an image.

    Both combine linearly, so that several style images become one target by a weighted sum.
    """

    mean_NC: Tensor
    second_NCC: Tensor


def moments(feat_NCHW: Tensor, mask_N1HW: Tensor | None = None) -> Moments:
    """Mean and ``F F^T / (H W)`` of each lane's features, or their means weighted by a mask >= 0.

    A mask is the guidance channel of Gatys et al., arXiv 1611.07865, section 4, each position
    counted by its mask.
    """
    # Positions first: a view of channels-last features, whose gradients come back in that layout.
    feat_NPC = feat_NCHW.permute(0, 2, 3, 1).flatten(1, 2)
    if mask_N1HW is None:
        return Moments(feat_NPC.mean(1), _Second.apply(feat_NPC))
    mask_NP1 = mask_N1HW.flatten(2).mT
    area_N11 = mask_NP1.sum(1, keepdim=True).clamp_min(1e-6)
    weighted_NPC = feat_NPC * mask_NP1
    second_NCC = torch.bmm(weighted_NPC.mT, feat_NPC) / area_N11
    return Moments(weighted_NPC.sum(1) / area_N11[:, :, 0], second_NCC)


class _Second(torch.autograd.Function):
    """``F^T F / P`` of features_NPC; its gradient is symmetric, so one product is enough for it."""

    @staticmethod
    def forward(ctx: FunctionCtx, feat_NPC: Tensor) -> Tensor:
        ctx.save_for_backward(feat_NPC)
        return torch.bmm(feat_NPC.mT, feat_NPC) / feat_NPC.shape[1]

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> Tensor:
        (feat_NPC,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.bmm(feat_NPC, (grads[0] + grads[0].mT) / feat_NPC.shape[1])


def gram(feat_NCHW: Tensor, norm: str = "per_pixel") -> Tensor:
    """Gram matrices of a batch of feature maps.

    Args:
        feat_NCHW: features, any floating dtype.
        norm: ``per_pixel`` divides by H*W, so that the value does not depend on the image's size;
            ``per_element`` by C*H*W, as the PyTorch tutorial does. Gatys et al. (CVPR 2016, eq. 3
            and 4) leave G undivided and divide the squared error by 4 C^2 (HW)^2, which is 1/4 of
            `gram_loss` over ``per_pixel`` Grams.

    Returns:
        gram_NCC, same dtype.
    """
    second_NCC = moments(feat_NCHW).second_NCC
    return second_NCC / (feat_NCHW.shape[1] if norm == "per_element" else 1)


def gram_factor(norm: str, channels: int) -> float:
    """What `gram_loss` over ``per_pixel`` Grams is multiplied by to become that over ``norm``.

    The families differ by C^2 in each layer: a weight of one is a weight *vector* of the other.
    """
    return 1.0 / channels**2 if norm == "per_element" else 1.0


def content_loss(feat_NCHW: Tensor, target_NCHW: Tensor) -> Tensor:
    """Mean square difference of features per lane -> loss_N."""
    return (feat_NCHW - target_NCHW).square().mean(dim=(1, 2, 3))


def gram_loss(found: Moments, target: Moments) -> Tensor:
    """Mean square difference of Gram matrices over their C^2 entries, per lane -> loss_N."""
    return (found.second_NCC - target.second_NCC).square().mean(dim=(1, 2))


def mean_cov_loss(found: Moments, target: Moments) -> Tensor:
    """Mean square difference of means (over C) plus that of covariances (over C^2) -> loss_N.

    A Gram matrix mixes the two; apart, they tell colour and contrast from texture.
    """
    mean = (found.mean_NC - target.mean_NC).square().mean(dim=1)
    covariance = (covariance_of(found) - covariance_of(target)).square().mean(dim=(1, 2))
    return mean + covariance


def wasserstein_loss(found: Moments, target: Moments, root_NCC: Tensor | None = None) -> Tensor:
    """Squared Wasserstein-2 distance of the two Gaussians, over C -> loss_N.

    ``|m - m*|^2 + tr(S + S* - 2 (R S R)^(1/2))`` with ``R = S*^(1/2)`` (Dowson & Landau 1982;
    as a style loss in crowsonkb/style-transfer-pytorch), divided by the channels C.

    Args:
        found: moments of the image.
        target: moments of the style.
        root_NCC: `covariance_root` of the target, if it is at hand.
    """
    channels = found.mean_NC.shape[1]
    cov, target_cov = _ridged(covariance_of(found)), _ridged(covariance_of(target))
    root = covariance_root(target) if root_NCC is None else root_NCC
    eigenvalues = torch.linalg.eigvalsh(torch.bmm(torch.bmm(root, cov), root))
    cross_N = eigenvalues.clamp_min(torch.finfo(cov.dtype).tiny).sqrt().sum(1)
    mean_N = (found.mean_NC - target.mean_NC).square().sum(1)
    distance_N: Tensor = mean_N + _trace(cov) + _trace(target_cov) - 2 * cross_N
    return distance_N.clamp_min(0) / channels


def covariance_root(target: Moments) -> Tensor:
    """Root of the covariance that `wasserstein_loss` multiplies with; the dear part of it."""
    return matrix_root(_ridged(covariance_of(target)))


def covariance_of(found: Moments) -> Tensor:
    """cov_NCC from moments."""
    return found.second_NCC - found.mean_NC[:, :, None] * found.mean_NC[:, None, :]


def matrix_root(matrix_NCC: Tensor) -> Tensor:
    """Symmetric root of symmetric positive semi-definite matrices."""
    values, vectors = torch.linalg.eigh(matrix_NCC)
    return torch.bmm(vectors * values.clamp_min(0).sqrt()[:, None, :], vectors.mT)


def _ridged(matrix_NCC: Tensor) -> Tensor:
    size = matrix_NCC.shape[1]
    ridge_N = COVARIANCE_RIDGE * _trace(matrix_NCC) / size + 1e-12
    identity = torch.eye(size, device=matrix_NCC.device, dtype=matrix_NCC.dtype)
    return matrix_NCC + ridge_N[:, None, None] * identity


def _trace(matrix_NCC: Tensor) -> Tensor:
    return matrix_NCC.diagonal(dim1=1, dim2=2).sum(1)


def style_comparison(kind: str, target: Moments) -> Callable[[Moments], Tensor]:
    """The style loss called ``kind`` against a target, with all that is constant done before."""
    if kind == "wasserstein":
        return partial(wasserstein_loss, target=target, root_NCC=covariance_root(target))
    return partial({"gram": gram_loss, "mean_cov": mean_cov_loss}[kind], target=target)


STYLE_LOSSES = ("gram", "mean_cov", "wasserstein")


def total_variation(image_N3HW: Tensor, norm: str = "l2") -> Tensor:
    """Mean difference of neighbouring pixels, horizontal plus vertical -> loss_N.

    Args:
        image_N3HW: pixels.
        norm: ``l2`` squares the differences (Mahendran & Vedaldi, CVPR 2015, with beta = 2); ``l1``
            takes their absolute value (Rudin, Osher & Fatemi 1992), which keeps edges sharper;
            it is rounded off below 1e-4 so that its slope is defined.
    """
    dx = image_N3HW[..., :, 1:] - image_N3HW[..., :, :-1]
    dy = image_N3HW[..., 1:, :] - image_N3HW[..., :-1, :]
    return _size_of(dx, norm).mean(dim=(1, 2, 3)) + _size_of(dy, norm).mean(dim=(1, 2, 3))


def _size_of(difference: Tensor, norm: str) -> Tensor:
    squared = difference.square()
    return squared if norm == "l2" else (squared + L1_SMOOTHING).sqrt() - L1_SMOOTHING**0.5


def mean_color_loss(image_N3HW: Tensor, quantiles_N3P: Tensor) -> Tensor:
    """Mean square difference of the mean colour and that of the target's -> loss_N."""
    difference = image_N3HW.mean(dim=(2, 3)) - quantiles_N3P.mean(2)
    return difference.square().mean(1)


def histogram_loss(image_N3HW: Tensor, quantiles_N3P: Tensor) -> Tensor:
    """Mean square distance of each channel's sorted pixels and the target's -> loss_N.

    This is the squared Wasserstein-2 distance of the channels' histograms, which is zero where
    histogram matching (Risser et al., arXiv 1701.08893) would change nothing.
    """
    sorted_N3P = image_N3HW.flatten(2).sort(dim=2).values
    return (sorted_N3P - quantiles_N3P).square().mean(dim=(1, 2))


def color_quantiles(image_3HW: Tensor, count: int) -> Tensor:
    """``count`` evenly spaced quantiles of each channel -> quantiles_3P, ascending.

    Quantile functions combine linearly: their weighted sum is the barycentre of the histograms.
    """
    sorted_3P = image_3HW.flatten(1).sort(dim=1).values
    resampled = torch.nn.functional.interpolate(
        sorted_3P[None], size=count, mode="linear", align_corners=True
    )
    return resampled[0]


#: Colour losses by name, functions of the image and the target's quantiles.
COLOR_LOSSES = {"mean": mean_color_loss, "histogram": histogram_loss}


def matting_loss(image_3HW: Tensor, laplacian_PP: Tensor) -> Tensor:
    """How far an image is from a locally affine recolouring of the photo -> a scalar.

    ``sum_c v_c^T L v_c / (H W)`` with the matting Laplacian L of the photo, sparse (Luan et al.,
    CVPR 2017, eq. 4; Levin et al. 2008), as a mean over pixels.
    """
    pixels_P3 = image_3HW.flatten(1).T
    energy: Tensor = (pixels_P3 * torch.sparse.mm(laplacian_PP, pixels_P3)).sum()
    return energy / pixels_P3.shape[0]
