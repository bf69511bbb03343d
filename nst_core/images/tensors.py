"""Images as tensors: loading, saving, resizing.

An image is ``image_3HW``: float32 RGB in [0, 1], sRGB, on the CPU.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor
from torch.nn import functional as F

from nst_core.images.decode import decode, open_picture
from nst_core.images.encode import check_writable_image, encode, write_picture
from nst_core.images.sizes import fit_size

_log = logging.getLogger(__name__)


def load_image(path: str | os.PathLike[str]) -> Tensor:
    """Read a still picture as image_3HW in [0, 1].

    EXIF rotation is applied, colors are converted from an embedded ICC profile to sRGB,
    transparent pixels are laid over white, and CMYK, palette and gray pictures become RGB. PNG and
    TIFF with 16 bits a channel keep their depth; RGB files with a color profile other than sRGB
    and CMYK files are converted at 8 bits.

    A color profile that cannot be read is ignored; the logger ``nst_core`` gets a warning.

    Raises:
        ImageError: the file is missing, no picture, truncated, animated, or of an unusable size.
    """
    return load_with_alpha(path)[0]


def load_alpha(path: str | os.PathLike[str]) -> Tensor | None:
    """Return the transparency of a picture as alpha_1HW in [0, 1]; None if all of it is opaque.

    1 is opaque. EXIF rotation is applied, so the result has the size of `load_image`'s.

    Raises:
        ImageError: as `load_image`.
    """
    return load_with_alpha(path)[1]


def load_with_alpha(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor | None]:
    """Return `load_image` and `load_alpha` from one reading, since a pipe can be read only once."""
    path = Path(path)
    with open_picture(path) as picture:
        image_HW3, alpha_HW, notes = decode(picture)
    for note in notes:
        _warn_once(f"{path}: {note}")
    alpha_1HW = None
    if alpha_HW is not None:
        image_HW3 *= alpha_HW[..., None]
        image_HW3 += 1 - alpha_HW[..., None]
        alpha_1HW = None if alpha_HW.min() == 1 else torch.from_numpy(alpha_HW)[None]
    return torch.from_numpy(image_HW3).permute(2, 0, 1), alpha_1HW


@functools.lru_cache(maxsize=1000)
def _warn_once(line: str) -> None:
    """Log a warning, but only once: a picture may be read several times."""
    _log.warning("%s", line)


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the text chunks of a PNG, as `save_image` writes them; empty for other formats.

    Raises:
        ImageError: as `load_image`.
    """
    with open_picture(Path(path)) as picture:
        if not isinstance(picture, PngImageFile):
            return {}
        return {key: str(value) for key, value in picture.text.items()}


def resize(image_3HW: Tensor, height: int, width: int) -> Tensor:
    """Resize by antialiased bicubic interpolation, clamped to [0, 1]; same size: no copy."""
    if image_3HW.shape[1:] == (height, width):
        return image_3HW
    resized = F.interpolate(
        image_3HW[None], size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return resized[0].clamp(0, 1)


def resize_longer_side(image_3HW: Tensor, size_px: int) -> Tensor:
    """Resize to a longer side of ``size_px`` pixels and keep the aspect ratio.

    Raises:
        InputError: as `fit_size`.
    """
    _, height, width = image_3HW.shape
    return resize(image_3HW, *fit_size(width, height, size_px))


def to_uint8(image_3HW: Tensor) -> np.ndarray:
    """Return the image as it is saved: clamped, rounded to 8 bits, uint8 HW3."""
    return to_levels(image_3HW).cpu().numpy()


def to_levels(image_CHW: Tensor, bits: int = 8) -> Tensor:
    """Clamp to [0, 1] and round to 8 or 16 bits -> uint8 or uint16, HWC, on the image's device."""
    levels = image_CHW.detach().clamp(0, 1).mul(2**bits - 1).round()
    whole = levels.to(torch.uint8 if bits == 8 else torch.uint16)
    return whole.permute(1, 2, 0).contiguous()


def from_uint8(pixels_HW3: np.ndarray) -> Tensor:
    """Convert uint8 HW3 to image_3HW in [0, 1]."""
    return torch.from_numpy(pixels_HW3.copy()).permute(2, 0, 1).float().div(255)


def encode_image(
    image_3HW: Tensor,
    path: str | os.PathLike[str],
    text: Mapping[str, str] | None = None,
    *,
    bits: int = 8,
    alpha_1HW: Tensor | None = None,
) -> bytes:
    """Return the content of the file that `save_image` writes; same arguments and errors."""
    pixels = to_levels(image_3HW, bits).cpu().numpy()
    if alpha_1HW is not None:
        alpha_HW1 = to_levels(resize(alpha_1HW, *image_3HW.shape[1:]), bits).cpu().numpy()
        pixels = np.concatenate([pixels, alpha_HW1], axis=2)
    return encode(Path(path), pixels, text)


def save_image(
    image_3HW: Tensor,
    path: str | os.PathLike[str],
    text: Mapping[str, str] | None = None,
    *,
    bits: int = 8,
    alpha_1HW: Tensor | None = None,
) -> None:
    """Write an image atomically, in the format of the path's suffix.

    Args:
        image_3HW: float, clamped to [0, 1], on any device.
        path: .png, .jpg, .jpeg, .webp, .tif or .tiff.
        text: text chunks of a PNG, which `read_text` returns; other formats omit them.
        bits: bits per channel, 8 or 16; 16 for PNG and TIFF only.
        alpha_1HW: transparency in [0, 1], 1 is opaque; resized to the image. Not for JPEG.

    Raises:
        ImageError: as `check_writable_image`, or the format cannot hold an image of this size.
    """
    path = Path(path)
    check_writable_image(path, bits=bits, alpha=alpha_1HW is not None)
    write_picture(path, encode_image(image_3HW, path, text, bits=bits, alpha_1HW=alpha_1HW))


def digest(image_3HW: Tensor) -> str:
    """Return a short SHA-256 of shape and values, by which equal images share their targets."""
    data = np.ascontiguousarray(image_3HW.cpu().numpy())
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()[:16]
