"""Picture files -> arrays: whatever mode, depth, profile and rotation, out come sRGB and alpha."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import ImageError
from nst_core.files import foreign_path

#: Above this an image is refused before it is decoded: 100 megapixels are 1.2 GB as float32.
MAX_PIXELS = 100_000_000

#: And above this before it is read: so many pixels of 16 bits with alpha take 800 MB as they are.
MAX_BYTES = 1_000_000_000

#: Pictures as people have them. Pillow opens others by programs that are no match for a stranger's
#: file, such as Ghostscript for EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")

#: Programs write a preview of a TIFF, or the mask of its transparency, as a page beside it.
_REDUCED, _MASK = 1, 4
#: Pages that are looked at; who has more of them has more than a preview.
MOST_TIFF_PAGES = 1000

_TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels; scale it down first"

#: Grey modes whose pixels hold 16 bits or more; Pillow has no colour mode of that depth.
_DEEP_GREY_MODES = ("I;16", "I;16B", "I;16L", "I", "F")

#: The mode a picture must have for a profile of each colour space to be applied to it.
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture and check its size and frames, all from the header; the pixels come later.

    Raises:
        ImageError: the file is missing, no picture, animated, or of an unusable size; also what
            goes wrong inside the ``with`` block (truncated, damaged) becomes one.
    """
    # Not by name: Pillow would map the file into memory and scramble TIFFs that are to be turned.
    with _explained(path), path.open("rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
            raise ImageError(f"{path}: {size:,} bytes, expected at most {MAX_BYTES:,}")
        with Image.open(file, formats=FORMATS) as picture:
            _check_header(path, picture)
            yield picture


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) with EXIF rotation applied, of a picture that is not decoded yet."""
    width, height = picture.size
    # Pillow turns the size of a TIFF when it opens the file, that of other formats never.
    turned = _orientation(picture) in (5, 6, 7, 8) and not isinstance(picture, TiffImageFile)
    return (height, width) if turned else (width, height)


def decode(path: Path, picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a picture just opened with `open_picture`: (colours_HW3, alpha_HW or None).

    Both are float32 in [0, 1], upright; the colours are sRGB and not multiplied by alpha. PNG and
    TIFF with 16 bits a channel keep their depth, except where Pillow alone gets the colours right,
    and it knows 8 bits only: colour beats depth. That is so with a colour profile other than sRGB,
    with CMYK, and for channels in separate planes.
    """
    if picture.mode in _DEEP_GREY_MODES:
        return _decode_deep_grey(picture)
    if _has_deep_colour(path, picture):
        return _decode_deep_colour(path, picture)
    return _decode_8_bit(picture)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what Pillow and the file system raise into one ImageError that names the file."""
    try:
        with warnings.catch_warnings():
            # What Pillow warns of is refused by `_check_header`, becomes an error, or does no harm.
            warnings.filterwarnings("ignore", module="PIL")
            yield
    except FileNotFoundError:
        why = foreign_path(path)
        raise ImageError(f"{path}: no such image file{f'; it {why}' if why else ''}") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder, expected an image file") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: not a picture in a format that is read ({', '.join(FORMATS)})"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: {_TOO_LARGE}") from None
    except PermissionError:
        raise ImageError(f"{path}: may not be read; check its permissions") from None
    # TypeError is what Pillow raises for a TIFF's page without dimensions.
    except (OSError, SyntaxError, TypeError, ValueError, ImageCms.PyCMSError) as error:
        raise ImageError(f"{path}: cannot be decoded ({error}); is the file complete?") from None


def _check_header(path: Path, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width}x{height} is {_TOO_LARGE}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{path}: {width}x{height} is too small; each side must have at least {MIN_SIDE_PX} px"
        )
    if (frames := _frames(path, picture)) > 1:
        raise ImageError(
            f"{path}: holds {frames} frames, expected a still picture; save the frame you mean as a"
            " file of its own"
        )
    if _has_raw_deep_planes(picture):
        raise ImageError(
            f"{path}: holds 16 bits a channel in separate planes without compression, which Pillow"
            " misreads; save it with the channels of each pixel together"
        )


def _frames(path: Path, picture: Image.Image) -> int:
    """How many pictures the file holds, without previews and masks of the first."""
    # Cameras put a preview behind the photo, which makes an MPO of a JPEG: the first is the photo.
    if picture.format == "MPO":
        return 1
    if not isinstance(picture, TiffImageFile):
        return getattr(picture, "n_frames", 1)
    try:
        if picture.n_frames == 1:
            return 1
    except (SyntaxError, KeyError):  # Pillow knows no page that is a mask; it stands there now
        picture.seek(0)
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            kinds = [page.aspage().subfiletype for page in islice(file.pages, MOST_TIFF_PAGES)]
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from None
    return 1 + sum(not kind & (_REDUCED | _MASK) for kind in kinds[1:])


def _has_raw_deep_planes(picture: Image.Image) -> bool:
    if not isinstance(picture, TiffImageFile):
        return False
    return (
        picture.tag_v2.get(PLANAR_CONFIGURATION) == 2
        and 16 in picture.tag_v2.get(BITSPERSAMPLE, ())
        and picture.info.get("compression") == "raw"
    )


def _orientation(picture: Image.Image) -> int:
    found = picture.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _unit(pixels: np.ndarray, full_scale: float) -> np.ndarray:
    """Scale to [0, 1], float32."""
    scaled = pixels.astype(np.float32)
    scaled /= full_scale
    return scaled


def _decode_8_bit(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    picture.load()
    picture = ImageOps.exif_transpose(picture)
    profile = _profile(picture)
    alpha_HW = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha_HW = _unit(np.asarray(picture.getchannel("A")), 255)
    picture = picture.convert("RGB") if profile is None else _to_srgb(picture, profile)
    return _unit(np.asarray(picture), 255), alpha_HW


def _profile(picture: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The embedded ICC profile; None too where it is one for other channels than these."""
    content = picture.info.get("icc_profile")
    if not content:
        return None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
    mode = _PROFILE_MODES.get(profile.profile.xcolor_space.strip())
    fits = {
        "RGB": picture.mode != "CMYK",  # grey counts as RGB too: programs leave RGB profiles on it
        "L": picture.mode in ("1", "L", "LA", *_DEEP_GREY_MODES),
        "CMYK": picture.mode == "CMYK",
    }
    return profile if mode and fits[mode] else None


