"""LPIPS and DISTS: metrics that compare the features of images in a network.

The features of a reference are cached, so that another image with the same reference costs a single
forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.images.tensors import from_uint8
from nst_core.metrics.identity_cache import IdentityCache
from nst_core.networks.extractors import Extractor, Normalizer
from nst_core.networks.registry import DISTS_LAYERS, LPIPS_LAYERS, Backbone
from nst_core.networks.weights import Weights

Images = Sequence[np.ndarray]

#: Constants c1 and c2 of the DISTS paper, which keep both ratios finite if a channel is all zero.
DISTS_TINY = 1e-6


class Lpips:
    """LPIPS v0.1 of Zhang et al. (CVPR 2018, arXiv 1801.03924) with the AlexNet backbone.

    The backbone is not VGG, since an optimization on VGG features could exploit such a metric.

    Args:
        alexnet: weights of ``alexnet``.
        linear: weights of ``lpips-alex``, one non-negative factor per channel and layer.
        device: where to compute.
    """

    def __init__(self, alexnet: Weights, linear: Weights, device: torch.device | str = "cpu"):
        self._device = torch.device(device)
        self._extractor = Extractor(Backbone("alexnet"), LPIPS_LAYERS, alexnet).to(self._device)
        self._linear = [linear[layer].to(self._device) for layer in LPIPS_LAYERS]
        self._normalize = Normalizer(["imagenet"], torch.empty(0, device=self._device))
        self._of_reference = IdentityCache(lambda reference: self._features([reference]))

    def __call__(self, image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
        """Return the distance of two uint8 images of equal size: 0 equal, about 0.7 unrelated."""
        return self.of_all([image_HW3], [reference_HW3])[0]

    def of_all(self, images: Images, references: Images) -> list[float]:
        """Return each image's distance to its reference; images of one size share a pass."""
        distances: dict[int, float] = {}
        for shape in {image.shape for image in images}:
            same = [index for index, image in enumerate(images) if image.shape == shape]
            distances_N = self._batch([images[i] for i in same], [references[i] for i in same])
            distances.update(zip(same, distances_N.tolist(), strict=True))
        return [distances[index] for index in range(len(images))]

    @torch.no_grad()
    def _batch(self, images: Images, references: Images) -> Tensor:
        targets = [self._of_reference(reference) for reference in references]
        total_N = torch.zeros(len(images), device=self._device)
        for index, unit_NCHW in enumerate(self._features(images)):
            target_NCHW = torch.cat([target[index] for target in targets])
            difference_NCHW = (unit_NCHW - target_NCHW).square()
            weighted_NHW = torch.einsum("nchw,c->nhw", difference_NCHW, self._linear[index])
            total_N += weighted_NHW.mean(dim=(1, 2))
        return total_N

    @torch.no_grad()
    def _features(self, images: Images) -> list[Tensor]:
        """Return unit_NCHW of each layer: features scaled to unit vectors over the channels."""
        pixels_N3HW = torch.stack([from_uint8(image) for image in images]).to(self._device)
        features = self._extractor(self._normalize(pixels_N3HW))
        return [F.normalize(features[layer], dim=1, eps=1e-10) for layer in LPIPS_LAYERS]


class Dists:
    """DISTS of Ding et al. (TPAMI 2020, arXiv 2004.07728): texture and structure, on VGG16.

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
        self._device = torch.device(device)
        backbone = Backbone("vgg16", pooling="hann")
        self._extractor = Extractor(backbone, DISTS_LAYERS, vgg16).to(self._device)
        self._normalize = Normalizer(["imagenet"], torch.empty(0, device=self._device))
        both = torch.stack([learned[name].flatten() for name in ("alpha", "beta")]).double()
        self._share_2K = (both / both.sum()).to(self._device)
        self._of_reference = IdentityCache(self._features)

    def __call__(self, image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
        """Return the distance of two uint8 images of equal size: 0 equal, about 0.4 unrelated."""
        return self.of_all([image_HW3], [reference_HW3])[0]

    def of_all(self, images: Images, references: Images) -> list[float]:
        """Return each image's distance to its reference.

        Images are processed one at a time: features are large, and one image keeps a device busy.
        """
        pairs = zip(images, references, strict=True)
        return [self._distance(self._features(a), self._of_reference(b)) for a, b in pairs]

    @torch.no_grad()
    def _features(self, image_HW3: np.ndarray) -> list[Tensor]:
        """Return feat_CP of the pixels and of five layers, over P positions."""
        pixels_N3HW = from_uint8(image_HW3)[None].to(self._device)
        features = self._extractor(self._normalize(pixels_N3HW))
        return [
            feat[0].flatten(1)
            for feat in (pixels_N3HW, *(features[layer] for layer in DISTS_LAYERS))
        ]

    @torch.no_grad()
    def _distance(self, image: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
        similarities = [_texture_and_structure(a, b) for a, b in zip(image, reference, strict=True)]
        similarity = (torch.cat(similarities, dim=1) * self._share_2K).sum()
        return max(0.0, 1 - float(similarity))


def _texture_and_structure(a_CP: Tensor, b_CP: Tensor) -> Tensor:
    """Return similarity_2C, float64 in [-1, 1]: of each channel's means, and its correlation."""
    mean_a, mean_b = a_CP.mean(1, keepdim=True), b_CP.mean(1, keepdim=True)
    centered_a, centered_b = a_CP - mean_a, b_CP - mean_b
    covariance = (centered_a * centered_b).mean(1).double()
    variances = (centered_a.square().mean(1) + centered_b.square().mean(1)).double()
    mean_a, mean_b = mean_a[:, 0].double(), mean_b[:, 0].double()
    texture = (2 * mean_a * mean_b + DISTS_TINY) / (mean_a**2 + mean_b**2 + DISTS_TINY)
    structure = (2 * covariance + DISTS_TINY) / (variances + DISTS_TINY)
    return torch.stack([texture, structure])
