"""How near an image is to a reference. Pure functions first; each metric knows its direction.

Images are compared as they would be saved: clamped and rounded to 8 bit. No ranking by one of the
pixel metrics is to be trusted alone: SSIM always, PSNR and RMSE often, prefer the untouched content
to a good stylization, which is why the default objective is perceptual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from nst_core.extractors import Extractor, Normalizer
from nst_core.images import from_uint8, resize, to_uint8
from nst_core.metric_names import LPIPS_LAYERS
from nst_core.networks import Backbone
from nst_core.weights import Weights

#: PSNR of equal images is infinite; a table and a mean need a number.
PSNR_CAP_DB = 100.0

#: What a `Judge` reads.
METRIC_NETWORKS = ("alexnet", "lpips-alex")


def rmse(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Root mean square difference of uint8 images, in units of the range [0, 1]; 0 is equal."""
    difference = image_HW3.astype(np.float64) - reference_HW3.astype(np.float64)
    return float(np.sqrt(np.mean(np.square(difference)))) / 255


def psnr(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, capped at `PSNR_CAP_DB`; higher is nearer."""
    error = rmse(image_HW3, reference_HW3)
    return PSNR_CAP_DB if error == 0 else min(PSNR_CAP_DB, -20 * float(np.log10(error)))


def ssim(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Structural similarity of Wang et al. (IEEE TIP 2004), mean over channels; 1 is equal.

    Gaussian window of sigma 1.5 and population covariance as in the paper, data range 255.
    """
    return float(
        structural_similarity(
            image_HW3,
            reference_HW3,
            data_range=255,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


class Lpips:
    """LPIPS v0.1 of Zhang et al. (CVPR 2018, arXiv 1801.03924) with the AlexNet backbone.

    AlexNet, not VGG: a metric that reads the network being optimised would be gamed.

    Args:
        alexnet: weights of ``alexnet``.
        linear: weights of ``lpips-alex``, one non-negative factor per channel and layer.
        device: where to compute.
    """

    def __init__(self, alexnet: Weights, linear: Weights, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self._extractor = Extractor(Backbone("alexnet"), LPIPS_LAYERS, alexnet).to(self.device)
        self._linear = {layer: value.to(self.device) for layer, value in linear.items()}
        self._normalize = Normalizer(["imagenet"], torch.empty(0, device=self.device))

    def __call__(self, image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
        """Distance of two uint8 images of equal size; 0 is equal, about 0.7 unrelated."""
        return float(self.batch([image_HW3], [reference_HW3])[0])

    @torch.no_grad()
    def batch(self, images: list[np.ndarray], references: list[np.ndarray]) -> Tensor:
        """Distances of N pairs of one size, on the device -> distance_N."""
        pixels = torch.stack([from_uint8(image) for image in [*images, *references]])
        features = self._extractor(self._normalize(pixels.to(self.device)))
        total = torch.zeros(len(images), device=self.device)
        for layer, feat in features.items():
            unit = F.normalize(feat, dim=1, eps=1e-10)
            difference = (unit[: len(images)] - unit[len(images) :]).square()
            total += torch.einsum("nchw,c->nhw", difference, self._linear[layer]).mean(dim=(1, 2))
        return total


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Scores images by every metric of `metric_names.METRICS`.

    Attributes:
        lpips: the perceptual metric, which needs weights.
    """

    lpips: Lpips

    @classmethod
    def load(cls, weights: Callable[[str], Weights], device: torch.device | str = "cpu") -> Judge:
        """Build with ``weights``, which gives weights by name."""
        alexnet, linear = map(weights, METRIC_NETWORKS)
        return cls(lpips=Lpips(alexnet, linear, device))

    def score(self, image_HW3: np.ndarray, reference_HW3: np.ndarray) -> dict[str, float]:
        """Every metric of two uint8 images of equal size."""
        return self.score_all([image_HW3], [reference_HW3])[0]

    def score_all(
        self, images: Sequence[np.ndarray], references: Sequence[np.ndarray]
    ) -> list[dict[str, float]]:
        """Every metric of each image against its reference; LPIPS of images of one size at once."""
        found: dict[int, float] = {}
        for shape in {image.shape for image in images}:
            same = [index for index, image in enumerate(images) if image.shape == shape]
            distances = self.lpips.batch([images[i] for i in same], [references[i] for i in same])
            found.update(zip(same, distances.tolist(), strict=True))
        return [
            {"lpips": found[index], "ssim": ssim(*pair), "psnr": psnr(*pair), "rmse": rmse(*pair)}
            for index, pair in enumerate(zip(images, references, strict=True))
        ]


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
        "grey_reference": to_uint8(_grey(reference_3HW)),
    }


def _blur(image_3HW: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image_3HW.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(image_3HW[None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[..., None, :], groups=3)
    return F.conv2d(rows, kernel[..., :, None], groups=3)[0]


def _grey(image_3HW: Tensor) -> Tensor:
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=image_3HW.dtype)
    return torch.einsum("chw,c->hw", image_3HW, luma).expand(3, -1, -1)
