"""Reading 16 bits a channel: exact values, and the same checks as for 8 bits."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from nst_core.errors import ImageError
from nst_core.images.sizes import check_image
from nst_core.images.tensors import load_alpha, load_image
from tests.nst_core.picture_files import (
    LINEAR_GRAY,
    LINEAR_RGB,
    SRGB,
    deep_png,
    deep_tiff,
    noise,
    with_profile,
    write,
)


@pytest.mark.parametrize(
    "encode",
    [
        deep_png,
        deep_tiff,
        lambda pixels: deep_tiff(pixels, byteorder=">"),
        lambda pixels: deep_tiff(pixels, bigtiff=True),
        lambda pixels: deep_tiff(pixels, compression="zlib", predictor=True, tile=(16, 16)),
        lambda pixels: cv2.imencode(".tiff", pixels[..., ::-1])[1].tobytes(),  # LZW
    ],
    ids=["png", "tiff", "big-endian", "BigTIFF", "tiled and compressed", "lzw"],
)
def test_deep_color_is_exact(tmp_path: Path, encode: Callable[[np.ndarray], bytes]) -> None:
    """All 65536 levels of a channel are read exactly, in every container."""
    pixels = noise(3)
    path = tmp_path / "a"
    path.write_bytes(encode(pixels))
    expected = torch.from_numpy((pixels / 65535).astype(np.float32)).permute(2, 0, 1)
    torch.testing.assert_close(load_image(path), expected, atol=1e-7, rtol=0)


def test_deep_alpha_lies_over_white(tmp_path: Path) -> None:
    """16-bit alpha is laid over white, also in a TIFF whose colors are multiplied by alpha."""
    pixels = noise(4)
    pixels[:8, :8, 3] = 0
    alpha = pixels[..., 3:] / 65535
    expected = np.moveaxis(pixels[..., :3] / 65535 * alpha + 1 - alpha, -1, 0)
    multiplied = pixels.copy()
    multiplied[..., :3] = np.round(pixels[..., :3] * alpha)
    files = {
        "a.png": deep_png(pixels),
        "a.tif": deep_tiff(pixels, extrasamples=["unassalpha"]),
        "b.tif": deep_tiff(multiplied, extrasamples=["assocalpha"]),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        found = load_image(tmp_path / name).numpy()
        np.testing.assert_allclose(found, expected, atol=1 / 65535)
        alpha_1HW = load_alpha(tmp_path / name)
        assert alpha_1HW is not None
        np.testing.assert_allclose(alpha_1HW[0].numpy(), alpha[..., 0], atol=1e-7)


def test_deep_transparent_color(tmp_path: Path) -> None:
    """The transparent color of a 16-bit PNG is read as white; similar colors are not."""
    pixels = np.full((40, 40, 3), 1000, np.uint16)
    pixels[0] = 1001
    (tmp_path / "a.png").write_bytes(deep_png(pixels, tRNS=struct.pack(">3H", 1000, 1000, 1000)))
    image = load_image(tmp_path / "a.png")
    assert image[:, 1:].min() == 1
    assert image[:, 0].max() < 0.02


def test_fourth_channel_without_meaning_is_ignored(tmp_path: Path) -> None:
    """A TIFF's fourth channel that is not declared as alpha is ignored."""
    pixels = noise(4)
    (tmp_path / "a.tif").write_bytes(deep_tiff(pixels, extrasamples=["unspecified"]))
    expected = torch.from_numpy((pixels[..., :3] / 65535).astype(np.float32)).permute(2, 0, 1)
    torch.testing.assert_close(load_image(tmp_path / "a.tif"), expected, atol=1e-7, rtol=0)
    assert load_alpha(tmp_path / "a.tif") is None


