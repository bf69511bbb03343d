"""Encoding of picture files with 8 or 16 bits a channel, and checks before long work."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from nst_core.errors import ImageError
from nst_core.files import check_can_write, foreign_path, write_atomic
from nst_core.images.deep_color import encode_deep_png, encode_deep_tiff


@dataclass(frozen=True)
class _Format:
    name: str  # Pillow's name
    alpha: bool = False
    sixteen_bits: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


_JPEG = _Format("JPEG", options={"quality": 95})
_TIFF = _Format("TIFF", alpha=True, sixteen_bits=True)

_FORMATS = {
    ".png": _Format("PNG", alpha=True, sixteen_bits=True),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _Format("WEBP", alpha=True, options={"quality": 95}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
}

#: Mark in the metadata of files that commands write, by which a later result may replace them.
MADE_BY = "made by nst-tuner"

#: Length of the signature and the header chunk; text chunks may follow them.
_PNG_HEADER_BYTES = 33


def check_format(path: Path, *, bits: int = 8, alpha: bool = False) -> None:
    """Raise ImageError if the format of ``path``'s suffix cannot hold such an image."""
    if bits not in (8, 16):
        raise ImageError(f"{path}: cannot save {bits} bits a channel; use 8 or 16")
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ImageError(f"{path}: cannot save as `{path.suffix}`; use {', '.join(_FORMATS)}")
    if bits == 16 and not form.sixteen_bits:
        able = ", ".join(suffix for suffix, form in _FORMATS.items() if form.sixteen_bits)
        raise ImageError(f"{path}: {form.name} holds 8 bits a channel, not 16; use {able}")
    if alpha and not form.alpha:
        able = ", ".join(suffix for suffix, form in _FORMATS.items() if form.alpha)
        raise ImageError(f"{path}: {form.name} holds no transparency; use {able}")


def check_place(path: Path, size: int = 0) -> None:
    """Raise ImageError if no file of about ``size`` bytes can be written at ``path``.

    Call it before long work.
    """
    if why := foreign_path(path):
        raise ImageError(f"{path}: {why}")
    if os.path.isdir(path):  # noqa: PTH112  # see `files.is_file`
        raise ImageError(f"{path}: is a folder, expected a file name for the result")
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise ImageError(f"{path}: is no regular file, expected a file name for the result")
    if os.path.isfile(folder := path.parent):  # noqa: PTH113
        raise ImageError(f"{path}: cannot be written ({folder} is a file, expected a folder)")
    if not os.path.isdir(folder):  # noqa: PTH112
        raise ImageError(f"{path}: the folder {folder} does not exist; create it first")
    try:
        check_can_write(path, size)
    except OSError as error:
        raise ImageError(_unwritable(path, error)) from None


def _unwritable(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    advice = {
        errno.ENAMETOOLONG: "; choose a shorter name",
        errno.ENOSPC: "; free some space or name another place",
        errno.EDQUOT: "; free some space or name another place",
        errno.EROFS: "; name another place",
    }.get(error.errno or 0, "")
    return f"{path}: cannot be written ({reason}){advice}"


def check_writable_image(
    path: str | os.PathLike[str], *, bits: int = 8, alpha: bool = False, size: int = 0
) -> None:
    """Raise ImageError if `save_image` cannot write this file; call it before long work.

    Args:
        path: its suffix names the format.
        bits: bits per channel, 8 or 16.
        alpha: whether the image has transparency.
        size: approximate size of the file in bytes.

    Raises:
        ImageError: the suffix names no format, the format cannot hold such an image, the folder is
            missing, or the file system accepts no file of this name and size.
    """
    path = Path(path)
    check_format(path, bits=bits, alpha=alpha)
    check_place(path, size)


def write_picture(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        ImageError: the file cannot be written; ``path`` is unchanged.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ImageError(_unwritable(path, error)) from None


def encode(path: Path, pixels: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a picture file.

    Args:
        path: its suffix names the format.
        pixels: uint8 or uint16, HW3 or HW4; the fourth channel is alpha, and the colors are not
            multiplied by it.
        text: text chunks of a PNG. A file of another format only gets the mark `MADE_BY`.

    Raises:
        ImageError: the format is unknown, or cannot hold the depth, the alpha or the size.
    """
    check_format(path, bits=8 * pixels.itemsize, alpha=pixels.shape[2] == 4)
    form = _FORMATS[path.suffix.lower()]
    try:
        if form.name == "PNG":
            return encode_png(pixels, text)
        if form.name == "TIFF" and pixels.dtype == np.uint16:
            return encode_deep_tiff(pixels, MADE_BY if text else None)
        buffer = io.BytesIO()
        options = {**form.options, **({"exif": _made_by_us()} if text else {})}
        Image.fromarray(pixels).save(buffer, format=form.name, **options)
        return buffer.getvalue()
    except (OSError, ValueError) as error:
        height, width = pixels.shape[:2]
        raise ImageError(
            f"{path}: {form.name} cannot hold this {width}x{height} image ({error})"
        ) from None


def encode_png(pixels: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """Return the content of a PNG file; arguments as `encode`."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=info)
        return buffer.getvalue()
    content = encode_deep_png(pixels)
    buffer.write(content[:_PNG_HEADER_BYTES])
    for chunk in info.chunks:
        PngImagePlugin.putchunk(buffer, *chunk[:2])
    buffer.write(content[_PNG_HEADER_BYTES:])
    return buffer.getvalue()


def _made_by_us() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = MADE_BY
    return exif.tobytes()
