import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from nst_core.errors import ImageError
from nst_core.images.encode import encode, encode_png


def noise(channels: int, dtype: type = np.uint16) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, (40, 48, channels), dtype=dtype, endpoint=True)


def chunk_names(png: bytes) -> list[bytes]:
    names, place = [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        names.append(png[place + 4 : place + 8])
        place += length + 12
    return names


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_holds_what_its_header_says(channels: int, dtype: type) -> None:
    """A PNG has depth and color type in its header, text before pixels, and an end chunk."""
    content = encode_png(noise(channels, dtype), {"key": "value"})
    assert content[24] == 8 * np.dtype(dtype).itemsize
    assert content[25] == {3: 2, 4: 6}[channels]
    names = chunk_names(content)
    assert names[0] == b"IHDR"
    assert names.index(b"iTXt") < names.index(b"IDAT")
    assert names[-1] == b"IEND"


def test_png_without_text_has_no_text_chunk() -> None:
    """No text and empty text give the same file."""
    for dtype in (np.uint8, np.uint16):
        pixels = noise(3, dtype)
        assert encode_png(pixels) == encode_png(pixels, {})
        assert b"iTXt" not in chunk_names(encode_png(pixels))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_alpha_is_declared(dtype: type) -> None:
    """A TIFF declares the fourth channel as alpha that colors are not multiplied by."""
    pixels = noise(4, dtype)
    with tifffile.TiffFile(io.BytesIO(encode(Path("a.tif"), pixels))) as file:
        assert tuple(file.pages.first.extrasamples) == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        np.testing.assert_array_equal(file.asarray(), pixels)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pillow_reads_16_bits_too(suffix: str) -> None:
    """Pillow, which reads 8 bits, gets the upper bits in the right order of channels."""
    pixels = noise(4)
    with Image.open(io.BytesIO(encode(Path(f"a.{suffix}"), pixels))) as picture:
        found = np.asarray(picture.convert("RGBA"))
    assert np.abs(found.astype(int) - (pixels >> 8)).max() <= 1


def test_the_depth_must_fit_the_format() -> None:
    """Formats without 16 bits or alpha refuse them with an error that names the format."""
    with pytest.raises(ImageError, match="JPEG holds 8 bits"):
        encode(Path("a.jpg"), noise(3))
    with pytest.raises(ImageError, match="JPEG holds no transparency"):
        encode(Path("a.jpg"), noise(4, np.uint8))