def _to_srgb(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    mode = _PROFILE_MODES[profile.profile.xcolor_space.strip()]
    converted = ImageCms.profileToProfile(
        picture.convert(mode), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # it is None only where the picture is converted in place
    return converted


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether a conversion to sRGB changes no colour by more than rounding; names tell nothing."""
    if profile.profile.xcolor_space.strip() != "RGB":
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, -1, 3)
    converted = np.asarray(_to_srgb(Image.fromarray(colours), profile))
    return bool(np.abs(converted.astype(int) - colours).max() <= 1)


def _decode_deep_grey(picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    full_scale = 1.0 if picture.mode == "F" else 65535.0
    transparent = picture.info.get("transparency")
    # Pillow inverts such a TIFF at 8 bits and forgets it at 16.
    white_is_0 = isinstance(picture, TiffImageFile) and (
        picture.mode.startswith("I;16") and picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    )
    picture.load()
    pixels_HW = np.asarray(ImageOps.exif_transpose(picture))
    alpha_HW = None if transparent is None else (pixels_HW != transparent).astype(np.float32)
    grey_HW = np.clip(_unit(pixels_HW, full_scale), 0.0, 1.0)
    if white_is_0:
        grey_HW = 1 - grey_HW
    profile = _profile(picture)
    if profile is None:
        return np.repeat(grey_HW[..., None], 3, axis=2), alpha_HW
    # Pillow knows profiles of 8 bits only; between those levels the curve is as good as straight.
    levels = np.arange(256, dtype=np.uint8)
    srgb_L3 = _unit(np.asarray(_to_srgb(Image.fromarray(levels[None]), profile))[0], 255)
    curve = (np.interp(grey_HW * 255, levels, srgb_L).astype(np.float32) for srgb_L in srgb_L3.T)
    return np.stack(list(curve), axis=2), alpha_HW


def _has_deep_colour(path: Path, picture: Image.Image) -> bool:
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
        deep = picture.format == "PNG" and _png_bits(path) == 16
    if not deep:
        return False
    profile = _profile(picture)
    return profile is None or _is_srgb(profile)


def _png_bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]  # the header's first nine bytes stand at the same place always


def _decode_deep_colour(path: Path, picture: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    size, orientation = upright_size(picture), _orientation(picture)
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else None
    # OpenCV returns half an image for some files cut short, depending on its version. Pillow never
    # does, and its messages are better.
    picture.load()
    content = path.read_bytes()
    if tags is not None and orientation != 1:
        content = _without_rotation(content)
    pixels = _turn(_imdecode(content), orientation)
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[1::-1] != size:
        raise OSError(f"OpenCV reads {pixels.dtype}{list(pixels.shape)}")
    # A PNG of mode RGB gets a fourth channel from the colour it names transparent; a TIFF of mode
    # RGB may have one too, of no known meaning.
    if pixels.shape[2] == 3 or (tags is not None and picture.mode == "RGB"):
        return _unit(pixels[..., 2::-1], 65535), None
    colours_HW3, alpha_HW = _unit(pixels[..., 2::-1], 65535), _unit(pixels[..., 3], 65535)
    if tags is not None and tags.get(EXTRASAMPLES) == (1,):
        _divide_by_alpha(colours_HW3, alpha_HW)
    return colours_HW3, alpha_HW


def _divide_by_alpha(colours_HW3: np.ndarray, alpha_HW: np.ndarray) -> None:
    """Undo, in place, that a TIFF may hold its colours multiplied by alpha."""
    colours_HW3 /= np.maximum(alpha_HW, 1 / 65535)[..., None]
    np.minimum(colours_HW3, 1, out=colours_HW3)


def _imdecode(content: bytes) -> np.ndarray:
    """Height x width x (BGR or BGRA), as deep as in the file."""
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise OSError(f"OpenCV: {error}") from None
    if pixels is None:
        raise OSError("OpenCV finds it damaged")
    return pixels


def _without_rotation(tiff: bytes) -> bytes:
    """The file with its orientation tag at 1: OpenCV applies some orientations, fails at others."""
    import tifffile

    buffer = io.BytesIO(tiff)
    try:
        with tifffile.TiffFile(buffer) as file:
            file.pages.first.tags["Orientation"].overwrite(1)
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from None
    return buffer.getvalue()


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation of 1 to 8, as `ImageOps.exif_transpose` does to a picture."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarters = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarters)
