"""Gray of 32 bits and floating point: the range is taken from the values, and a note says so."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from nst_core.images.tensors import load_image

RAMP = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (72, 1))


def read(path: Path, pixels: np.ndarray, photometric: str = "minisblack") -> np.ndarray:
    tifffile.imwrite(path, pixels, photometric=photometric)
    found = load_image(path).numpy()
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    return found[0]


@pytest.mark.parametrize(
    "pixels",
    [
        RAMP * 255,
        RAMP * 65535,
        RAMP * 1.5,
        RAMP * 40,
        RAMP * 3000 - 1000,
        RAMP * 1e30,
        (RAMP * 255).astype(np.int32),
        (RAMP * 65535).astype(np.uint32),
        (RAMP.astype(np.float64) * (2**32 - 1)).astype(np.uint32),
        (RAMP * 2000 - 1000).astype(np.int16),
    ],
)
def test_a_ramp_of_any_range_is_a_ramp(
    pixels: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The least value becomes black and the greatest white, and one line names both."""
    path = tmp_path / "a.tif"
    np.testing.assert_allclose(read(path, pixels), RAMP, atol=0.01)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path}: its values go from ")


def test_values_from_0_to_1_are_taken_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Floating point within [0, 1] keeps its values, also where it uses a part of them."""
    for pixels in (RAMP, RAMP / 4 + 0.25):
        np.testing.assert_allclose(read(tmp_path / "a.tif", pixels), pixels, atol=1e-7)
    assert not caplog.records


def test_single_hot_pixels_do_not_blacken_the_rest(tmp_path: Path) -> None:
    """A light of a thousand times the rest, and values that are no number, change nothing else."""
    pixels = RAMP * 255
    pixels[0, :3] = 1e6, np.inf, np.nan
    found = read(tmp_path / "a.tif", pixels)
    np.testing.assert_allclose(found[1:], RAMP[1:], atol=0.01)
    assert found[0, :3].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("value", [0.0, 0.5, 100.0, 1000.0, 1e6, -5.0])
def test_an_even_picture_is_no_error(
    value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A single value has a place between black and white, and outside of [0, 1] it is said."""
    found = read(tmp_path / "a.tif", np.full((40, 48), value, np.float32))
    assert 0 <= found.min() == found.max() < 1
    assert len(caplog.records) == (not 0 <= value <= 1)


def test_white_at_0_counts_in_floating_point(tmp_path: Path) -> None:
    """A 32-bit TIFF that counts from white to black is not read as a negative."""
    np.testing.assert_allclose(read(tmp_path / "a.tif", RAMP, "miniswhite"), 1 - RAMP, atol=1e-6)


def test_12_bits_fill_the_range(tmp_path: Path) -> None:
    """A PGM whose greatest value is 4095 is as bright as one of 65535; so is a 12-bit TIFF."""
    levels = np.rint(RAMP * 4095).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5\n96 72\n4095\n" + levels.tobytes())
    np.testing.assert_allclose(load_image(tmp_path / "a.pgm")[0].numpy(), RAMP, atol=2e-4)
    packed = np.packbits(
        np.unpackbits(levels.view(np.uint8).reshape(72, 96, 2), axis=2)[..., 4:].reshape(72, -1)
    )
    entries = [(256, 96), (257, 72), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1)]
    entries += [(278, 72), (279, packed.size)]
    head = b"II*\0\x08\0\0\0" + np.uint16(len(entries)).tobytes()
    rows = b"".join(
        np.array([tag, 4], "<u2").tobytes() + np.array([1, value], "<u4").tobytes()
        for tag, value in entries
    )
    content = (head + rows + bytes(4)).ljust(122, b"\0") + packed.tobytes()
    (tmp_path / "a.tif").write_bytes(content)
    np.testing.assert_allclose(load_image(tmp_path / "a.tif")[0].numpy(), RAMP, atol=2e-4)


def test_a_pfm_is_read_as_a_float_tiff(tmp_path: Path) -> None:
    """A gray PFM from 0 to 255 is a picture, not a white sheet."""
    Image.fromarray(RAMP * 255).save(tmp_path / "a.pfm")
    np.testing.assert_allclose(load_image(tmp_path / "a.pfm")[0].numpy(), RAMP, atol=0.01)


def test_16_bits_that_use_12_are_said_to_be_dark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Sixteen bits have a range of their own, and a picture that is nearly black is named."""
    found = read(tmp_path / "a.tif", (RAMP * 4000).astype(np.uint16))
    assert found.max() == pytest.approx(4000 / 65535, abs=1e-4)
    assert "brightest value is 4000 of 65535" in caplog.records[0].getMessage()
