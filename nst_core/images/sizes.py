"""Sizes of pictures, from their headers and by a longer side. No torch here.

A launch checks every picture that its job names before it loads anything heavy.
"""

from __future__ import annotations

import os
from pathlib import Path

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import InputError
from nst_core.images.decode import open_picture, upright_size
from nst_core.images.picture_source import check_is_file


def check_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Check a picture that is read later: (width, height) in pixels, EXIF rotation applied.

    Errors as `images.load_image`; also if it is a pipe, which could not be read again.
    """
    check_is_file(Path(path))
    with open_picture(Path(path)) as picture:
        return upright_size(picture)


def fit_size(width: int, height: int, size_px: int) -> tuple[int, int]:
    """(height, width) whose longer side is ``size_px`` and whose shape is that of the input.

    Raises:
        InputError: the shorter side would fall below `MIN_SIDE_PX`.
    """
    new_height, new_width = scaled_size(width, height, size_px)
    if min(new_height, new_width) < MIN_SIDE_PX:
        raise InputError(
            f"a {width}x{height} image at size_px {size_px} becomes {new_width}x{new_height}; the"
            f" shorter side must keep {MIN_SIDE_PX} px, so size_px must be at least"
            f" {least_size_px(width, height)}"
        )
    return new_height, new_width


def scaled_size(width: int, height: int, size_px: int) -> tuple[int, int]:
    """`fit_size` however short the shorter side becomes."""
    scale = size_px / max(width, height)
    return round(height * scale), round(width * scale)


def least_size_px(width: int, height: int) -> int:
    """The longer side with which an image of this shape has a shorter side of `MIN_SIDE_PX`."""
    return -(-MIN_SIDE_PX * max(width, height) // min(width, height))
