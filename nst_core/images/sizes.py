"""Sizes of pictures: from their headers, and scaled to a longer side.

This module does not load torch: a launch checks every picture of its job before torch is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import InputError
from nst_core.images.decode import open_picture, upright_size
from nst_core.images.picture_source import check_is_file


def check_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Check a picture that is read later; return (width, height) in pixels after EXIF rotation.

    Raises:
        ImageError: as `load_image`, or it is a pipe, which could not be read again.
    """
    check_is_file(Path(path))
    with open_picture(Path(path)) as picture:
        return upright_size(picture)


def fit_size(width: int, height: int, size_px: int) -> tuple[int, int]:
    """Return (height, width) with a longer side of ``size_px`` and the aspect ratio of the input.

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
    """Return the same as `fit_size`, without a lower limit for the shorter side."""
    scale = size_px / max(width, height)
    return round(height * scale), round(width * scale)


def least_size_px(width: int, height: int) -> int:
    """Return the longer side at which the shorter side has `MIN_SIDE_PX` pixels."""
    return -(-MIN_SIDE_PX * max(width, height) // min(width, height))
