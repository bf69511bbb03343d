"""MetricSuite: scores that compare images with references; metrics without a network.

Images are compared as they would be saved: clamped and rounded to 8 bits. Do not rely on a single
pixel metric: SSIM always, PSNR and RMSE often, prefer the untouched content to a good stylization.
The default objective is therefore a perceptual metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor

from nst_core.metrics.identity_cache import IdentityCache
from nst_core.metrics.lpips_dists import Dists, Images, Lpips
from nst_core.metrics.registry import DEFAULT_METRICS, METRICS
from nst_core.networks.weights import Weights

#: PSNR of equal images, which is infinite by definition; tables and means need a finite number.
PSNR_CAP_DB = 100.0

#: Number of directions in CIE Lab along which colors are compared. With 16, the distance of two
#: colors depends on their direction by at most 7 %.
COLOR_DIRECTIONS = 16
#: Number of histogram bins along each direction, and their range ±160 Lab units, which contains all
#: sRGB colors.
COLOR_BINS, COLOR_RANGE_LAB = 1280, 160.0
#: Approximate number of pixels that represent an image; larger images are subsampled.
COLOR_PIXELS = 2**16

#: Standard deviation of the gradient magnitude, for levels from 0 to 255, below which an image has
#: no edges.
FLAT = 1e-3

#: A metric of one image: (image, image to compare with) -> score.
Compare = Callable[[np.ndarray, np.ndarray], float]
#: A metric of many images: (images, image to compare with for each) -> score of each.
Measure = Callable[[Images, Images], Sequence[float]]


def rmse(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return the root mean squared difference of uint8 images, scaled to [0, 1]; 0 is equal."""
    difference = image_HW3.astype(np.float64) - reference_HW3.astype(np.float64)
    return float(np.sqrt(np.mean(np.square(difference)))) / 255


