"""Statistics of a pair's pictures, by which similar pairs are found."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.losses.inputs import LossInputs

#: Longer side of the pictures that are looked at, and the shorter one at least.
SIZE_PX, _LEAST_PX = 64, 8
#: Of content and of style: brightness, contrast, colourfulness, edges at two scales; and how far
#: apart their colours are.
_OF_ONE = ("light", "contrast", "colour", "fine", "coarse")
FEATURES = (
    *(f"content_{name}" for name in _OF_ONE),
    *(f"style_{name}" for name in _OF_ONE),
    "colour_distance",
)


def picture_features(materials: LossInputs) -> list[float]:
    """The statistics of `FEATURES`, each of about the same size: logarithms of what spans decades.

    They are those of pictures with a longer side of `SIZE_PX`, whatever the size of the results, so
    that pairs compare. The first style image stands for all.
    """
    content_3HW, style_3HW = _small(materials.content_3HW), _small(materials.styles[0][0])
    apart = (content_3HW.mean((1, 2)) - style_3HW.mean((1, 2))).norm()
    return [*_of_one(content_3HW), *_of_one(style_3HW), float(apart)]


def _small(image_3HW: Tensor) -> Tensor:
    scale = SIZE_PX / max(image_3HW.shape[1:])
    size = [max(_LEAST_PX, round(side * scale)) for side in image_3HW.shape[1:]]
    return F.interpolate(image_3HW[None], size, mode="bicubic", antialias=True)[0]


def _of_one(image_3HW: Tensor) -> list[float]:
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
    """Mean size of the difference of neighbours."""
    down, right = luma_HW.diff(dim=0).abs().mean(), luma_HW.diff(dim=1).abs().mean()
    return float(down + right) / 2


def _log(value: float) -> float:
    return float(torch.tensor(max(value, 1e-4)).log10())
