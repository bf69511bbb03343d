"""Picture files -> arrays: whatever mode, depth, profile and rotation, out come sRGB and alpha."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import ImageError
from nst_core.images.color_profiles import DEEP_GRAY_MODES, gray_in_srgb, in_srgb, is_in_srgb
from nst_core.images.decoder_errors import MAX_PIXELS, TOO_LARGE, explained
from nst_core.images.file_kinds import HEAD_BYTES, describe, read_format
from nst_core.images.gray_range import gray_range
from nst_core.images.picture_metadata import Metadata, separate
from nst_core.images.picture_source import read_picture
from nst_core.images.tiff import count_pages, describe_layout, describe_raw, has_raw_deep_planes

#: And above this before it is read: so many pixels of 16 bits with alpha take 800 MB as they are.
MAX_BYTES = 1_000_000_000

#: Pictures as people have them. Pillow opens others by programs that are no match for a stranger's
#: file, such as Ghostscript for EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")

#: In Pillow's ``info`` of a picture: its `Metadata`.
_METADATA = "nst_core metadata"


class Decoded(NamedTuple):
    """A picture's pixels, upright.

    Attributes:
        colors_HW3: sRGB in [0, 1], float32, not multiplied by alpha.
        alpha_HW: in [0, 1], 1 is opaque; None if the file has no transparency.
        notes: what of the file was ignored or chosen on the way, a sentence each.
    """

    colors_HW3: np.ndarray
    alpha_HW: np.ndarray | None
    notes: tuple[str, ...]


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture and check its size and frames, all from the header; the pixels come later.

    Raises:
        ImageError: the file is missing, no picture, animated, or of an unusable size; also what
            goes wrong inside the ``with`` block (truncated, damaged) becomes one.
    """
    content = io.BytesIO(read_picture(path, MAX_BYTES))
    head = bytes(content.getbuffer()[:HEAD_BYTES])
    with explained(path):
        content, metadata = separate(content)
        with _identified(path, head, content) as picture:
            _check_header(path, picture, content)
            if metadata.orientation is None:
                exif, xmp = picture.info.get("exif"), picture.info.get("xmp")
                metadata.read_orientation(exif, xmp)
            metadata.profile = metadata.profile or picture.info.get("icc_profile")
            picture.info[_METADATA] = metadata
            yield picture


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) with EXIF rotation applied, of a picture that is not decoded yet."""
    width, height = picture.size
    return (height, width) if _orientation(picture) in (5, 6, 7, 8) else (width, height)


def decode(picture: Image.Image) -> Decoded:
    """Decode a picture just opened with `open_picture`.

    PNG and TIFF with 16 bits a channel keep their depth, except where Pillow alone gets the colors
    right, and it knows 8 bits only: color beats depth. That is so with a color profile other than
    sRGB, with CMYK, and for channels in separate planes. The range of gray values of 32 bits, or of
    floating point, is taken from the values.
    """
    if picture.mode in DEEP_GRAY_MODES:
        colors_HW3, alpha_HW = _decode_deep_gray(picture)
    elif _has_deep_color(picture):
        colors_HW3, alpha_HW = _decode_deep_color(picture)
    else:
        colors_HW3, alpha_HW = _decode_8_bit(picture)
    turn = _orientation(picture)
    upright_HW = None if alpha_HW is None else np.ascontiguousarray(_turn(alpha_HW, turn))
    notes = tuple(dict.fromkeys(_metadata(picture).notes))
    return Decoded(np.ascontiguousarray(_turn(colors_HW3, turn)), upright_HW, notes)


@contextlib.contextmanager
def _identified(path: Path, head: bytes, content: io.BytesIO) -> Iterator[Image.Image]:
    """Open it with Pillow, or say what it is instead."""
    if raw := describe(head) if head[8:10] == b"CR" else None:  # Canon's raw photos are TIFFs
        raise ImageError(f"{path}: {raw}")
    try:
        picture = Image.open(content, formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(f"{path}: {_unidentified(head, path.suffix, content)}") from None
    with picture:
        yield picture


def _unidentified(head: bytes, suffix: str, content: io.BytesIO) -> str:
    """What a file is that Pillow opens in none of the formats.

    Raises:
        OSError: it begins as one of them.
    """
    form = read_format(head)
    if form == "TIFF":
        return describe_layout(content)
    if form == "AVIF" and not features.check("avif"):
        return "is an AVIF picture, which this Pillow cannot decode; convert it to PNG or JPEG"
    if form:
        raise OSError(f"the beginning of this {form} file is damaged")
    known = describe(head, suffix)
    return known or f"not a picture in a format that is read ({', '.join(FORMATS)})"


def _check_header(path: Path, picture: Image.Image, content: io.BytesIO) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width}x{height} is {TOO_LARGE}")
    tiff = picture if isinstance(picture, TiffImageFile) else None
    if tiff and (raw := describe_raw(path, tiff)):
        raise ImageError(f"{path}: {raw}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{path}: {width}x{height} is too small; each side must have at least {MIN_SIDE_PX} px"
        )
    frames = count_pages(tiff, content) if tiff else getattr(picture, "n_frames", 1)
    if frames > 1:
        raise ImageError(
            f"{path}: holds {frames} frames, expected a still picture; save the frame you mean as a"
            " file of its own"
        )
    if tiff and has_raw_deep_planes(tiff):
        raise ImageError(
            f"{path}: holds 16 bits a channel in separate planes without compression, which Pillow"
            " misreads; save it with the channels of each pixel together"
        )


def _metadata(picture: Image.Image) -> Metadata:
    found = picture.info[_METADATA]
    assert isinstance(found, Metadata)
    return found


def _orientation(picture: Image.Image) -> int:
    return _metadata(picture).orientation or 1


def _unit(pixels: np.ndarray, full_scale: float) -> np.ndarray:
    """Scale to [0, 1], float32."""
    scaled = pixels.astype(np.float32)
    scaled /= full_scale
    return scaled


def _decode_8_bit(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    picture.load()
    metadata, mode, alpha_HW = _metadata(picture), picture.mode, None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha_HW = _unit(np.asarray(picture.getchannel("A")), 255)
    return _unit(np.asarray(in_srgb(picture, mode, metadata)), 255), alpha_HW


def _decode_deep_gray(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    metadata, transparent = _metadata(picture), picture.info.get("transparency")
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    # Pillow inverts a TIFF that counts from white to black at 8 bits, and forgets it at more.
    white_is_0 = tags.get(PHOTOMETRIC_INTERPRETATION, 1) == 0
    unsigned = tags.get(SAMPLEFORMAT, (1,))[0] == 1
    full_scale = 2.0 ** tags.get(BITSPERSAMPLE, (16,))[0] - 1
    picture.load()
    pixels_HW = np.asarray(picture)
    alpha_HW = None if transparent is None else (pixels_HW != transparent).astype(np.float32)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and not tags):
        black, white, note = gray_range(pixels_HW, full_scale)
    else:
        if picture.mode == "I" and unsigned:
            pixels_HW = pixels_HW.view(np.uint32)  # Pillow knows no mode of that range
        black, white, note = gray_range(pixels_HW, None)
        above_HW = np.nan_to_num(np.subtract(pixels_HW, black, dtype=np.float64))
        pixels_HW = np.clip(above_HW, 0.0, white - black)
    metadata.notes += [note] if note else []
    gray_HW = np.clip(_unit(pixels_HW, white - black), 0.0, 1.0)
    if white_is_0:
        gray_HW = 1 - gray_HW
    return gray_in_srgb(gray_HW, picture.mode, metadata), alpha_HW


def _has_deep_color(picture: Image.Image) -> bool:
    """Whether OpenCV reads this file as Pillow does, only deeper, and no colour is lost by it."""
    if picture.mode not in ("RGB", "RGBA"):
        return False
    if isinstance(picture, TiffImageFile):
        tags = picture.tag_v2
        deep = (
            set(tags.get(BITSPERSAMPLE, ())) == {16}
            and tags.get(SAMPLESPERPIXEL) in (3, 4)
            and tags.get(PHOTOMETRIC_INTERPRETATION) == 2
            and tags.get(PLANAR_CONFIGURATION, 1) == 1  # of separate planes OpenCV reads the first
        )
    else:
        deep = picture.format == "PNG" and _file(picture).getbuffer()[24] == 16
    return deep and is_in_srgb(picture.mode, _metadata(picture))


def _file(picture: Image.Image) -> io.BytesIO:
    """The file of a picture that is not loaded yet."""
    assert isinstance(picture, ImageFile) and isinstance(picture.fp, io.BytesIO)
    return picture.fp


def _decode_deep_color(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    content = _file(picture)
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else None
    # OpenCV returns half an image for some files cut short, depending on its version. Pillow never
    # does, and its messages are better.
    picture.load()
    pixels = _imdecode(content)
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[1::-1] != picture.size:
        raise OSError(f"OpenCV reads {pixels.dtype}{list(pixels.shape)}")
    # A PNG of mode RGB gets a fourth channel from the colour it names transparent; a TIFF of mode
    # RGB may have one too, of no known meaning.
    if pixels.shape[2] == 3 or (tags is not None and picture.mode == "RGB"):
        return _unit(pixels[..., 2::-1], 65535), None
    colors_HW3, alpha_HW = _unit(pixels[..., 2::-1], 65535), _unit(pixels[..., 3], 65535)
    if tags is not None and tags.get(EXTRASAMPLES) == (1,):
        _divide_by_alpha(colors_HW3, alpha_HW)
    return colors_HW3, alpha_HW


def _divide_by_alpha(colors_HW3: np.ndarray, alpha_HW: np.ndarray) -> None:
    """Undo, in place, that a TIFF may hold its colours multiplied by alpha."""
    colors_HW3 /= np.maximum(alpha_HW, 1 / 65535)[..., None]
    np.minimum(colors_HW3, 1, out=colors_HW3)


def _imdecode(content: io.BytesIO) -> np.ndarray:
    """Height x width x (BGR or BGRA), as deep as in the file."""
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(content.getbuffer(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise OSError(f"OpenCV: {error}") from None
    if pixels is None:
        raise OSError("OpenCV finds it damaged")
    return pixels


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation of 1 to 8, which is how the first row and column lie."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarters = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarters)
