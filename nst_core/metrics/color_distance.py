"""ColorDistance: how far the colors of two images are apart, wherever they occur."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nst_core.metrics.measure import Features, Measure

#: Number of directions in CIE Lab along which colors are compared. With 16, the distance of two
#: colors depends on their direction by at most 7 %.
COLOR_DIRECTIONS = 16
#: Number of histogram bins along each direction, and their range ±160 Lab units, which contains all
#: sRGB colors.
COLOR_BINS, COLOR_RANGE_LAB = 1280, 160.0
#: Approximate number of pixels that represent an image; larger images are subsampled.
COLOR_PIXELS = 2**16

#: Rows X, Y and Z of the matrix from linear sRGB (IEC 61966-2-1), and the white point D65 of the
#: 2° observer; the same numbers as in scikit-image.
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE_XYZ = (0.95047, 1.0, 1.08883)


class ColorDistance(Measure):
    """Distance between the colors of two images in Lab units: 0 equal, about 2 barely visible.

    The distance is a sliced Wasserstein distance (Rabin, Peyré, Delon & Bernot, SSVM 2011) of
    colors as points in CIE Lab. Along each direction, it measures how far the colors of one image
    must move to become those of the other. The result is twice the mean over the directions, which
    equals the length of the movement if all colors move in the same way.

    Unlike CIEDE2000 of pixels, even of blurred images, the distance does not depend on positions: a
    stylization with the right colors but other strokes is close.
    """

    def _features(self, level_N3HW: Tensor) -> Features:
        """Return share_NDB, float64: the share of pixels up to each bin along each direction."""
        height, width = level_N3HW.shape[2:]
        stride = math.ceil(math.sqrt(height * width / COLOR_PIXELS))
        lab_N3P = lab(level_N3HW[:, :, ::stride, ::stride].flatten(2))
        count_NDB = _histograms(lab_N3P, _directions(lab_N3P.device))
        return [count_NDB.cumsum(dim=2, dtype=torch.float64) / lab_N3P.shape[2]]

    def _compare(self, images: Features, reference: Features) -> Tensor:
        between_N = (images[0] - reference[0]).abs().sum(dim=2).mean(dim=1)
        return 2 * between_N * 2 * COLOR_RANGE_LAB / COLOR_BINS


def lab(level_N3P: Tensor) -> Tensor:
    """Return CIE Lab colors lab_N3P, float32, of sRGB levels from 0 to 255 (uint8)."""
    coded_L = torch.arange(256, device=level_N3P.device) / 255
    linear_L = torch.where(coded_L > 0.04045, ((coded_L + 0.055) / 1.055) ** 2.4, coded_L / 12.92)
    red, green, blue = linear_L[level_N3P.int()].unbind(1)
    x, y, z = (
        _lab_curve((of_red * red + of_green * green + of_blue * blue) / white)
        for (of_red, of_green, of_blue), white in zip(XYZ_FROM_RGB, WHITE_XYZ, strict=True)
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _lab_curve(share: Tensor) -> Tensor:
    """Return the cube root of a share of white, and CIE's straight line for dark colors."""
    return torch.where(share > 0.008856, share ** (1 / 3), 7.787 * share + 16 / 116)


def _histograms(lab_N3P: Tensor, direction_D3: Tensor) -> Tensor:
    """Return count_NDB: the number of pixels in each bin along each direction."""
    if lab_N3P.device.type == "cpu":  # 5 times faster than a sum by index
        counts = [
            torch.bincount(_bins(direction_3 @ lab_3P), minlength=COLOR_BINS)
            for lab_3P in lab_N3P
            for direction_3 in direction_D3
        ]
        return torch.stack(counts).view(-1, COLOR_DIRECTIONS, COLOR_BINS)
    bin_NDP = _bins(direction_D3 @ lab_N3P).long()
    ones = torch.ones((), dtype=torch.int32, device=lab_N3P.device).expand_as(bin_NDP)
    count_NDB = torch.zeros(
        *bin_NDP.shape[:2], COLOR_BINS, dtype=torch.int32, device=lab_N3P.device
    )
    return count_NDB.scatter_add_(2, bin_NDP, ones)


def _bins(along: Tensor) -> Tensor:
    """Return the histogram bin of positions along a direction, which are overwritten."""
    return along.add_(COLOR_RANGE_LAB).mul_(COLOR_BINS / (2 * COLOR_RANGE_LAB)).int()


def _directions(device: torch.device) -> Tensor:
    """Return direction_D3: unit vectors spread evenly over a half sphere by the golden angle."""
    turns = torch.arange(COLOR_DIRECTIONS, device=device) + 0.5
    up = turns / COLOR_DIRECTIONS
    angle, out = turns * (math.pi * (3 - math.sqrt(5))), (1 - up.square()).sqrt()
    return torch.stack([up, out * angle.cos(), out * angle.sin()], dim=1)
