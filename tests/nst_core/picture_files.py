"""Picture files for tests of reading: 16 bits a channel, and small ICC profiles."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def noise(channels: int, height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**16, (height, width, channels), dtype=np.uint16)


def deep_png(pixels: np.ndarray, **chunks: bytes) -> bytes:
    """A PNG with 16 bits a channel; ``chunks`` are written behind the header."""
    order = [2, 1, 0, 3][: pixels.shape[2]]
    content = cv2.imencode(".png", pixels[..., order])[1].tobytes()
    buffer = io.BytesIO()
    buffer.write(content[:33])
    for name, data in chunks.items():
        PngImagePlugin.putchunk(buffer, name.encode(), data)
    return buffer.getvalue() + content[33:]


def deep_tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"photometric": "rgb", **options})  # type: ignore[arg-type]
    return buffer.getvalue()


def with_profile(pixels: np.ndarray, suffix: str, profile: bytes) -> bytes:
    if suffix == "tif":
        return deep_tiff(pixels, iccprofile=profile)
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, format="PNG", icc_profile=profile)
    content = buffer.getvalue()
    start = content.index(b"iCCP")
    (length,) = struct.unpack(">I", content[start - 4 : start])
    return deep_png(pixels, iCCP=content[start + 4 : start + 4 + length])


def icc(space: str, pcs: str, **tags: bytes) -> bytes:
    """A small ICC profile of version 2."""
    kind = b"mntr" if space != "CMYK" else b"prtr"
    head = struct.pack(">4xI", 0x02100000) + kind + space.ljust(4).encode() + pcs.ljust(4).encode()
    head = (head.rjust(20, b"\0") + bytes(12) + b"acsp").ljust(64, b"\0")
    head = (b"\0" * 4 + head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0")
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        place = len(head) + 4 + 12 * len(tags) + len(body)
        index += name.encode() + struct.pack(">2I", place, len(data))
        body += data.ljust(-(-len(data) // 4) * 4, b"\0")
    content = head + index + body
    return struct.pack(">I", len(content)) + content[4:]


def curve(gamma: float) -> bytes:
    return b"curv" + struct.pack(">4xIH", 1, round(gamma * 256))


def xyz(*values: float) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *(round(value * 65536) for value in values))


WHITE = xyz(0.9642, 1.0, 0.8249)
LINEAR_GRAY = icc("GRAY", "XYZ", wtpt=WHITE, kTRC=curve(1.0))
#: Light itself with the primaries of sRGB: half of it looks brighter than half as bright.
LINEAR_RGB = icc(
    "RGB",
    "XYZ",
    wtpt=WHITE,
    rXYZ=xyz(0.4361, 0.2225, 0.0139),
    gXYZ=xyz(0.3851, 0.7169, 0.0971),
    bXYZ=xyz(0.1431, 0.0606, 0.7141),
    **{f"{channel}TRC": curve(1.0) for channel in "rgb"},
)


def gray_cyan_cmyk() -> bytes:
    """A profile of inks whose cyan is a gray of L* = 50, black is black, the others are clear."""
    identity = bytes(range(256))
    corners = range(16)  # bits: cyan, magenta, yellow, black
    lightness = [0 if corner & 1 else 128 if corner & 8 else 255 for corner in corners]
    table = struct.pack(">4x4B9i", 4, 3, 2, 0, *(65536 * (k % 4 == 0) for k in range(9)))
    table += identity * 4 + b"".join(bytes([level, 128, 128]) for level in lightness) + identity * 3
    return icc("CMYK", "Lab", wtpt=WHITE, A2B0=b"mft1" + table)


def exif_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of entries (tag, type, count, value), whatever these are."""
    start, body, rows = 8 + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in sorted(entries):
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack("<I", start + len(body))
            body += value
        rows += struct.pack("<HHI", tag, kind, count) + field
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + body


#: The orientation by which cameras say that a photo is to be turned a quarter to the right.
SIDEWAYS = (0x112, 3, 1, struct.pack("<H", 6))

#: EXIF blocks of a photo held sideways, each with one entry out of the ordinary.
ODD_EXIF = {
    "rational": exif_block(SIDEWAYS, (0x11A, 10, 1, struct.pack("<ii", -1, 0))),
    "short": exif_block(SIDEWAYS, (0x128, 8, 1, struct.pack("<h", -5))),
    "text": exif_block(SIDEWAYS, (0x11A, 2, 4, b"72\0\0")),
    "offset": exif_block(SIDEWAYS, (0x8769, 4, 1, struct.pack("<I", 2**31))),
    "count": exif_block(SIDEWAYS, (0x10F, 2, 2**32 - 1, b"Camera\0\0")),
    "type": exif_block(SIDEWAYS, (0x110, 99, 1, b"abcd")),
    "thumbnail": exif_block(SIDEWAYS, (0x201, 4, 1, b"\xff\xff\xff\0"), (0x202, 4, 1, b"\xff" * 4)),
}


def jpeg_with_exif(picture: Image.Image, block: bytes) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    content, data = buffer.getvalue(), b"Exif\0\0" + block
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    return content[:2] + segment + content[2:]


def png_with_chunks(
    picture: Image.Image, *chunks: tuple[bytes, bytes], broken: bool = False
) -> bytes:
    """A PNG with chunks behind its header; their checksums may be wrong."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    content = buffer.getvalue()
    added = b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data) ^ broken)
        for kind, data in chunks
    )
    return content[:33] + added + content[33:]
