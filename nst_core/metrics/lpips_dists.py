"""LPIPS and DISTS: metrics that compare the features of images in a network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.metrics.measure import Features, Measure, pixels
from nst_core.networks.extractors import Extractor, Normalizer
from nst_core.networks.registry import DISTS_LAYERS, LPIPS_LAYERS, Backbone
from nst_core.networks.weights import Weights

#: Constants c1 and c2 of the DISTS paper, which keep both ratios finite if a channel is all zero.
DISTS_TINY = 1e-6


class Lpips(Measure):
    """LPIPS v0.1 of Zhang et al. (CVPR 2018, arXiv 1801.03924) with the AlexNet backbone.

    The distance is 0 for equal images and about 0.7 for unrelated ones.

    The backbone is not VGG, since an optimization on VGG features could exploit such a metric.

    Args:
        alexnet: weights of ``alexnet``.
        linear: weights of ``lpips-alex``, one non-negative factor per channel and layer.
        device: where to compute.
    """

    #: A batch of 4 images of 256 px takes a fifth less time per image.
    batched_on_cpu = True

    def __init__(self, alexnet: Weights, linear: Weights, device: torch.device | str = "cpu"):
        super().__init__(device)
        self._extractor = Extractor(Backbone("alexnet"), LPIPS_LAYERS, alexnet).to(self.device)
        self._linear = [linear[layer].to(self.device) for layer in LPIPS_LAYERS]
        self._normalize = Normalizer(["imagenet"], torch.empty(0, device=self.device))

    def _features(self, level_N3HW: Tensor) -> Features:
        """Return unit_NCHW of each layer: features scaled to unit vectors over the channels."""
        features = self._extractor(self._normalize(pixels(level_N3HW)))
        return unit_features([features[layer] for layer in LPIPS_LAYERS])

    def _compare(self, images: Features, reference: Features) -> Tensor:
        return weighted_distance(images, reference, self._linear)


def unit_features(features: Features) -> Features:
    """Return unit_NCHW of each feat_NCHW: features scaled to unit vectors over the channels."""
    return [F.normalize(feat_NCHW, dim=1, eps=1e-10) for feat_NCHW in features]


def weighted_distance(images: Features, reference: Features, factors: Features) -> Tensor:
    """Return distance_N: squared differences, averaged over places, times factors, and summed.

    Args:
        images: unit_NCHW of each layer.
        reference: unit_1CHW of each layer.
        factors: factor_C of each layer, not negative.
    """
    distances = [
        ((a_NCHW - b_1CHW).square_().mean(dim=(2, 3)) * factor_C).sum(1)
        for a_NCHW, b_1CHW, factor_C in zip(images, reference, factors, strict=True)
    ]
    return torch.stack(distances).sum(0)


class Dists(Measure):
    """DISTS of Ding et al. (TPAMI 2020, arXiv 2004.07728): texture and structure, on VGG16.

    The distance is 0 for equal images and about 0.4 for unrelated ones.

    The metric compares each channel of the pixels and of five layers by its mean over the image
    (texture) and by its correlation over the image (structure). Texture has seven times the weight,
    so that the same texture at another place is closer than a blur of the original.

    Most stylizations also optimize VGG16 features, and a Gram matrix contains the very channels
    whose means are compared here. A Gram loss on VGG16 can therefore improve this metric without an
    improvement that people see. The metric is available, but not computed by default, as a second
    opinion: it compares the texture of whole images, while LPIPS compares place by place. Read it
    together with LPIPS, or use it for stylizations on another network.

    Args:
        vgg16: weights of ``vgg16``.
        learned: weights of ``dists``: ``alpha`` for texture and ``beta`` for structure, each with
            one non-negative number per channel, pixels first.
        device: where to compute.
    """

    def __init__(self, vgg16: Weights, learned: Weights, device: torch.device | str = "cpu"):
        super().__init__(device)
        backbone = Backbone("vgg16", pooling="hann")
        self._extractor = Extractor(backbone, DISTS_LAYERS, vgg16).to(self.device)
        self._normalize = Normalizer(["imagenet"], torch.empty(0, device=self.device))
        both = torch.stack([learned[name].flatten() for name in ("alpha", "beta")]).double()
        self._share_2K = (both / both.sum()).to(self.device)

    def _features(self, level_N3HW: Tensor) -> Features:
        """Return feat_NCP of the pixels and of five layers, over P positions."""
        pixel_N3HW = pixels(level_N3HW)
        features = self._extractor(self._normalize(pixel_N3HW))
        return [f.flatten(2) for f in (pixel_N3HW, *(features[layer] for layer in DISTS_LAYERS))]

    def _compare(self, images: Features, reference: Features) -> Tensor:
        pairs = zip(images, reference, strict=True)
        similarity_N2K = torch.cat([_texture_and_structure(a, b) for a, b in pairs], dim=2)
        return (1 - (similarity_N2K * self._share_2K).sum(dim=(1, 2))).clamp_min(0)


def _texture_and_structure(a_NCP: Tensor, b_1CP: Tensor) -> Tensor:
    """Return similarity_N2C, float64 in [-1, 1]: of each channel's means, and its correlation."""
    mean_a, mean_b = (values.mean(2, keepdim=True) for values in (a_NCP, b_1CP))
    centered_a, centered_b = a_NCP - mean_a, b_1CP - mean_b
    covariance = (centered_a * centered_b).mean(2).double()
    variances = (centered_a.square().mean(2) + centered_b.square().mean(2)).double()
    mean_a, mean_b = mean_a[..., 0].double(), mean_b[..., 0].double()
    texture = (2 * mean_a * mean_b + DISTS_TINY) / (mean_a**2 + mean_b**2 + DISTS_TINY)
    structure = (2 * covariance + DISTS_TINY) / (variances + DISTS_TINY)
    return torch.stack([texture, structure], dim=1)
