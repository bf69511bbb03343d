"""Magenta's networks as a stylizer in Python: one pass, with two strengths.

Needs the extra: pip install 'nst-tuner[feed-forward]'
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from nst_core.feed_forward.magenta import feed_forward
from nst_core.images.tensors import from_uint8, resize, to_uint8
from tuner.stylizers.protocol import Params, Picture

#: The network sees so many pixels of a style image.
SEEN_PX = 256


class Magenta:
    """The networks; they are loaded with the first picture."""

    def open(
        self, content: Picture, styles: Sequence[Picture], size_px: int, device: str
    ) -> "MagentaSession":
        """Return a session for one pair."""
        return MagentaSession(content, styles)


class MagentaSession:
    """The networks with the pictures of one pair."""

    def __init__(self, content: Picture, styles: Sequence[Picture]):
        self.content_3HW = from_uint8(content)
        self.styles = [from_uint8(np.asarray(style)) for style in styles]

    def start(self, params: Params, seed: int) -> Iterator[tuple[int, Picture]]:
        """Yield one picture.

        ``strength`` interpolates between the content's own vector and that of the style;
        ``style_px`` is the size of the style image: a larger one has larger strokes.
        """
        side = int(params["style_px"])
        styles = [(seen(style_3HW, side), 1.0) for style_3HW in self.styles]
        image_3HW = feed_forward(self.content_3HW, styles, strength=float(params["strength"]))
        yield 1, to_uint8(image_3HW)


def seen(style_3HW: torch.Tensor, side: int) -> torch.Tensor:
    """Return what the network sees of a style image that is ``side`` pixels large."""
    square = min(style_3HW.shape[1:])
    top, left = ((length - square) // 2 for length in style_3HW.shape[1:])
    resized = resize(style_3HW[:, top : top + square, left : left + square], side, side)
    if side >= SEEN_PX:
        cut = (side - SEEN_PX) // 2
        return resized[:, cut : cut + SEEN_PX, cut : cut + SEEN_PX]
    while resized.shape[1] < SEEN_PX:  # mirror it until it is large enough
        border = min(resized.shape[1] - 1, SEEN_PX - resized.shape[1])
        resized = F.pad(resized[None], (0, border, 0, border), mode="reflect")[0]
    return resized
