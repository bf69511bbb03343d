"""Formulas that `nst_core.losses.functional` replaced or rejected, and features to compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from nst_core.images.tensors import resize_longer_side
from nst_core.losses.functional import (
    COVARIANCE_RIDGE,
    Moments,
    covariance_of,
    matrix_root,
    moments,
)
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.extractors import Normalizer
from nst_core.networks.registry import Backbone
from nst_core.networks.weights import Weights
from nst_core.sample_pictures import sample_content, sample_style


@torch.no_grad()
def picture_features(
    weights: Callable[[str], Weights], layers: Iterable[str], size_px: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return features of the sample photo and the sample style in layers of VGG16, each feat_1CHW.

    Args:
        weights: function that returns the weights of a network.
        layers: names of layers.
        size_px: longer side of the pictures in pixels.
    """
    extractor = FeatureStore(weights).extractor(Backbone("vgg16"), layers)
    normalize = Normalizer(["imagenet"], torch.empty(0))
    photo, style = (
        extractor(
            normalize(resize_longer_side(picture, size_px)[None]).contiguous(
                memory_format=MEMORY_FORMAT
            )
        )
        for picture in (sample_content(), sample_style())
    )
    return {layer: (photo[layer], style[layer]) for layer in photo}


def content_in_order_nchw(feat_NCHW: Tensor, target_NCHW: Tensor) -> Tensor:
    """Return `content_loss` as it was: its gradient is NCHW, whatever the features are."""
    return (feat_NCHW - target_NCHW).square().mean(dim=(1, 2, 3))


def masked_moments_by_autograd(feat_NCHW: Tensor, mask_N1HW: Tensor) -> Moments:
    """Return `moments` under a mask as they were: the gradient takes two matrix products."""
    feat_NPC = feat_NCHW.permute(0, 2, 3, 1).flatten(1, 2)
    mask_NP1 = mask_N1HW.flatten(2).mT
    area_N11 = mask_NP1.sum(1, keepdim=True).clamp_min(1e-6)
    weighted_NPC = feat_NPC * mask_NP1
    second_NCC = torch.bmm(weighted_NPC.mT, feat_NPC) / area_N11
    return Moments(weighted_NPC.sum(1) / area_N11[:, :, 0], second_NCC)


def second_moment_only(feat_NCHW: Tensor) -> Moments:
    """Return `moments` with a mean of zeros, for a loss that does not read it."""
    second = moments(feat_NCHW).second_NCC
    return Moments(second.new_zeros(second.shape[:2]), second)


def wasserstein_in_the_dtype_of_features(image: Moments, target: Moments, root: Tensor) -> Tensor:
    """Return `wasserstein_loss` as it was: eigenvalues by autograd, in the dtype of the features.

    Args:
        image: moments of the image.
        target: moments of the style.
        root: `root_in_the_dtype_of_features` of the target.
    """
    cov, target_cov = _ridged(covariance_of(image)), _ridged(covariance_of(target))
    eigenvalues = torch.linalg.eigvalsh(torch.bmm(torch.bmm(root, cov), root))
    cross_N = eigenvalues.clamp_min(torch.finfo(cov.dtype).tiny).sqrt().sum(1)
    return _distance(image, target, cov, target_cov, cross_N)


def wasserstein_by_newton_schulz(
    image: Moments, target: Moments, root: Tensor, iterations: int
) -> Tensor:
    """Return `wasserstein_loss` with the root of the cross term from Newton-Schulz iterations.

    Args:
        image: moments of the image.
        target: moments of the style.
        root: `root_in_the_dtype_of_features` of the target.
        iterations: number of iterations, with three matrix products each.
    """
    cov, target_cov = _ridged(covariance_of(image)), _ridged(covariance_of(target))
    cross_N: Tensor = _NewtonSchulz.apply(cov, root, iterations)
    return _distance(image, target, cov, target_cov, cross_N)


class _NewtonSchulz(torch.autograd.Function):
    """Trace of the root of ``A = R S R``, with the gradient ``R A^(-1/2) R / 2`` (Higham 2008)."""

    @staticmethod
    def forward(ctx: FunctionCtx, cov: Tensor, root: Tensor, iterations: int) -> Tensor:
        product = torch.bmm(torch.bmm(root, cov), root)
        norm_N11 = torch.linalg.matrix_norm(product, keepdim=True)
        identity = torch.eye(cov.shape[1], dtype=cov.dtype).expand_as(cov)
        half, inverse = product / norm_N11, identity
        for _ in range(iterations):
            factor = (3 * identity - torch.bmm(inverse, half)) / 2
            half, inverse = torch.bmm(half, factor), torch.bmm(factor, inverse)
        ctx.save_for_backward(root, inverse / norm_N11.sqrt())
        cross_N: Tensor = _trace(half) * norm_N11[:, 0, 0].sqrt()
        return cross_N

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        root, inverse = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = torch.bmm(torch.bmm(root, inverse), root) / 2
        return grads[0][:, None, None] * slope, None, None


def root_in_the_dtype_of_features(target: Moments) -> Tensor:
    """Return `covariance_root` as it was: in the dtype of the features."""
    return matrix_root(_ridged(covariance_of(target)))


def _distance(
    image: Moments, target: Moments, cov: Tensor, target_cov: Tensor, cross_N: Tensor
) -> Tensor:
    mean_N = (image.mean_NC - target.mean_NC).square().sum(1)
    distance_N: Tensor = mean_N + _trace(cov) + _trace(target_cov) - 2 * cross_N
    return distance_N.clamp_min(0) / cov.shape[1]


def _ridged(matrix_NCC: Tensor) -> Tensor:
    size = matrix_NCC.shape[1]
    ridge_N = COVARIANCE_RIDGE * _trace(matrix_NCC) / size + 1e-12
    return matrix_NCC + ridge_N[:, None, None] * torch.eye(size, dtype=matrix_NCC.dtype)


def _trace(matrix_NCC: Tensor) -> Tensor:
    return matrix_NCC.diagonal(dim1=1, dim2=2).sum(1)