def test_separate_planes_have_the_right_colors(tmp_path: Path) -> None:
    """16-bit separate planes are read at 8 bits if compressed, and refused otherwise."""
    planes = np.moveaxis(noise(3), -1, 0)
    (tmp_path / "a.tif").write_bytes(deep_tiff(planes, planarconfig="separate"))
    with pytest.raises(ImageError, match="separate planes"):
        load_image(tmp_path / "a.tif")
    content = deep_tiff(planes, planarconfig="separate", compression="zlib")
    (tmp_path / "a.tif").write_bytes(content)
    expected = torch.from_numpy((planes >> 8) / 255).float()
    torch.testing.assert_close(load_image(tmp_path / "a.tif"), expected, atol=1.01 / 255, rtol=0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_other_profiles_than_srgb_reduce_the_depth(tmp_path: Path, suffix: str) -> None:
    """An sRGB profile keeps 16 bits; colors of another profile are converted at 8 bits."""
    pixels = np.full((40, 40, 3), 32768 + 100, np.uint16)
    path = tmp_path / f"a.{suffix}"
    for profile, expected, tolerance in (
        (SRGB, 32868 / 65535, 1e-7),
        (LINEAR_GRAY, 32868 / 65535, 1e-7),  # not for these channels
        (LINEAR_RGB, 188 / 255, 0.01),
    ):
        path.write_bytes(with_profile(pixels, suffix, profile))
        assert load_image(path).mean().item() == pytest.approx(expected, abs=tolerance)


def test_deep_headers_are_checked_before_decoding(tmp_path: Path) -> None:
    """Files that are too large, too small, or have several pages are refused by their header."""
    header = io.BytesIO(deep_png(noise(3))[:8])
    header.seek(8)
    PngImagePlugin.putchunk(header, b"IHDR", struct.pack(">2I5B", 20_000, 20_000, 16, 2, 0, 0, 0))
    PngImagePlugin.putchunk(header, b"IDAT", b"")
    (tmp_path / "huge.png").write_bytes(header.getvalue())
    (tmp_path / "tiny.tif").write_bytes(deep_tiff(noise(3)[:8, :8]))
    pages = np.stack([noise(3), noise(3)])
    (tmp_path / "pages.tif").write_bytes(deep_tiff(pages))
    expected = {"huge.png": "megapixels", "tiny.tif": "too small", "pages.tif": "2 frames"}
    for name, fault in expected.items():
        for function in (load_image, load_alpha, check_image):
            with pytest.raises(ImageError, match=fault):
                function(tmp_path / name)


@given(kept=st.floats(0, 1, exclude_max=True), suffix=st.sampled_from(["png", "tif", "lzw"]))
def test_truncated_deep_files_are_refused(
    tmp_path_factory: pytest.TempPathFactory, kept: float, suffix: str
) -> None:
    """A 16-bit file that is truncated anywhere raises an error that says so."""
    if suffix == "png":
        content = deep_png(noise(3))
    elif suffix == "tif":
        content = deep_tiff(noise(3), compression="zlib", metadata=None)
    else:
        content = cv2.imencode(".tiff", noise(3))[1].tobytes()
    path = tmp_path_factory.mktemp("cut") / f"a.{suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageError, match=r"cannot be decoded|not a picture|is empty|damaged"):
        load_image(path)


def test_damaged_deep_png_is_refused(tmp_path: Path) -> None:
    """A single wrong bit in the pixels of a 16-bit PNG raises an error."""
    content = bytearray(deep_png(noise(3)))
    content[len(content) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match="cannot be decoded"):
        load_image(tmp_path / "a.png")


# Gray


def test_16_bit_gray_keeps_its_range(tmp_path: Path) -> None:
    """A value of half the 16-bit range is read as 0.5."""
    path = write(tmp_path / "a.png", Image.fromarray(np.full((40, 40), 32768, np.uint16)))
    assert load_image(path).mean().item() == pytest.approx(0.5, abs=1e-3)


def test_deep_gray_with_white_at_0(tmp_path: Path) -> None:
    """A 16-bit TIFF in which 0 is white is not inverted."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((40, 40), 1000, np.uint16), photometric="miniswhite")
    assert load_image(path).mean().item() == pytest.approx(1 - 1000 / 65535, abs=1e-6)


@pytest.mark.parametrize("profile", [LINEAR_GRAY, LINEAR_RGB])
def test_profiles_of_16_bit_gray_are_applied(tmp_path: Path, profile: bytes) -> None:
    """16-bit gray is converted to the same sRGB values as 8-bit gray, with more levels."""
    ramp = np.tile(np.linspace(0, 65535, 4096).astype(np.uint16), (40, 1))
    deep = load_image(write(tmp_path / "a.tif", Image.fromarray(ramp), icc_profile=profile)).numpy()
    small = Image.fromarray((ramp / 257).round().astype(np.uint8))
    shallow = load_image(write(tmp_path / "b.tif", small, icc_profile=profile)).numpy()
    # Where light is linear, the darkest steps of 8 bits are far apart.
    assert np.abs(deep - shallow)[..., 400:].max() < 0.012
    assert len(np.unique(deep)) > 4 * len(np.unique(shallow))


def test_16_bit_gray_that_uses_12_bits_is_reported_as_dark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A 16-bit file keeps its range, and one log line names a picture that is nearly black."""
    pixels = np.full((40, 48), 4000, np.uint16)
    image = load_image(write(tmp_path / "a.tif", Image.fromarray(pixels)))
    assert image.max().item() == pytest.approx(4000 / 65535, abs=1e-4)
    assert "brightest value is 4000 of 65535" in caplog.records[0].getMessage()
