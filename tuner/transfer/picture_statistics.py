"""Picture statistics: numbers that describe the pictures of a pair, to find similar pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.losses.inputs import LossInputs

#: Longer side of the pictures that are measured, and the minimum of the shorter side, in pixels.
SIZE_PX, _MIN_SIDE_PX = 64, 8
#: Statistics of one image: brightness, contrast, colorfulness, edges at two scales. The spelling is
#: part of the format of recorded curves.
#: Names as they are stored in `curves.npz`.
_IMAGE_FEATURES = ("light", "contrast", "colour", "fine", "coarse")  # codespell:ignore colour
#: Statistics of a pair: those of the content, those of the style, and the distance of mean colors.
FEATURES = (
    *(f"content_{name}" for name in _IMAGE_FEATURES),
    *(f"style_{name}" for name in _IMAGE_FEATURES),
    "colour_distance",
)


def picture_features(inputs: LossInputs) -> list[float]:
    """Return the statistics of `FEATURES` of a pair.

    All of them have a similar scale: those that span orders of magnitude are logarithms. Pictures
    are scaled to `SIZE_PX` before, so that pairs of different sizes can be compared.

    Args:
        inputs: content and style images of the pair; only the first style image is used.
    """
    content_3HW, style_3HW = _scaled(inputs.content_3HW), _scaled(inputs.styles[0][0])
    color_distance = (content_3HW.mean((1, 2)) - style_3HW.mean((1, 2))).norm()
    return [*_image_features(content_3HW), *_image_features(style_3HW), float(color_distance)]


def _scaled(image_3HW: Tensor) -> Tensor:
    scale = SIZE_PX / max(image_3HW.shape[1:])
    size = [max(_MIN_SIDE_PX, round(side * scale)) for side in image_3HW.shape[1:]]
    return F.interpolate(image_3HW[None], size, mode="bicubic", antialias=True)[0]


def _image_features(image_3HW: Tensor) -> list[float]:
    """Return the statistics of `_IMAGE_FEATURES` of one image."""
    luma_HW = image_3HW.mean(0)
    opponent_2HW = torch.stack([image_3HW[0] - image_3HW[1], image_3HW[2] - luma_HW])
    return [
        float(luma_HW.mean()),
        _log(float(luma_HW.std())),
        _log(float(opponent_2HW.std((1, 2)).norm())),
        _log(_edges(luma_HW)),
        _log(_edges(F.avg_pool2d(luma_HW[None], 4)[0])),
    ]


def _edges(luma_HW: Tensor) -> float:
    """Return the mean absolute difference between neighboring pixels."""
    down, right = luma_HW.diff(dim=0).abs().mean(), luma_HW.diff(dim=1).abs().mean()
    return float(down + right) / 2


def _log(value: float) -> float:
    return float(torch.tensor(max(value, 1e-4)).log10())