def psnr(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 images in dB, at most `PSNR_CAP_DB`."""
    error = rmse(image_HW3, reference_HW3)
    return PSNR_CAP_DB if error == 0 else min(PSNR_CAP_DB, -20 * float(np.log10(error)))


def ssim(image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
    """Return the structural similarity of uint8 images, mean over channels; 1 is equal.

    As in Wang et al. (IEEE TIP 2004): Gaussian window with sigma 1.5, population covariance; data
    range 255.
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


def edges(image_HW3: np.ndarray, content_HW3: np.ndarray) -> float:
    """Return the share of the content's edges that an image keeps: 1 is all of them, 0 none.

    The share is the correlation of gradient magnitudes (Sobel filter on luma); negative values
    count as 0. Both images are blurred first, with a standard deviation of 1/256 of the longer
    side, at least 1 px: strokes move edges a little, and fine texture is not an edge of the
    content. If an image has no edges at all, the result is 1 if the other has none either, else 0.

    Args:
        image_HW3: uint8 image.
        content_HW3: uint8 content image of the same size.
    """
    gradients = np.stack([_gradient(image).ravel() for image in (image_HW3, content_HW3)])
    flat = gradients.std(axis=1) < FLAT
    if flat.any():
        return float(flat.all())
    return float(np.corrcoef(gradients)[0, 1].clip(0, 1))


def _gradient(image_HW3: np.ndarray) -> np.ndarray:
    """Return gradient_HW, the gradient magnitude of the slightly blurred luma."""
    luma_HW = cv2.cvtColor(image_HW3.astype(np.float32), cv2.COLOR_RGB2GRAY)
    blurred_HW = cv2.GaussianBlur(luma_HW, (0, 0), max(1.0, max(luma_HW.shape) / 256))
    across_HW, down_HW = (cv2.Sobel(blurred_HW, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return cv2.magnitude(across_HW, down_HW)


class ColorDistance:
    """Distance between the colors of two images, wherever in the image they occur.

    The distance is a sliced Wasserstein distance (Rabin, Peyré, Delon & Bernot, SSVM 2011) of
    colors as points in CIE Lab. Along each direction, it measures how far the colors of one image
    must move to become those of the other. The result is twice the mean over the directions, which
    equals the length of the movement if all colors move in the same way.

    Unlike CIEDE2000 of pixels, even of blurred images, the distance does not depend on positions: a
    stylization with the right colors but other strokes is close. Histograms of references are
    cached.
    """

    def __init__(self) -> None:
        self._of_reference = IdentityCache(lambda image: [_color_shares(image)])

    def __call__(self, image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
        """Return the distance of uint8 images in Lab units: 0 equal, about 2 barely visible."""
        (reference_DB,) = self._of_reference(reference_HW3)
        between = (_color_shares(image_HW3) - reference_DB).cumsum(dim=1).abs().sum(dim=1).mean()
        return 2 * float(between) * 2 * COLOR_RANGE_LAB / COLOR_BINS


def _color_shares(image_HW3: np.ndarray) -> Tensor:
    """Return share_DB, float64: the share of pixels in each histogram bin along each direction."""
    height, width, _ = image_HW3.shape
    stride = math.ceil(math.sqrt(height * width / COLOR_PIXELS))
    sample_HW3 = image_HW3[::stride, ::stride].astype(np.float32) / 255
    lab_P3 = torch.from_numpy(rgb2lab(sample_HW3)).view(-1, 3)
    along_DP = _directions() @ lab_P3.T
    reach = COLOR_RANGE_LAB
    counts = [torch.histc(along_P, COLOR_BINS, -reach, reach) for along_P in along_DP]
    return torch.stack(counts).double() / len(lab_P3)


def _directions() -> Tensor:
    """Return direction_D3: unit vectors spread evenly over a half sphere by the golden angle."""
    turns = torch.arange(COLOR_DIRECTIONS) + 0.5
    up = turns / COLOR_DIRECTIONS
    angle, out = turns * (math.pi * (3 - math.sqrt(5))), (1 - up.square()).sqrt()
    return torch.stack([up, out * angle.cos(), out * angle.sin()], dim=1)


@dataclass(frozen=True, kw_only=True)
class MetricSuite:
    """Computes several metrics of `registry.METRICS`.

    References must not be changed after a call, since results for a reference array are cached.

    Attributes:
        measures: functions that compute the metrics, by name.
    """

    measures: Mapping[str, Measure]

    @classmethod
    def load(
        cls,
        weights: Callable[[str], Weights],
        device: torch.device | str = "cpu",
        *,
        metrics: Iterable[str] = DEFAULT_METRICS,
    ) -> MetricSuite:
        """Return a suite of some metrics.

        Args:
            weights: returns network weights by name; called only for weights that are needed.
            device: where networks run.
            metrics: names of metrics.
        """
        networks: Mapping[str, type[Lpips | Dists]] = {"lpips": Lpips, "dists": Dists}
        functions: Mapping[str, Compare] = {
            **{"ssim": ssim, "psnr": psnr, "rmse": rmse, "edges": edges},
            "color": ColorDistance(),
        }
        measures: dict[str, Measure] = {}
        for name in metrics:
            if name in networks:
                network, learned = map(weights, METRICS[name].weights)
                measures[name] = networks[name](network, learned, device).of_all
            else:
                measures[name] = _one_by_one(functions[name])
        return cls(measures=measures)

    def score(
        self,
        image_HW3: np.ndarray,
        reference_HW3: np.ndarray,
        content_HW3: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return the metrics of one image by name; see `score_all`."""
        contents = None if content_HW3 is None else [content_HW3]
        return self.score_all([image_HW3], [reference_HW3], contents)[0]

    def score_all(
        self, images: Images, references: Images, contents: Images | None = None
    ) -> list[dict[str, float]]:
        """Return the metrics of each image by name.

        Args:
            images: uint8 images HW3.
            references: reference of each image, of the same size.
            contents: untouched content of each image, of the same size; None: metrics against the
                content are left out.
        """
        compared_with = {"reference": references, "content": contents}
        scores: dict[str, Sequence[float]] = {}
        for name, measure in self.measures.items():
            others = compared_with[METRICS[name].against]
            if others is not None:
                scores[name] = measure(images, others)
        return [
            {name: values[index] for name, values in scores.items()} for index in range(len(images))
        ]


def _one_by_one(compare: Compare) -> Measure:
    return lambda images, others: [compare(a, b) for a, b in zip(images, others, strict=True)]
