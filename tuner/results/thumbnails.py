"""Thumbnails: small copies of pictures for pages, sheets and notebooks."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from nst_core.errors import ImageError
from nst_core.images.decode import decode, open_picture


def thumbnail(path: Path, size_px: int) -> Image.Image | None:
    """Return a small copy of a picture: upright, in sRGB, transparent parts on white.

    Args:
        path: the picture file.
        size_px: maximum of the longer side; smaller pictures keep their size.

    Returns:
        An RGB image, or None if the file cannot be read as a picture.
    """
    try:
        with open_picture(path) as opened:
            # JPEG decodes to half, a quarter or an eighth of the size much faster than in full.
            opened.draft(opened.mode, (2 * size_px, 2 * size_px))
            colors_HW3, alpha_HW, _ = decode(opened)
    except ImageError:
        return None
    if alpha_HW is not None:
        colors_HW3 = 1 + (colors_HW3 - 1) * alpha_HW[..., None]
    picture = Image.fromarray((colors_HW3 * 255).round().astype("uint8"))
    picture.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
    return picture
