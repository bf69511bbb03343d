"""Formulas of the loss terms, as pure functions of batched tensors.

Names of tensors end with their shape: ``feat_NCHW`` has the features of N lanes. Every loss returns
``loss_N``, one number per lane, and never mixes lanes. Losses are means, not sums, so that a weight
means the same at every image size. Tensors may have any floating dtype. `batch_loss` combines the
terms.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

#: Added to the diagonal of a covariance, relative to the mean of the diagonal: the derivative of a
#: square root at zero is infinite.
COVARIANCE_RIDGE = 1e-4

#: Eigenvalues of a cross term below this share of the largest are rounding errors of float64: the
#: smallest that a ridge leaves among 512 channels is about 1e-13. They give no gradient.
EIGENVALUE_NOISE = 1e-15

#: Term under the root of the smoothed absolute value, in squared pixel units.
L1_SMOOTHING = 1e-8


class Moments(NamedTuple):
    """First and raw second moments of features over the positions of an image.

    Both are linear: the moments of several style images have a weighted sum as common target.

    Attributes:
        mean_NC: mean of each channel.
        second_NCC: mean products of two channels, a Gram matrix divided by H W.
    """

    mean_NC: Tensor
    second_NCC: Tensor


def moments(feat_NCHW: Tensor, mask_N1HW: Tensor | None = None) -> Moments:
    """Return mean and ``F F^T / (H W)`` of each lane's features.

    Args:
        feat_NCHW: features.
        mask_N1HW: weight >= 0 of each position, as the guidance channel of Gatys et al., arXiv
            1611.07865, section 4; None: all positions have the same weight.
    """
    # Channels last: a view of channels-last features, whose gradients then have the same layout.
    feat_NPC = _channels_last(feat_NCHW).flatten(1, 2)
    if mask_N1HW is None:
        return Moments(feat_NPC.mean(1), _Second.apply(feat_NPC, feat_NPC) / feat_NPC.shape[1])
    mask_NP1 = mask_N1HW.flatten(2).mT
    area_N11 = mask_NP1.sum(1, keepdim=True).clamp_min(1e-6)
    weighted_NPC = feat_NPC * mask_NP1
    second_NCC = _Second.apply(feat_NPC, weighted_NPC) / area_N11
    return Moments(weighted_NPC.sum(1) / area_N11[:, :, 0], second_NCC)


class _Second(torch.autograd.Function):
    """``W^T F`` of feat_NPC = F and weighted_NPC = W = diag(m) F with weights m of the positions.

    It is symmetric, so its gradient with respect to F, through both arguments, needs one matrix
    product instead of two, and has the layout of channels-last features.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, feat_NPC: Tensor, weighted_NPC: Tensor) -> Tensor:
        ctx.save_for_backward(weighted_NPC)
        return torch.bmm(weighted_NPC.mT, feat_NPC)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (weighted_NPC,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.bmm(weighted_NPC, grads[0] + grads[0].mT), None


def gram_factor(norm: str, channels: int) -> float:
    """Return the factor from `gram_loss` to the loss over Gram matrices with another normalization.

    `gram_loss` compares Gram matrices divided by H W. Gatys et al. (CVPR 2016, eq. 3 and 4) do not
    divide the matrices, and divide the squared error by 4 C^2 (H W)^2; the result is 1/4 of
    `gram_loss`. The PyTorch tutorial divides the matrices by C H W.

    Args:
        norm: ``per_pixel`` for division by H W, ``per_element`` for division by C H W.
        channels: number of channels C of the layer. Since the factor depends on it, one weight for
            ``per_element`` corresponds to different weights of the layers for ``per_pixel``.
    """
    return 1.0 / channels**2 if norm == "per_element" else 1.0


def content_loss(feat_NCHW: Tensor, target_NCHW: Tensor) -> Tensor:
    """Return the mean squared difference of features, loss_N (Gatys et al., CVPR 2016, eq. 1).

    The paper halves the sum of squares; here it is a mean.
    """
    # Without the permutation, the gradient of channels-last features comes back as NCHW.
    return _channels_last(feat_NCHW - target_NCHW).flatten(1).square().mean(1)


def _channels_last(feat_NCHW: Tensor) -> Tensor:
    """Return feat_NHWC, a view."""
    return feat_NCHW.permute(0, 2, 3, 1)


def gram_loss(image: Moments, target: Moments) -> Tensor:
    """Return the mean squared difference of Gram matrices over their C^2 entries, loss_N."""
    return (image.second_NCC - target.second_NCC).square().mean(dim=(1, 2))


def mean_cov_loss(image: Moments, target: Moments) -> Tensor:
    """Return the mean squared difference of means (over C) plus covariances (over C^2), loss_N.

    A Gram matrix mixes both; separate terms distinguish color and contrast from texture.
    """
    mean = (image.mean_NC - target.mean_NC).square().mean(dim=1)
    covariance = (covariance_of(image) - covariance_of(target)).square().mean(dim=(1, 2))
    return mean + covariance


def wasserstein_loss(image: Moments, target: Moments, root_NCC: Tensor | None = None) -> Tensor:
    """Return the squared Wasserstein-2 distance of two Gaussian distributions, over C, loss_N.

    ``|m - m*|^2 + tr(S + S* - 2 (R S R)^(1/2))`` with ``R = S*^(1/2)``, mean m and covariance S
    (Dowson & Landau 1982; as a style loss in crowsonkb/style-transfer-pytorch), divided by the
    number of channels C.

    Everything after the moments is computed in float64. The eigenvalues of R S R span the square
    of the range of S, so that rounding to float32 changes gradients by up to 1 %, and the rounding
    of TF32 or bfloat16 products makes them 3 times as large.

    Args:
        image: moments of the image.
        target: moments of the style.
        root_NCC: `covariance_root` of the target; None: compute it.
    """
    channels = image.mean_NC.shape[1]
    root = covariance_root(target) if root_NCC is None else root_NCC.double()
    image_64, target_64 = _in_float64(image), _in_float64(target)
    cov, target_cov = _ridged(covariance_of(image_64)), _ridged(covariance_of(target_64))
    mean_N = (image_64.mean_NC - target_64.mean_NC).square().sum(1)
    cross_N: Tensor = _CrossTerm.apply(cov, root)
    distance_N = mean_N + _trace(cov) + _trace(target_cov) - 2 * cross_N
    loss_N: Tensor = distance_N.clamp_min(0) / channels
    return loss_N.to(image.mean_NC.dtype)


class _CrossTerm(torch.autograd.Function):
    """``tr (R S R)^(1/2)`` of cov_NCC = S and root_NCC = R, both float64, as cross_N.

    Its gradient is ``R V diag(1 / (2 sqrt(w))) V^T R`` with eigenvalues w and eigenvectors V of
    R S R. No settings for products of float32 apply to it, in whatever thread autograd runs it.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, cov_NCC: Tensor, root_NCC: Tensor) -> Tensor:
        product_NCC = torch.bmm(torch.bmm(root_NCC, cov_NCC), root_NCC)
        # A lane that has exploded would raise an error for all lanes; its loss is infinite or NaN
        # by its trace anyway.
        finite_N11 = product_NCC.isfinite().all(2).all(1)[:, None, None]
        values_NC, vectors_NCC = torch.linalg.eigh(torch.where(finite_N11, product_NCC, 0))
        noise_N1 = EIGENVALUE_NOISE * values_NC[:, -1:].clamp_min(0)
        roots_NC: Tensor = values_NC.clamp_min(noise_N1).sqrt()
        slopes_NC = torch.where(values_NC > noise_N1, 0.5 / roots_NC, 0)
        ctx.save_for_backward(root_NCC, slopes_NC, vectors_NCC)
        return roots_NC.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        root_NCC, slopes_NC, vectors_NCC = ctx.saved_tensors  # type: ignore[attr-defined]
        vectors_NCC = torch.bmm(root_NCC, vectors_NCC)
        weights_N1C = (grads[0][:, None] * slopes_NC)[:, None]
        return torch.bmm(vectors_NCC * weights_N1C, vectors_NCC.mT), None


def covariance_root(target: Moments) -> Tensor:
    """Return root_NCC in float64, the expensive part of `wasserstein_loss` without the image."""
    return matrix_root(_ridged(covariance_of(_in_float64(target))))


def _in_float64(moments_N: Moments) -> Moments:
    return Moments(moments_N.mean_NC.double(), moments_N.second_NCC.double())


def covariance_of(moments_N: Moments) -> Tensor:
    """Return cov_NCC, the covariance that belongs to some moments."""
    mean_NC = moments_N.mean_NC
    return moments_N.second_NCC - mean_NC[:, :, None] * mean_NC[:, None, :]


def matrix_root(matrix_NCC: Tensor) -> Tensor:
    """Return the symmetric roots of symmetric positive semi-definite matrices, root_NCC."""
    values, vectors = torch.linalg.eigh(matrix_NCC)
    return torch.bmm(vectors * values.clamp_min(0).sqrt()[:, None, :], vectors.mT)


def _ridged(matrix_NCC: Tensor) -> Tensor:
    size = matrix_NCC.shape[1]
    ridge_N = COVARIANCE_RIDGE * _trace(matrix_NCC) / size + 1e-12
    identity = torch.eye(size, device=matrix_NCC.device, dtype=matrix_NCC.dtype)
    return matrix_NCC + ridge_N[:, None, None] * identity


def _trace(matrix_NCC: Tensor) -> Tensor:
    return matrix_NCC.diagonal(dim1=1, dim2=2).sum(1)


def style_loss(
    kind: str, image: Moments, target: Moments, root_NCC: Tensor | None = None
) -> Tensor:
    """Return a style loss of the image's moments, loss_N.

    Args:
        kind: one of `STYLE_LOSSES`.
        image: moments of the image.
        target: moments of the style.
        root_NCC: `covariance_root` of the target, for ``wasserstein`` only; None: compute it.
    """
    if kind == "wasserstein":
        return wasserstein_loss(image, target, root_NCC)
    return {"gram": gram_loss, "mean_cov": mean_cov_loss}[kind](image, target)


#: Values of `StyleConfig.style_loss`.
STYLE_LOSSES = ("gram", "mean_cov", "wasserstein")


def total_variation(image_N3HW: Tensor, norm: str = "l2") -> Tensor:
    """Return the mean difference of neighboring pixels, horizontal plus vertical, loss_N.

    Args:
        image_N3HW: pixels.
        norm: ``l2`` squares the differences (Mahendran & Vedaldi, CVPR 2015, with beta = 2); ``l1``
            takes their absolute value (Rudin, Osher & Fatemi 1992), which keeps edges sharper. The
            absolute value is smoothed below 1e-4 to have a derivative at zero.
    """
    dx = image_N3HW[..., :, 1:] - image_N3HW[..., :, :-1]
    dy = image_N3HW[..., 1:, :] - image_N3HW[..., :-1, :]
    return _penalty(dx, norm).mean(dim=(1, 2, 3)) + _penalty(dy, norm).mean(dim=(1, 2, 3))


def _penalty(difference: Tensor, norm: str) -> Tensor:
    squared = difference.square()
    return squared if norm == "l2" else (squared + L1_SMOOTHING).sqrt() - L1_SMOOTHING**0.5


def mean_color_loss(image_N3HW: Tensor, quantiles_N3P: Tensor) -> Tensor:
    """Return the mean squared difference of the mean color from the target's, loss_N.

    Args:
        image_N3HW: pixels.
        quantiles_N3P: `color_quantiles` of the target.
    """
    difference = image_N3HW.mean(dim=(2, 3)) - quantiles_N3P.mean(2)
    return difference.square().mean(1)


def histogram_loss(image_N3HW: Tensor, quantiles_N3P: Tensor) -> Tensor:
    """Return the mean squared difference of each channel's sorted pixels from the target's, loss_N.

    This is the squared Wasserstein-2 distance of the channels' histograms, which is zero if
    histogram matching (Risser et al., arXiv 1701.08893) would change nothing.

    Args:
        image_N3HW: pixels.
        quantiles_N3P: `color_quantiles` of the target, one for each of the P = H W pixels.
    """
    sorted_N3P = image_N3HW.flatten(2).sort(dim=2).values
    return (sorted_N3P - quantiles_N3P).square().mean(dim=(1, 2))


def color_quantiles(image_3HW: Tensor, count: int) -> Tensor:
    """Return ``count`` evenly spaced quantiles of each channel, quantiles_3P, ascending.

    Quantiles of several images can be averaged: the result belongs to the Wasserstein barycenter of
    their histograms.
    """
    sorted_3P = image_3HW.flatten(1).sort(dim=1).values
    resampled = torch.nn.functional.interpolate(
        sorted_3P[None], size=count, mode="linear", align_corners=True
    )
    return resampled[0]


#: Color losses by the value of `StyleConfig.color_loss`.
COLOR_LOSSES = {"mean": mean_color_loss, "histogram": histogram_loss}


def matting_loss(image_3HW: Tensor, laplacian_PP: Tensor) -> Tensor:
    """Return how much an image differs from a locally affine recoloring of the photo, a scalar.

    ``sum_c v_c^T L v_c / (H W)`` with the pixels v_c of channel c and the matting Laplacian L of
    the photo (Luan et al., CVPR 2017, eq. 4; Levin et al. 2008).

    Args:
        image_3HW: pixels.
        laplacian_PP: sparse matting Laplacian over the P = H W pixels, see `matting_laplacian`.
    """
    pixels_P3 = image_3HW.flatten(1).T
    energy: Tensor = (pixels_P3 * torch.sparse.mm(laplacian_PP, pixels_P3)).sum()
    return energy / pixels_P3.shape[0]
