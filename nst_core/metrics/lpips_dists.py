"""Metrics that compare images as a network sees them: LPIPS and DISTS.

The features of a reference are remembered, so that scoring an image against a reference that came
before costs one forward pass of the image.
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

#: Keeps both ratios of DISTS finite where a channel is silent; the paper's c1 and c2.
DISTS_TINY = 1e-6


class Lpips:
    """LPIPS v0.1 of Zhang et al. (CVPR 2018, arXiv 1801.03924) with the AlexNet backbone.

    AlexNet, not VGG: a metric that reads the network being optimised would be gamed.

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
        """Distance of two uint8 images of equal size; 0 is equal, about 0.7 unrelated."""
        return self.of_all([image_HW3], [reference_HW3])[0]

    def of_all(self, images: Images, references: Images) -> list[float]:
        """Distance of each image to its reference; images of one size in one forward pass."""
        found: dict[int, float] = {}
        for shape in {image.shape for image in images}:
            same = [index for index, image in enumerate(images) if image.shape == shape]
            distances_N = self._batch([images[i] for i in same], [references[i] for i in same])
            found.update(zip(same, distances_N.tolist(), strict=True))
        return [found[index] for index in range(len(images))]

    @torch.no_grad()
    def _batch(self, images: Images, references: Images) -> Tensor:
        goals = [self._of_reference(reference) for reference in references]
        total_N = torch.zeros(len(images), device=self._device)
        for index, unit_NCHW in enumerate(self._features(images)):
            goal_NCHW = torch.cat([goal[index] for goal in goals])
            difference_NCHW = (unit_NCHW - goal_NCHW).square()
            weighted_NHW = torch.einsum("nchw,c->nhw", difference_NCHW, self._linear[index])
            total_N += weighted_NHW.mean(dim=(1, 2))
        return total_N

    @torch.no_grad()
    def _features(self, images: Images) -> list[Tensor]:
        """Unit vectors over the channels of each layer, unit_NCHW."""
        pixels_N3HW = torch.stack([from_uint8(image) for image in images]).to(self._device)
        features = self._extractor(self._normalize(pixels_N3HW))
        return [F.normalize(features[layer], dim=1, eps=1e-10) for layer in LPIPS_LAYERS]


class Dists:
    """DISTS of Ding et al. (TPAMI 2020, arXiv 2004.07728): texture and structure, on VGG16.

    Each channel of the pixels and of five layers is compared by its mean over the picture (texture)
    and by its correlation over the picture (structure). Texture counts seven times as much, so that
    the same texture elsewhere is nearer than a blur of what lies in its place.

    VGG16 is also the network that most stylizations descend on, and a Gram matrix is made of the
    very channels whose means are compared here: a Gram loss on VGG16 can game this metric, coming
    near by it without coming nearer to the eye. It is offered all the same, though not by default,
    as a second opinion that looks at the texture of a picture as a whole, where LPIPS goes from
    place to place: read it beside LPIPS, or tune stylizations on another network by it.

    Args:
        vgg16: weights of ``vgg16``.
        learned: weights of ``dists``: ``alpha`` of texture and ``beta`` of structure, each with one
            non-negative number for every channel, those of the pixels first.
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
        """Distance of two uint8 images of equal size; 0 is equal, about 0.4 unrelated."""
        return self.of_all([image_HW3], [reference_HW3])[0]

    def of_all(self, images: Images, references: Images) -> list[float]:
        """Distance of each image to its reference.

        One at a time: the features of an image are large, and its pass fills any device.
        """
        pairs = zip(images, references, strict=True)
        return [self._distance(self._features(a), self._of_reference(b)) for a, b in pairs]

    @torch.no_grad()
    def _features(self, image_HW3: np.ndarray) -> list[Tensor]:
        """The pixels and five layers, feat_CP over P positions."""
        pixels_N3HW = from_uint8(image_HW3)[None].to(self._device)
        features = self._extractor(self._normalize(pixels_N3HW))
        return [
            feat[0].flatten(1)
            for feat in (pixels_N3HW, *(features[layer] for layer in DISTS_LAYERS))
        ]

    @torch.no_grad()
    def _distance(self, image: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
        similar = [_texture_and_structure(a, b) for a, b in zip(image, reference, strict=True)]
        similarity = (torch.cat(similar, dim=1) * self._share_2K).sum()
        return max(0.0, 1 - float(similarity))


def _texture_and_structure(a_CP: Tensor, b_CP: Tensor) -> Tensor:
    """How alike each channel's means are, and how its values correlate -> similar_2C, float64."""
    mean_a, mean_b = a_CP.mean(1, keepdim=True), b_CP.mean(1, keepdim=True)
    apart_a, apart_b = a_CP - mean_a, b_CP - mean_b
    covariance = (apart_a * apart_b).mean(1).double()
    variances = (apart_a.square().mean(1) + apart_b.square().mean(1)).double()
    mean_a, mean_b = mean_a[:, 0].double(), mean_b[:, 0].double()
    texture = (2 * mean_a * mean_b + DISTS_TINY) / (mean_a**2 + mean_b**2 + DISTS_TINY)
    structure = (2 * covariance + DISTS_TINY) / (variances + DISTS_TINY)
    return torch.stack([texture, structure])
