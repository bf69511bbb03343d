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
    """The lowest value becomes black and the highest white, and one log line names both."""
    path = tmp_path / "a.tif"
    np.testing.assert_allclose(read(path, pixels), RAMP, atol=0.01)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path}: its values go from ")


def test_values_from_0_to_1_are_taken_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Floating point values within [0, 1] are kept, even if they use a part of the range."""
    for pixels in (RAMP, RAMP / 4 + 0.25):
        np.testing.assert_allclose(read(tmp_path / "a.tif", pixels), pixels, atol=1e-7)
    assert not caplog.records


def test_single_hot_pixels_do_not_blacken_the_rest(tmp_path: Path) -> None:
    """A few extreme values, infinite values and NaN do not change the other pixels."""
    pixels = RAMP * 255
    pixels[0, :3] = 1e6, np.inf, np.nan
    found = read(tmp_path / "a.tif", pixels)
    np.testing.assert_allclose(found[1:], RAMP[1:], atol=0.01)
    assert found[0, :3].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("value", [0.0, 0.5, 100.0, 1000.0, 1e6, -5.0])
def test_a_picture_of_one_value_is_gray(
    value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture of one value is gray; outside [0, 1] a log line names the range."""
    found = read(tmp_path / "a.tif", np.full((40, 48), value, np.float32))
    assert 0 <= found.min() == found.max() < 1
    assert len(caplog.records) == (not 0 <= value <= 1)


def test_white_at_0_is_respected_at_32_bits(tmp_path: Path) -> None:
    """A 32-bit TIFF that counts from white to black is not read as a negative."""
    np.testing.assert_allclose(read(tmp_path / "a.tif", RAMP, "miniswhite"), 1 - RAMP, atol=1e-6)


def test_12_bits_fill_the_range(tmp_path: Path) -> None:
    """A PGM with the maximum 4095 and a 12-bit TIFF are read as [0, 1]."""
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
    """A gray PFM with values from 0 to 255 is not read as plain white."""
    Image.fromarray(RAMP * 255).save(tmp_path / "a.pfm")
    np.testing.assert_allclose(load_image(tmp_path / "a.pfm")[0].numpy(), RAMP, atol=0.01)
