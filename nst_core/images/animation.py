"""Frames -> an animated GIF or WebP that shows how a picture came about."""

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

#: How much longer than the others the last frame, the result, is shown.
HOLD_SECONDS = 1.0

#: Viewers slow down what changes faster than this, so such frames are left out.
_MIN_FRAME_MS = 20

#: Durations in a GIF are multiples of this.
_TICK_MS = 10

#: One fewer than a GIF holds: Pillow uses the last for "as before", which makes the file smaller.
_GIF_COLOURS = 255

#: About as many pixels of all frames together choose the colours: enough, and done in seconds.
_PALETTE_PIXELS = 300_000

_FORMATS = {".gif": "GIF", ".webp": "WEBP"}


def check_animation_path(path: str | os.PathLike[str], size: int = 0) -> None:
    """Raise ImageError if `save_animation` could not write there; call it before long work."""
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ImageError(
            f"{path}: cannot save an animation as `{path.suffix}`; use {', '.join(_FORMATS)}"
        )
    check_place(path, size)


def save_animation(
    frames: Sequence[np.ndarray], path: str | os.PathLike[str], *, seconds: float = 5.0
) -> None:
    """Write frames atomically as a .gif or .webp that repeats for ever.

    Args:
        frames: uint8 HW3, all of one size; the last one is held for `HOLD_SECONDS` more.
        path: its suffix names the format. A GIF has 255 colours, chosen for all frames together.
        seconds: how long all frames together are shown, > 0. Frames that would be shown for less
            than 20 ms are left out, evenly.

    Raises:
        ImageError: as `check_animation_path`; or there are no frames, or they differ in size, or
            the format cannot hold one of this size.
    """
    path = Path(path)
    check_animation_path(path)
    if len({frame.shape for frame in frames}) != 1:
        raise ImageError(f"{path}: an animation needs frames, all of one size")
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
    """At most this many of the frames, evenly spread, first and last among them."""
    kept = min(len(frames), max(most, 1))
    places = np.linspace(len(frames) - 1, 0, kept).round().astype(int)[::-1]
    return [frames[place] for place in places]


def _durations_ms(count: int, seconds: float) -> list[int]:
    """Whole ticks for each frame, such that rounding does not add up."""
    ends = np.linspace(0, seconds * 1000 / _TICK_MS, count + 1).round().astype(int)
    durations = [int(ticks) * _TICK_MS for ticks in np.diff(ends)]
    durations[-1] += round(HOLD_SECONDS * 1000)
    return durations


def _with_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """Reduce to the colours that fit all frames best.

    A palette for each frame, and dithering too, make still areas flicker: measured, dithering
    doubles what changes from frame to frame in a film of a converging picture.
    """
    width, height = pictures[0].size
    step = max(1, round((len(pictures) * width * height / _PALETTE_PIXELS) ** 0.5))
    pixels = np.concatenate([np.asarray(picture)[::step, ::step] for picture in pictures])
    palette = Image.fromarray(pixels).quantize(
        _GIF_COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE
    )
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
