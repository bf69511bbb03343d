"""Pictures made small, to be shown."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from nst_core.errors import ImageError
from nst_core.images.decode import decode, open_picture


def thumbnail(path: Path, size_px: int) -> Image.Image | None:
    """A picture upright, in sRGB, on white where it is transparent; None if it cannot be read.

    Args:
        path: its file.
        size_px: longer side, unless it is smaller anyway.
    """
    try:
        with open_picture(path) as opened:
            opened.draft(opened.mode, (2 * size_px, 2 * size_px))  # of a photo all is not needed
            colors_HW3, alpha_HW, _ = decode(opened)
    except ImageError:
        return None
    if alpha_HW is not None:
        colors_HW3 = 1 + (colors_HW3 - 1) * alpha_HW[..., None]
    shown = Image.fromarray((colors_HW3 * 255).round().astype("uint8"))
    shown.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
    return shown
