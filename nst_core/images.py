"""Files <-> images. In here an image is ``image_3HW``: float32 RGB in [0, 1], sRGB, on the CPU."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import ImageError, InputError
from nst_core.files import check_writable, write_atomic

#: Above this an image is refused before it is decoded: 100 megapixels are 1.2 GB as float32.
MAX_PIXELS = 100_000_000

#: Modes whose channels hold 16 bits or more; Pillow has no colour mode of that depth.
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")


def load_image(path: str | os.PathLike[str]) -> Tensor:
    """Read a still picture as image_3HW in [0, 1].

    EXIF rotation is applied, an embedded ICC profile is converted to sRGB, transparency is laid
    over white, CMYK, palette, grey and 16-bit grey pictures become RGB.

    Raises:
        ImageError: the file is missing, no picture, truncated, animated, or of an unusable size.
    """
    path = Path(path)
    with _explained(path), Image.open(path) as picture:
        _check_header(path, picture)
        picture.load()
        return _to_tensor(_to_rgb(ImageOps.exif_transpose(picture)))


def check_image(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read only the header: (width, height) in pixels, EXIF rotation applied.

    Errors as `load_image`.
    """
    path = Path(path)
    with _explained(path), Image.open(path) as picture:
        _check_header(path, picture)
        width, height = picture.size
        turned = picture.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what Pillow and the file system raise into one ImageError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder, expected an image file") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: not a picture in a format that Pillow reads (PNG, JPEG, WebP, TIFF …)"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: {_TOO_LARGE}") from None
    except PermissionError:
        raise ImageError(f"{path}: may not be read; check its permissions") from None
    except (OSError, SyntaxError, ValueError, ImageCms.PyCMSError) as error:
        raise ImageError(f"{path}: cannot be decoded ({error}); is the file complete?") from None


_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels; scale it down first"


def _check_header(path: Path, picture: Image.Image) -> None:
    width, height = picture.size
    frames = getattr(picture, "n_frames", 1)
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width}x{height} is {_TOO_LARGE}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{path}: {width}x{height} is too small; each side must have at least {MIN_SIDE_PX} px"
        )
    if frames > 1:
        raise ImageError(
            f"{path}: holds {frames} frames, expected a still picture; save the frame you mean as a"
            " file of its own"
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP_MODES:
        return picture
    picture = _to_srgb(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def _to_srgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    mode = picture.mode if picture.mode == "RGBA" else "RGB"
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
        picture, source, ImageCms.createProfile("sRGB"), outputMode=mode
    )
    return converted if converted is not None else picture


def _to_tensor(picture: Image.Image) -> Tensor:
    pixels = np.asarray(picture)
    if picture.mode in _DEEP_MODES:
        full_scale = 1.0 if picture.mode == "F" else 65535.0
        grey = np.clip(pixels.astype(np.float32) / full_scale, 0.0, 1.0)
        return torch.from_numpy(np.repeat(grey[None], 3, axis=0))
    return from_uint8(pixels)


def fit_size(width: int, height: int, size_px: int) -> tuple[int, int]:
    """(height, width) whose longer side is ``size_px`` and whose shape is that of the input.

    Raises:
        InputError: the shorter side would fall below `MIN_SIDE_PX`.
    """
    scale = size_px / max(width, height)
    new_height, new_width = round(height * scale), round(width * scale)
    if min(new_height, new_width) < MIN_SIDE_PX:
        needed = -(-MIN_SIDE_PX * max(width, height) // min(width, height))
        raise InputError(
            f"a {width}x{height} image at size_px {size_px} becomes {new_width}x{new_height}; the"
            f" shorter side must keep {MIN_SIDE_PX} px, so size_px must be at least {needed}"
        )
    return new_height, new_width


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
    levels = image_3HW.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()


def from_uint8(pixels_HW3: np.ndarray) -> Tensor:
    """uint8 HW3 -> image_3HW in [0, 1]."""
    return torch.from_numpy(pixels_HW3.copy()).permute(2, 0, 1).float().div(255)


def encode_png(pixels_HW3: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """PNG file content of uint8 HW3, with ``text`` as its text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW3).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def save_image(
    image_3HW: Tensor, path: str | os.PathLike[str], text: Mapping[str, str] | None = None
) -> None:
    """Write an image atomically, in the format its suffix names; ``text`` goes into a PNG.

    Raises:
        ImageError: unknown suffix, or the folder cannot be written.
    """
    path = Path(path)
    check_writable_image(path)
    pixels = to_uint8(image_3HW)
    if path.suffix.lower() == ".png":
        content = encode_png(pixels, text)
    else:
        buffer = io.BytesIO()
        options = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
        Image.fromarray(pixels).save(buffer, format=_FORMATS[path.suffix.lower()], **options)
        content = buffer.getvalue()
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error})") from None


_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def check_writable_image(path: str | os.PathLike[str]) -> None:
    """Raise ImageError if an image could not be saved as ``path``; call it before long work."""
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ImageError(f"{path}: cannot save as `{path.suffix}`; use {', '.join(_FORMATS)}")
    if path.is_dir():
        raise ImageError(f"{path}: is a folder, expected a file name for the result")
    folder = path.parent
    if not folder.is_dir():
        raise ImageError(f"{path}: the folder {folder} does not exist; create it first")
    try:
        check_writable(folder)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error})") from None


def digest(image_3HW: Tensor) -> str:
    """Short SHA-256 of an image's shape and values: equal images share targets in the engine."""
    data = np.ascontiguousarray(image_3HW.cpu().numpy())
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()[:16]
