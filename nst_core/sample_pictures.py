"""Built-in sample pictures, with which a first run needs no files."""

from __future__ import annotations

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from nst_core.images.tensors import from_uint8

#: Colors of a field at dusk, from the night sky at the top to the ground at the bottom.
_PALETTE = (
    *((16, 30, 84), (28, 58, 138), (58, 106, 178), (120, 164, 196), (232, 206, 92)),
    *((238, 176, 46), (206, 120, 32), (150, 74, 30), (86, 98, 40), (44, 66, 36)),
)


def sample_content() -> Tensor:
    """Return a photo of a cat (scikit-image's ``chelsea``, CC0), 451x300 pixels."""
    return from_uint8(skimage.data.chelsea())


def sample_photo() -> Tensor:
    """Return a photo of a cup on a wooden table (scikit-image's ``coffee``, CC0), 600x400."""
    return from_uint8(skimage.data.coffee())


def sample_style(size_px: int = 384, seed: int = 0) -> Tensor:
    """Draw a picture like a painting: brush strokes along a swirling flow.

    There are three layers of strokes, the widest first. A stroke follows the flow at its position
    and has the palette's color for its height in the picture; some have a random color.

    Args:
        size_px: side of the square picture in pixels.
        seed: seed of positions and colors.
    """
    rng = np.random.default_rng(seed)
    side = 2 * size_px  # scaled down at the end, which smooths the edges of strokes
    canvas = Image.new("RGB", (side, side), _PALETTE[4])
    draw = ImageDraw.Draw(canvas)
    vortices = rng.uniform([0, 0, -1], [1, 1, 1], size=(7, 3))
    for width, count in ((side // 26, 900), (side // 48, 1800), (side // 90, 2600)):
        for x, y in rng.uniform(0, 1, size=(count, 2)):
            _stroke(draw, rng, side, x, y, width, vortices)
    canvas = canvas.filter(ImageFilter.GaussianBlur(0.6))
    canvas = canvas.resize((size_px, size_px), Image.Resampling.LANCZOS)
    grain = rng.normal(0, 5, size=(size_px, size_px, 1))
    pixels = np.clip(np.asarray(canvas, dtype=np.float64) + grain, 0, 255)
    return from_uint8(pixels.astype(np.uint8))


def _stroke(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    side: int,
    x: float,
    y: float,
    width: int,
    vortices: np.ndarray,
) -> None:
    height = np.clip(y + rng.normal(0, 0.09), 0, 0.999)
    base = np.array(_PALETTE[int(height * len(_PALETTE))])
    if rng.random() < 0.12:
        base = np.array(_PALETTE[rng.integers(len(_PALETTE))])
    color = tuple(int(c) for c in np.clip(base + rng.normal(0, 16, 3), 0, 255))
    points = [(x, y)]
    for _ in range(6):
        x, y = np.array([x, y]) + 0.014 * _flow(x, y, vortices)
        points.append((x, y))
    draw.line([(px * side, py * side) for px, py in points], fill=color, width=width, joint="curve")


def _flow(x: float, y: float, vortices: np.ndarray) -> np.ndarray:
    """Return the unit direction of the brush: a flow from the left, bent around the vortices."""
    dx, dy = x - vortices[:, 0], y - vortices[:, 1]
    pull = vortices[:, 2] * np.exp(-(dx**2 + dy**2) / 0.02) * 6
    distance = np.hypot(dx, dy) + 1e-6
    direction = np.array(
        [1.0 + np.sum(-dy / distance * pull), 0.25 * np.sin(9 * x) + np.sum(dx / distance * pull)]
    )
    unit: np.ndarray = direction / (np.hypot(*direction) + 1e-9)
    return unit
