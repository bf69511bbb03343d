"""How near an image is to a reference. Pure functions first; each metric knows its direction.

Images are compared as they would be saved: clamped and rounded to 8 bit. No ranking by one of the
pixel metrics is to be trusted alone: SSIM always, PSNR and RMSE often, prefer the untouched content
to a good stylization, which is why the default objective is perceptual.
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

#: PSNR of equal images is infinite; a table and a mean need a number.
PSNR_CAP_DB = 100.0

#: Directions in Lab along which colours are compared; with 16, which way colours are apart changes
#: the distance by 7 % at most.
COLOR_DIRECTIONS = 16
#: Bins of the histogram along one, and what of it they cover: no colour of sRGB is farther out.
COLOR_BINS, COLOR_RANGE_LAB = 1280, 160.0
#: Of larger images every second, third … pixel tells as much about colours.
COLOR_PIXELS = 2**16

#: Spread of the gradient, of levels from 0 to 255, below which an image has no edges.
FLAT = 1e-3

#: A metric of one image: the image, and what it is compared with.
Compare = Callable[[np.ndarray, np.ndarray], float]
#: A metric of many images: the images, and what each is compared with -> a score for each.
Measure = Callable[[Images, Images], Sequence[float]]


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


def edges(image_HW3: np.ndarray, content_HW3: np.ndarray) -> float:
    """How much of the content's edges an image of its size keeps: 1 is all of them, 0 is none.

    The correlation of the gradients' magnitudes (Sobel, of the luma), where images whose edges
    avoid each other count as unrelated. A blur of 1/256 of the longer side, 1 px at least, comes
    before: strokes move edges a little, and fine texture is no edge of the content. Of two images
    one of which has no edges, 1 if neither has.
    """
    gradients = np.stack([_gradient(image).ravel() for image in (image_HW3, content_HW3)])
    flat = gradients.std(axis=1) < FLAT
    if flat.any():
        return float(flat.all())
    return float(np.corrcoef(gradients)[0, 1].clip(0, 1))


def _gradient(image_HW3: np.ndarray) -> np.ndarray:
    """Magnitude of the gradient of the slightly blurred luma, gradient_HW."""
    luma_HW = cv2.cvtColor(image_HW3.astype(np.float32), cv2.COLOR_RGB2GRAY)
    blurred_HW = cv2.GaussianBlur(luma_HW, (0, 0), max(1.0, max(luma_HW.shape) / 256))
    across_HW, down_HW = (cv2.Sobel(blurred_HW, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return cv2.magnitude(across_HW, down_HW)


class ColorDistance:
    """How far apart the colours of two images are, wherever in the image they occur.

    A sliced Wasserstein distance (Rabin, Peyré, Delon & Bernot, SSVM 2011) of the colours as points
    of CIE Lab: the mean over directions of how far colours have to be moved along each for one
    image to become the other, times two, so that it is as long as the way where all move alike.
    Unlike CIEDE2000 pixel by pixel, even of blurred images, it does not mind where a colour lies:
    a stylization in the right colours and other strokes is near. What of the reference is needed is
    remembered.
    """

    def __init__(self) -> None:
        self._of_reference = IdentityCache(lambda image: [_color_shares(image)])

    def __call__(self, image_HW3: np.ndarray, reference_HW3: np.ndarray) -> float:
        """Distance of uint8 images in Lab units: 0 for equal colours; 2 is just seen."""
        (goal,) = self._of_reference(reference_HW3)
        between = (_color_shares(image_HW3) - goal).cumsum(dim=1).abs().sum(dim=1).mean()
        return 2 * float(between) * 2 * COLOR_RANGE_LAB / COLOR_BINS


def _color_shares(image_HW3: np.ndarray) -> Tensor:
    """Share of the image's pixels in each bin along each direction, share_DB, float64."""
    height, width, _ = image_HW3.shape
    stride = math.ceil(math.sqrt(height * width / COLOR_PIXELS))
    some_HW3 = image_HW3[::stride, ::stride].astype(np.float32) / 255
    lab_P3 = torch.from_numpy(rgb2lab(some_HW3)).view(-1, 3)
    along_DP = _directions() @ lab_P3.T
    reach = COLOR_RANGE_LAB
    counts = [torch.histc(along_P, COLOR_BINS, -reach, reach) for along_P in along_DP]
    return torch.stack(counts).double() / len(lab_P3)


def _directions() -> Tensor:
    """Unit vectors spread evenly over a half sphere, by the golden angle -> direction_D3."""
    turns = torch.arange(COLOR_DIRECTIONS) + 0.5
    up = turns / COLOR_DIRECTIONS
    angle, out = turns * (math.pi * (3 - math.sqrt(5))), (1 - up.square()).sqrt()
    return torch.stack([up, out * angle.cos(), out * angle.sin()], dim=1)


@dataclass(frozen=True, kw_only=True)
class MetricSuite:
    """Scores images by chosen metrics of `metric_names.METRICS`.

    Arrays that it is given must not be written to afterwards: what belongs to a reference is kept
    for the next image that is compared with the same array.

    Attributes:
        measures: how each of the chosen metrics is computed, by its name.
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
        """Build with ``weights``, which gives weights by name; only what is asked for is loaded."""
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
        """The metrics of one image; see `score_all`."""
        contents = None if content_HW3 is None else [content_HW3]
        return self.score_all([image_HW3], [reference_HW3], contents)[0]

    def score_all(
        self, images: Images, references: Images, contents: Images | None = None
    ) -> list[dict[str, float]]:
        """The metrics of each image.

        Args:
            images: uint8 HW3.
            references: what each is compared with, of its size.
            contents: the untouched content of each, of its size; without them, metrics against the
                content are left out.
        """
        goals = {"reference": references, "content": contents}
        found: dict[str, Sequence[float]] = {}
        for name, measure in self.measures.items():
            goal = goals[METRICS[name].against]
            if goal is not None:
                found[name] = measure(images, goal)
        return [
            {name: scores[index] for name, scores in found.items()} for index in range(len(images))
        ]


def _one_by_one(compare: Compare) -> Measure:
    return lambda images, goals: [compare(a, b) for a, b in zip(images, goals, strict=True)]
