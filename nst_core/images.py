"""Files <-> images. In here an image is ``image_3HW``: float32 RGB in [0, 1], sRGB, on the CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import PngImagePlugin
from torch import Tensor
from torch.nn import functional as F

from nst_core.config import MIN_SIDE_PX
from nst_core.decode import decode, open_picture, upright_size
from nst_core.encode import check_format, check_place, encode, write_picture
from nst_core.errors import InputError


def load_image(path: str | os.PathLike[str]) -> Tensor:
    """Read a still picture as image_3HW in [0, 1].

    EXIF rotation is applied, an embedded ICC profile is converted to sRGB, transparency is laid
    over white, CMYK, palette and grey pictures become RGB. PNG and TIFF with 16 bits a channel are
    read at full depth; where they carry a colour profile other than sRGB, or are CMYK, colour beats
    depth and they are converted at 8 bits.

    Raises:
        ImageError: the file is missing, no picture, truncated, animated, or of an unusable size.
    """
    path = Path(path)
    with open_picture(path) as picture:
        image_HW3, alpha_HW = decode(path, picture)
    if alpha_HW is not None:
        image_HW3 *= alpha_HW[..., None]
        image_HW3 += 1 - alpha_HW[..., None]
    return torch.from_numpy(image_HW3).permute(2, 0, 1)


def load_alpha(path: str | os.PathLike[str]) -> Tensor | None:
    """The transparency of a picture as alpha_1HW in [0, 1], 1 is opaque; None if all of it is.

    EXIF rotation is applied, so it fits what `load_image` gives. Errors as `load_image`.
    """
    path = Path(path)
    with open_picture(path) as picture:
        _, alpha_HW = decode(path, picture)
    if alpha_HW is None or alpha_HW.min() == 1:
        return None
    return torch.from_numpy(alpha_HW)[None]


def check_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read only the header: (width, height) in pixels, EXIF rotation applied.

    Errors as `load_image`.
    """
    with open_picture(Path(path)) as picture:
        return upright_size(picture)


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text chunks of a PNG, as `save_image` writes them; empty for every other format.

    Errors as `load_image`.
    """
    with open_picture(Path(path)) as picture:
        if not isinstance(picture, PngImagePlugin.PngImageFile):
            return {}
        return {key: str(value) for key, value in picture.text.items()}


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


def resize(image_3HW: Tensor, height: int, width: int) -> Tensor:
    """Bicubic with antialiasing, clamped to [0, 1]; the image itself where the size is the same."""
    if image_3HW.shape[1:] == (height, width):
        return image_3HW
    resized = F.interpolate(
        image_3HW[None], size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return resized[0].clamp(0, 1)


def resize_longer_side(image_3HW: Tensor, size_px: int) -> Tensor:
    """`resize` to a longer side of ``size_px`` pixels, shape kept. Errors as `fit_size`."""
    _, height, width = image_3HW.shape
    return resize(image_3HW, *fit_size(width, height, size_px))


def to_uint8(image_3HW: Tensor) -> np.ndarray:
    """The image as it is saved: clamped, rounded to 8 bit, uint8 HW3."""
    return _levels(image_3HW, 8)


def _levels(image_CHW: Tensor, bits: int) -> np.ndarray:
    """Clamp to [0, 1] and round to the levels of 8 or 16 bits: uint8 or uint16 HWC."""
    levels = image_CHW.detach().clamp(0, 1).mul(2**bits - 1).round()
    whole = levels.to(torch.uint8 if bits == 8 else torch.uint16)
    return whole.permute(1, 2, 0).contiguous().cpu().numpy()


def from_uint8(pixels_HW3: np.ndarray) -> Tensor:
    """uint8 HW3 -> image_3HW in [0, 1]."""
    return torch.from_numpy(pixels_HW3.copy()).permute(2, 0, 1).float().div(255)


def encode_image(
    image_3HW: Tensor,
    path: str | os.PathLike[str],
    text: Mapping[str, str] | None = None,
    *,
    bits: int = 8,
    alpha_1HW: Tensor | None = None,
) -> bytes:
    """The content of the file that `save_image` writes. Arguments and errors as there."""
    pixels = _levels(image_3HW, bits)
    if alpha_1HW is not None:
        alpha_HW1 = _levels(resize(alpha_1HW, *image_3HW.shape[1:]), bits)
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
    """Write an image atomically, in the format its suffix names.

    Args:
        image_3HW: float, clamped to [0, 1], on any device.
        path: .png, .jpg, .jpeg, .webp, .tif or .tiff.
        text: goes into a PNG, from which `read_text` gets it back; other formats leave it out.
        bits: a channel; 16 for PNG and TIFF only.
        alpha_1HW: transparency in [0, 1], 1 is opaque; resized to the image. Not for JPEG.

    Raises:
        ImageError: as `check_writable_image`; or the format cannot hold an image of this size.
    """
    path = Path(path)
    check_writable_image(path, bits=bits, alpha=alpha_1HW is not None)
    write_picture(path, encode_image(image_3HW, path, text, bits=bits, alpha_1HW=alpha_1HW))


def check_writable_image(
    path: str | os.PathLike[str], *, bits: int = 8, alpha: bool = False, size: int = 0
) -> None:
    """Raise ImageError if `save_image` could not write there; call it before long work.

    That is: the suffix names no format, the format cannot hold ``bits`` a channel or ``alpha``,
    or the folder is missing, or no file of about ``size`` bytes and this name can be written there.
    """
    path = Path(path)
    check_format(path, bits=bits, alpha=alpha)
    check_place(path, size)


def digest(image_3HW: Tensor) -> str:
    """Short SHA-256 of an image's shape and values: equal images share targets in the engine."""
    data = np.ascontiguousarray(image_3HW.cpu().numpy())
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()[:16]
