"""Odd, damaged or large metadata: the picture is read upright, or one error names the file."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nst_core.errors import ImageError
from nst_core.images.sizes import check_image
from nst_core.images.tensors import load_image, read_text, save_image, to_uint8
from tests.nst_core.picture_files import (
    LINEAR_RGB,
    ODD_EXIF,
    SRGB,
    deep_tiff,
    jpeg_with_exif,
    noise,
    png_with_chunks,
)

SOME, MANY = 150, 3000
COUNTS = [
    pytest.param(SOME, id="some"),
    pytest.param(MANY, id="many", marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
]


def picture() -> Image.Image:
    """Return a dark picture, wider than high, with a white upper left corner."""
    made = Image.new("RGB", (64, 40), (40, 20, 10))
    made.paste((255, 255, 255), (0, 0, 16, 16))
    return made


def saved(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def with_exif(form: str, block: bytes) -> bytes:
    if form == "JPEG":
        return jpeg_with_exif(picture(), block)
    if form == "PNG":
        return png_with_chunks(picture(), (b"eXIf", block))
    return saved(form, exif=b"Exif\0\0" + block, lossless=True)


@pytest.mark.parametrize("kind", list(ODD_EXIF))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_one_odd_entry_changes_nothing(
    form: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sideways photo is turned upright, whatever its other EXIF entries contain."""
    path = tmp_path / "a"
    path.write_bytes(with_exif(form, ODD_EXIF[kind]))
    image = load_image(path)
    assert image.shape == (3, 64, 40) and check_image(path) == (40, 64)
    assert image[:, 8, 32].min() > 0.9 and image[:, 8, 8].max() < 0.3
    assert not caplog.records


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_turns_nothing_and_is_reported(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture whose EXIF block is damaged or truncated is read without rotation, with a note."""
    for number, block in enumerate((b"\1\2\3\4", ODD_EXIF["text"][:12])):
        path = tmp_path / f"{number}"
        path.write_bytes(with_exif(form, block))
        assert load_image(path).shape == (3, 40, 64)
        assert caplog.records[-1].getMessage().startswith(f"{path}: its EXIF metadata cannot be")
    assert len(caplog.records) == 2


def test_damaged_chunks_beside_the_pixels_are_skipped(tmp_path: Path) -> None:
    """A PNG whose comments, transparency, EXIF or profile have a wrong checksum is read."""
    chunks = [(b"tEXt", b"a\0b"), (b"gAMA", bytes(4)), (b"pHYs", bytes(9)), (b"tRNS", bytes(6))]
    chunks += [(b"eXIf", bytes(9)), (b"iCCP", b"p\0\0" + b"x" * 20)]
    (tmp_path / "a.png").write_bytes(png_with_chunks(picture(), *chunks, broken=True))
    assert np.array_equal(to_uint8(load_image(tmp_path / "a.png")), np.asarray(picture()))


@pytest.mark.parametrize("name", ["rational", "text", "short", "sub-IFD"])
def test_odd_entries_of_a_tiff_change_nothing(name: str, tmp_path: Path) -> None:
    """A sideways TIFF is turned upright, whatever its resolution and EXIF entries contain."""
    odd = {
        "rational": (282, "2I", 1, (5, 0), True),
        "text": (282, "s", 0, "72", True),
        "short": (296, "h", 1, -5, True),
        "sub-IFD": (34665, "I", 1, 2**31, True),
    }[name]
    for compression in (None, "zlib"):
        content = deep_tiff(
            np.asarray(picture()),
            extratags=[(274, "H", 1, 6, True), odd],
            metadata=None,
            compression=compression,
        )
        (tmp_path / "a.tif").write_bytes(content)
        image = load_image(tmp_path / "a.tif")
        assert image.shape == (3, 64, 40)
        assert image[:, 8, 32].min() > 0.9 and image[:, 8, 8].max() < 0.3


def test_orientation_in_xmp_counts_where_exif_has_none(tmp_path: Path) -> None:
    """The orientation in XMP is applied to a JPEG and a PNG without EXIF."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    (tmp_path / "a.jpg").write_bytes(saved("JPEG", xmp=xmp))
    itxt = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    (tmp_path / "a.png").write_bytes(png_with_chunks(picture(), itxt))
    for name in ("a.jpg", "a.png"):
        assert check_image(tmp_path / name) == (40, 64)


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt"])
def test_pngs_with_large_text_are_read(kind: str, tmp_path: Path) -> None:
    """A PNG with many megabytes of text is read like one without text."""
    text = b'{"node": 1}' * 8_000_000
    data = {
        "zTXt": b"workflow\0\0" + zlib.compress(text, 1),
        "iTXt": b"workflow\0\1\0\0\0" + zlib.compress(text, 1),
        "tEXt": b"workflow\0" + text,
    }[kind]
    (tmp_path / "a.png").write_bytes(png_with_chunks(picture(), (kind.encode(), data)))
    assert np.array_equal(to_uint8(load_image(tmp_path / "a.png")), np.asarray(picture()))
    assert isinstance(read_text(tmp_path / "a.png"), dict)


def test_a_large_profile_is_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A color profile of several megabytes is applied in PNG and JPEG."""
    size = 3_000_000
    large = struct.pack(">I", size) + LINEAR_RGB[4:] + bytes(size - len(LINEAR_RGB))
    found = []
    for profile in (LINEAR_RGB, large):
        chunk = (b"iCCP", b"p\0\0" + zlib.compress(profile))
        (tmp_path / "a.png").write_bytes(png_with_chunks(picture(), chunk))
        found.append(load_image(tmp_path / "a.png"))
    torch.testing.assert_close(*found)
    (tmp_path / "a.jpg").write_bytes(saved("JPEG", icc_profile=large, quality=100))
    torch.testing.assert_close(load_image(tmp_path / "a.jpg"), found[0], atol=0.06, rtol=0)
    assert found[0][0, 30, 30].item() > 0.4 and not caplog.records


def test_text_of_a_result_is_read_back(tmp_path: Path) -> None:
    """`read_text` returns the text that `save_image` wrote into a PNG."""
    save_image(torch.rand(3, 40, 48), tmp_path / "a.png", {"preset": "süß"})
    assert read_text(tmp_path / "a.png") == {"preset": "süß"}


def random_exif(chance: random.Random) -> bytes:
    """Return EXIF with random entries, sometimes truncated or empty."""
    order, count = chance.choice("<>"), chance.randrange(1, 10)
    start, rows, body = 8 + 2 + 12 * count + 4, [], b""
    tags = (0x112, 0x11A, 0x11B, 0x128, 0x8769, 0x8825, 0xA005, 0x10F, 0x201, 0x202, 700, 330)
    for _ in range(count):
        kind, number = chance.randrange(15), chance.choice((0, 1, 1, 2, 8, 1000, 2**32 - 1))
        field = chance.choice((chance.randbytes(4), struct.pack(order + "I", start + len(body))))
        body += chance.randbytes(chance.randrange(20))
        rows.append(struct.pack(order + "HHI", chance.choice(tags), kind, number) + field)
    head = b"II*\0" if order == "<" else b"MM\0*"
    block = head + struct.pack(order + "IH", 8, count) + b"".join(rows) + bytes(4) + body
    return block[: chance.randrange(len(block))] if chance.random() < 0.2 else block


def random_profile(chance: random.Random) -> bytes:
    profile = bytearray(chance.choice((SRGB, LINEAR_RGB)))
    for _ in range(chance.randrange(1, 30)):
        profile[chance.randrange(len(profile))] = chance.randrange(256)
    return bytes(profile[: chance.randrange(1, len(profile) + 1)])


ODD: dict[str, Callable[[random.Random], bytes]] = {
    "exif in jpeg": lambda chance: with_exif("JPEG", random_exif(chance)),
    "exif in png": lambda chance: with_exif("PNG", random_exif(chance)),
    "exif in webp": lambda chance: with_exif("WEBP", random_exif(chance)),
    "profile in jpeg": lambda chance: saved("JPEG", icc_profile=random_profile(chance)),
    "profile in webp": lambda chance: saved("WEBP", icc_profile=random_profile(chance)),
    "profile in png": lambda chance: saved("PNG", icc_profile=random_profile(chance)),
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", list(ODD))
def test_pictures_with_random_metadata_are_read(count: int, kind: str, tmp_path: Path) -> None:
    """A picture with random EXIF or color profile is read without an error."""
    path = tmp_path / "a"
    for seed in range(count):
        path.write_bytes(ODD[kind](random.Random(seed)))
        try:
            assert sorted(load_image(path).shape) == [3, 40, 64]
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "deep"])
def test_a_damaged_file_is_a_picture_or_one_error(count: int, form: str, tmp_path: Path) -> None:
    """A truncated or altered file gives a picture, or one ImageError with its name."""
    whole = deep_tiff(noise(3)) if form == "deep" else saved(form)
    path = tmp_path / "a"
    for seed in range(count):
        chance = random.Random(seed)
        content = bytearray(whole[: chance.randrange(len(whole) + 1)])
        if content and chance.random() < 0.7:
            content = bytearray(whole)
            for _ in range(chance.randrange(1, 12)):
                content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            assert load_image(path).shape[0] == 3
        except ImageError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
