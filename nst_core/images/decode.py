"""Decoding of picture files: any mode, depth, color profile and rotation -> sRGB and alpha."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError, features
from PIL import ImageFile as PillowFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import ImageError
from nst_core.images import tiff
from nst_core.images.color_profiles import gray_to_srgb, is_srgb, to_srgb
from nst_core.images.decoder_errors import DECODER_ERRORS, MAX_PIXELS, TOO_LARGE, explained
from nst_core.images.deep_color import decode_deep_color, is_deep_color
from nst_core.images.file_kinds import HEAD_BYTES, describe, read_format
from nst_core.images.gray_range import gray_range
from nst_core.images.picture_source import read_picture

#: Largest file that is read: `MAX_PIXELS` of 16 bits with alpha take 800 MB without compression.
MAX_BYTES = 1_000_000_000

#: Formats that are read. Pillow opens some others, such as EPS, by external programs that are not
#: safe with files from strangers.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")

# Image generators save workflows of several megabytes in a PNG; Pillow's own limit is 1 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28


class Decoded(NamedTuple):
    """Pixels of a picture, turned upright.

    Attributes:
        colors_HW3: sRGB in [0, 1], float32, not multiplied by alpha.
        alpha_HW: transparency in [0, 1], 1 is opaque; None if the file has none.
        notes: one sentence for each part of the file that was ignored or looks like a mistake.
    """

    colors_HW3: np.ndarray
    alpha_HW: np.ndarray | None
    notes: tuple[str, ...]


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[ImageFile]:
    """Open a picture and check its size and number of frames, without decoding its pixels.

    Raises:
        ImageError: the file is missing, no picture, animated, or of an unusable size. Errors of a
            decoder inside the ``with`` block (a truncated or damaged file) become one as well.
    """
    content = io.BytesIO(read_picture(path, MAX_BYTES))
    with explained(path), _identify(path, content) as picture:
        _check_header(path, picture, content)
        yield picture


def upright_size(picture: ImageFile) -> tuple[int, int]:
    """Return (width, height) after EXIF rotation of a picture that is not decoded yet."""
    width, height = picture.size
    return (height, width) if _orientation(picture, []) in (5, 6, 7, 8) else (width, height)


def decode(picture: ImageFile) -> Decoded:
    """Decode a picture that was just opened with `open_picture`.

    PNG and TIFF with 16 bits a channel keep their depth, except where only Pillow decodes the
    colors correctly, at 8 bits: with a color profile other than sRGB, in CMYK, and with the
    channels in separate planes. The range of 32-bit gray is taken from its values.
    """
    notes: list[str] = []
    orientation = _orientation(picture, notes)
    if is_deep_color(picture) and is_srgb(picture, notes):
        colors_HW3, alpha_HW = decode_deep_color(picture)
    elif picture.mode.startswith(("I", "F")):
        colors_HW3, alpha_HW = _decode_deep_gray(picture, notes)
    else:
        colors_HW3, alpha_HW = _decode_8_bit(picture, notes)
    return Decoded(
        np.ascontiguousarray(_turn(colors_HW3, orientation)),
        None if alpha_HW is None else np.ascontiguousarray(_turn(alpha_HW, orientation)),
        tuple(dict.fromkeys(notes)),
    )


@contextlib.contextmanager
def _identify(path: Path, content: io.BytesIO) -> Iterator[ImageFile]:
    """Open a file with Pillow, or raise an ImageError that says which kind of file it is."""
    head = bytes(content.getbuffer()[:HEAD_BYTES])
    if head[8:10] == b"CR" and (raw_photo := describe(head)):  # raw photos of Canon are TIFFs
        raise ImageError(f"{path}: {raw_photo}")
    try:
        picture = _open(content)
    except (UnidentifiedImageError, UnicodeDecodeError):  # the latter for names of PNG chunks
        if b"Exif\0\0" not in head or read_format(head) != "JPEG":
            raise ImageError(f"{path}: {_describe_unidentified(head, path.suffix)}") from None
        # Pillow refuses a photo whose EXIF resolution is not a number; without its name, the
        # EXIF block is skipped.
        picture = _open(io.BytesIO(content.getvalue().replace(b"Exif\0\0", bytes(6), 1)))
    with picture:
        yield picture


def _open(content: io.BytesIO) -> ImageFile:
    """Open a picture with Pillow; like viewers, skip damaged PNG chunks beside the pixels."""
    before = PillowFile.LOAD_TRUNCATED_IMAGES
    # While a file is opened, this setting concerns its header only; no pixels are decoded.
    PillowFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return Image.open(content, formats=FORMATS)
    finally:
        PillowFile.LOAD_TRUNCATED_IMAGES = before


def _describe_unidentified(head: bytes, suffix: str) -> str:
    """Return what a file is that Pillow opens in none of the formats, and what to do.

    Raises:
        OSError: the file begins as one of the formats, so it is damaged.
    """
    name = read_format(head)
    if name == "TIFF":
        return (
            "is a TIFF that is damaged or has a layout that is not read; save it as gray or RGB"
            " with 8 or 16 bits a channel"
        )
    if name == "AVIF" and not features.check("avif"):
        return "is an AVIF picture, which this Pillow cannot decode; convert it to PNG or JPEG"
    if name:
        raise OSError(f"the beginning of this {name} file is damaged")
    return describe(head, suffix) or (
        f"not a picture in a format that is read; convert it to one of {', '.join(FORMATS)}"
    )


def _check_header(path: Path, picture: ImageFile, content: io.BytesIO) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width}x{height} is {TOO_LARGE}")
    is_tiff = isinstance(picture, TiffImageFile)
    if isinstance(picture, TiffImageFile) and (problem := tiff.find_problem(path, picture)):
        raise ImageError(f"{path}: {problem}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{path}: {width}x{height} is too small; each side must have at least {MIN_SIDE_PX} px"
        )
    frames = tiff.count_pictures(content) if is_tiff else getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # a camera's JPEG with a preview behind the photo
        raise ImageError(
            f"{path}: holds {frames} frames, expected a still picture; save the frame you mean as a"
            " separate file"
        )


def _decode_8_bit(picture: ImageFile, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    picture.load()
    srgb_HW3 = _to_unit_range(np.asarray(to_srgb(picture, notes)), 255)
    if not picture.has_transparency_data:
        return srgb_HW3, None
    return srgb_HW3, _to_unit_range(np.asarray(picture.convert("RGBA").getchannel("A")), 255)


def _decode_deep_gray(picture: ImageFile, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode gray of 16 or 32 bits; at 32 bits black and white are taken from the values."""
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    # Pillow inverts a TIFF that counts from white to black at 8 bits, but not at more.
    white_is_0 = tags.get(PHOTOMETRIC_INTERPRETATION, 1) == 0
    unsigned = tags.get(SAMPLEFORMAT, (1,))[0] == 1
    full_scale = 2.0 ** tags.get(BITSPERSAMPLE, (16,))[0] - 1
    picture.load()
    values_HW = np.asarray(picture)
    transparent_value = picture.info.get("transparency")
    alpha_HW = None
    if transparent_value is not None:
        alpha_HW = (values_HW != transparent_value).astype(np.float32)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and not tags):
        black, white, note = gray_range(values_HW, full_scale)
    else:
        if picture.mode == "I" and unsigned:
            values_HW = values_HW.view(np.uint32)  # Pillow has no unsigned mode of 32 bits
        black, white, note = gray_range(values_HW, None)
        values_HW = np.nan_to_num(np.subtract(values_HW, black, dtype=np.float64))
        values_HW = np.clip(values_HW, 0.0, white - black)
    notes += [note] if note else []
    gray_HW = np.clip(_to_unit_range(values_HW, white - black), 0.0, 1.0)
    return gray_to_srgb(1 - gray_HW if white_is_0 else gray_HW, picture, notes), alpha_HW


def _to_unit_range(values: np.ndarray, white: float) -> np.ndarray:
    """Scale to [0, 1], float32."""
    scaled = values.astype(np.float32)
    scaled /= white
    return scaled


def _orientation(picture: ImageFile, notes: list[str]) -> int:
    """Return the orientation, 1 to 8 as EXIF counts, of a picture that is not decoded yet."""
    if isinstance(picture, TiffImageFile):
        return 1  # Pillow and OpenCV turn a TIFF upright while they decode it
    try:
        # `PngImageFile.getexif` decodes the pixels first, to find EXIF data behind them.
        exif = Image.Image.getexif(picture)
    except DECODER_ERRORS:
        exif = Image.Exif()
    value = exif.get(ExifTags.Base.Orientation)
    if not exif and picture.info.get("exif"):
        notes.append("its EXIF metadata cannot be read and is ignored")
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels, HW or HWC, upright from an EXIF orientation of 1 to 8."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarters = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarters)
