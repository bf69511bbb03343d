"""Deep color: RGB files of 16 bits a channel, which Pillow reads and writes at 8 bits only.

OpenCV reads PNG and TIFF and writes PNG. tifffile writes TIFF, because OpenCV does not mark the
fourth channel of a TIFF as alpha.
"""

from __future__ import annotations

import io
import re

import numpy as np
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import PLANAR_CONFIGURATION, TiffImageFile

#: Pillow's names for the byte layouts that OpenCV decodes to the same channels: X is a fourth
#: channel without a meaning, A is alpha, a is alpha that the colors are multiplied by.
_LAYOUT = re.compile(r"RGB([AaX]?);16[BLN]")


def is_deep_color(picture: ImageFile) -> bool:
    """Return whether a picture that is not decoded yet is RGB with 16 bits a channel."""
    # Of a TIFF with one plane per channel OpenCV decodes the first plane only.
    planes = isinstance(picture, TiffImageFile) and picture.tag_v2.get(PLANAR_CONFIGURATION) == 2
    return bool(_LAYOUT.fullmatch(_layout(picture))) and not planes


def _layout(picture: ImageFile) -> str:
    """Return Pillow's name for the byte layout of the channels; empty if it has none."""
    arguments = (picture.tile[0].args if picture.tile else None) or ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


def decode_deep_color(picture: ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a picture of which `is_deep_color` is true, without turning it upright.

    Returns:
        Colors, float32 HW3 in [0, 1], not multiplied by alpha; and alpha, float32 HW in [0, 1]
        (1 is opaque), or None if the file has none.

    Raises:
        OSError: the file is damaged or incomplete.
    """
    import cv2

    match = _LAYOUT.fullmatch(_layout(picture))
    assert match is not None and isinstance(picture.fp, io.BytesIO)
    fourth_channel, content = match[1], picture.fp.getvalue()
    # Some versions of OpenCV return half an image for a truncated file. Pillow raises an error.
    picture.load()
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise OSError(f"OpenCV: {error}") from None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise OSError("OpenCV cannot decode its 16-bit channels")
    colors_HW3 = pixels[..., 2::-1].astype(np.float32) / 65535
    if pixels.shape[2] == 3 or fourth_channel == "X":
        return colors_HW3, None
    alpha_HW = pixels[..., 3].astype(np.float32) / 65535
    if fourth_channel == "a":
        colors_HW3 /= np.maximum(alpha_HW, 1 / 65535)[..., None]
        np.minimum(colors_HW3, 1, out=colors_HW3)
    return colors_HW3, alpha_HW


def encode_deep_png(pixels: np.ndarray) -> bytes:
    """Return the content of a PNG file.

    Args:
        pixels: uint16, HW3 or HW4; the fourth channel is alpha.

    Raises:
        OSError: the format cannot hold an image of this size.
    """
    import cv2

    encoded, content = cv2.imencode(".png", pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    if not encoded:
        raise OSError("OpenCV gives no reason")
    return content.tobytes()


def encode_deep_tiff(pixels: np.ndarray, software: str | None) -> bytes:
    """Return the content of a TIFF file, compressed without loss.

    Args:
        pixels: uint16, HW3 or HW4; the fourth channel is alpha.
        software: name of the program that made the picture, if the file is to hold it.

    Raises:
        ValueError: the format cannot hold an image of this size.
    """
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="rgb",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        compression="zlib",
        predictor=True,
        metadata=None,
        software=software,
    )
    return buffer.getvalue()
