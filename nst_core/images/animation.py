"""Animations: the steps of a stylization as an animated GIF or WebP."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from nst_core.errors import ImageError
from nst_core.images.encode import MADE_BY, check_place, write_picture

#: The last frame, the result, is shown this much longer than the others.
HOLD_SECONDS = 1.0

#: Viewers slow down animations with shorter frames, so some frames are left out instead.
_MIN_FRAME_MS = 20

#: Durations in a GIF are multiples of this.
_TICK_MS = 10

#: One color fewer than a GIF holds: Pillow uses the last one for unchanged pixels, which makes the
#: file smaller.
_GIF_COLORS = 255

#: The palette is computed from about this many pixels of all frames, which takes seconds.
_PALETTE_PIXELS = 300_000

_FORMATS = {".gif": "GIF", ".webp": "WEBP"}


def check_animation_path(path: str | os.PathLike[str], size: int = 0) -> None:
    """Raise ImageError if `save_animation` cannot write this file of about ``size`` bytes.

    Call it before long work.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ImageError(
            f"{path}: cannot save an animation as `{path.suffix}`; use {', '.join(_FORMATS)}"
        )
    check_place(path, size)


def save_animation(
    frames: Sequence[np.ndarray], path: str | os.PathLike[str], *, seconds: float = 5.0
) -> None:
    """Write frames atomically as a .gif or .webp that repeats forever.

    Args:
        frames: uint8 HW3, all of one size; the last one is shown `HOLD_SECONDS` longer.
        path: .gif or .webp. A GIF has 255 colors, chosen for all frames together.
        seconds: time in which all frames are shown, > 0. If frames would be shown for less than
            20 ms, evenly spaced frames are kept.

    Raises:
        ImageError: as `check_animation_path`; there are no frames, they differ in size, or the
            format cannot hold frames of this size.
    """
    path = Path(path)
    check_animation_path(path)
    if len({frame.shape for frame in frames}) != 1:
        raise ImageError(f"{path}: an animation needs one frame or more, all of the same size")
    frames = _thinned(frames, int(seconds * 1000 / _MIN_FRAME_MS))
    pictures = [Image.fromarray(frame) for frame in frames]
    form = _FORMATS[path.suffix.lower()]
    try:
        content = _encode(pictures, form, _durations_ms(len(pictures), seconds))
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        width, height = pictures[0].size
        raise ImageError(f"{path}: {form} cannot hold {width}x{height} frames ({error})") from None
    write_picture(path, content)


def _encode(pictures: list[Image.Image], form: str, durations_ms: list[int]) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = MADE_BY
    options: dict[str, Any] = {"quality": 90, "exif": exif.tobytes()}
    if form == "GIF":
        pictures, options = _with_one_palette(pictures), {"optimize": True, "comment": MADE_BY}
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format=form,
        save_all=True,
        append_images=pictures[1:],
        duration=durations_ms,
        loop=0,
        **options,
    )
    return buffer.getvalue()


def _thinned(frames: Sequence[np.ndarray], most: int) -> list[np.ndarray]:
    """Return at most ``most`` evenly spaced frames, including the first and the last."""
    count = min(len(frames), max(most, 1))
    indices = np.linspace(len(frames) - 1, 0, count).round().astype(int)[::-1]
    return [frames[index] for index in indices]


def _durations_ms(count: int, seconds: float) -> list[int]:
    """Return the duration of each frame in whole ticks; rounding errors do not accumulate."""
    ends = np.linspace(0, seconds * 1000 / _TICK_MS, count + 1).round().astype(int)
    durations = [int(ticks) * _TICK_MS for ticks in np.diff(ends)]
    durations[-1] += round(HOLD_SECONDS * 1000)
    return durations


def _with_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """Reduce all frames to one palette.

    A palette per frame makes still areas flicker, and so does dithering: it doubled the measured
    change from frame to frame in an animation of a converging picture.
    """
    width, height = pictures[0].size
    step = max(1, round((len(pictures) * width * height / _PALETTE_PIXELS) ** 0.5))
    pixels = np.concatenate([np.asarray(picture)[::step, ::step] for picture in pictures])
    palette = Image.fromarray(pixels).quantize(
        _GIF_COLORS, method=Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE
    )
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
