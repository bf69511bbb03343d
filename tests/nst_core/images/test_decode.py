"""Reading picture files: every test writes a real file and reads it by public functions."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image

from nst_core.errors import ImageError
from nst_core.images.decode import FORMATS, MAX_BYTES
from nst_core.images.sizes import check_image
from nst_core.images.tensors import load_alpha, load_image, to_uint8
from tests.nst_core.picture_files import (
    LINEAR_GRAY,
    LINEAR_RGB,
    SRGB,
    deep_png,
    deep_tiff,
    gray_cyan_cmyk,
    noise,
    write,
)

#: EXIF orientation -> positions, as (row, column) in {0, -1}, of the file's first and last pixel of
#: the first row in the upright picture; from the Exif standard.
CORNERS = {
    1: ((0, 0), (0, -1)),
    2: ((0, -1), (0, 0)),
    3: ((-1, -1), (-1, 0)),
    4: ((-1, 0), (-1, -1)),
    5: ((0, 0), (-1, 0)),
    6: ((0, -1), (-1, -1)),
    7: ((-1, -1), (0, -1)),
    8: ((-1, 0), (0, 0)),
}


# Modes


def test_a_jpeg_with_a_preview_is_read(tmp_path: Path) -> None:
    """A camera's JPEG that contains a preview as second picture is read as the photo."""
    photo, preview = (Image.new("RGB", size, "red") for size in ((64, 48), (16, 12)))
    photo.save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "camera.jpg") as picture:
        assert picture.format == "MPO" and picture.n_frames == 2  # type: ignore[attr-defined]
    assert load_image(tmp_path / "camera.jpg").shape == (3, 48, 64)


@pytest.mark.parametrize(("kind", "still"), [(1, True), (4, True), (0, False), (2, False)])
def test_pages_of_a_tiff(tmp_path: Path, kind: int, still: bool) -> None:
    """A TIFF with a preview or mask is read; one with a second picture is refused."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb")
        if kind == 4:
            file.write(pixels[..., 0] > 127, photometric="mask", subfiletype=kind)
        else:
            file.write(pixels[::2, ::2], photometric="rgb", subfiletype=kind)
    if still:
        assert np.array_equal(to_uint8(load_image(tmp_path / "a.tif")), pixels)
        return
    with pytest.raises(ImageError, match="2 frames"):
        load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "I;16", "1"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """White is read as white in gray, palette, CMYK, alpha, 16-bit and bilevel pictures."""
    if mode == "I;16":
        picture = Image.fromarray(np.full((40, 40), 65535, np.uint16))
    else:
        picture = Image.new("RGB", (40, 40), "white").convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    image = load_image(write(tmp_path / f"a.{suffix}", picture))
    assert image.shape == (3, 40, 40)
    assert image.min() > 0.99


@pytest.mark.parametrize("kind", ["turned", "deep", "white is 0", "preview too"])
def test_a_mask_page_changes_nothing(tmp_path: Path, kind: str) -> None:
    """A mask page changes neither orientation, depth nor colors of the first page."""
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 60, 3), np.uint16)
    options: dict[str, Any] = {"photometric": "rgb"}
    if kind == "turned":
        options["extratags"] = [(274, "H", 1, 6, True)]
    elif kind == "white is 0":
        pixels, options = pixels[..., 0], {"photometric": "miniswhite"}
    if kind not in {"deep", "white is 0"}:
        pixels = (pixels >> 8).astype(np.uint8)
    found = []
    for name in ("alone", "beside"):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            file.write(pixels, **options)
            if name == "beside" and kind == "preview too":
                file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
            if name == "beside":
                mask = np.ones(pixels.shape[:2], bool)
                file.write(mask, photometric="mask", subfiletype=4)
        found.append(load_image(tmp_path / f"{name}.tif"))
    assert torch.equal(*found)


def test_gray_has_three_equal_channels(tmp_path: Path) -> None:
    """Gray is read as equal red, green and blue, at 8 and at 16 bits."""
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    for pixels, full in ((ramp, 255), (ramp * np.uint16(257), 65535)):
        image = load_image(write(tmp_path / "a.png", Image.fromarray(pixels)))
        for channel in image:
            np.testing.assert_allclose(channel.numpy(), pixels / full, atol=1e-7)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    """A bilevel picture is read as the values 0 and 1 only."""
    picture = Image.effect_noise((40, 40), 200).convert("1")
    image = load_image(write(tmp_path / "a.png", picture))
    assert set(image.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_array_equal(image[0].numpy(), np.asarray(picture))


def test_cmyk_without_profile(tmp_path: Path) -> None:
    """Each full ink removes its complementary color, in JPEG and TIFF."""
    inks = np.zeros((40, 160, 4), np.uint8)
    for ink in range(4):
        inks[:, 40 * ink : 40 * ink + 40, ink] = 255
    picture = Image.fromarray(inks, mode="CMYK")
    for name in ("a.tif", "a.jpg"):
        image = load_image(write(tmp_path / name, picture))
        found = image[:, 20, 20::40].T
        expected = torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]])
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_cmyk_profile_is_applied(tmp_path: Path) -> None:
    """With a profile that maps cyan to gray of L* 50, full cyan is read as sRGB 119."""
    picture = Image.new("CMYK", (40, 40), (255, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        image = load_image(write(tmp_path / name, picture, icc_profile=gray_cyan_cmyk()))
        torch.testing.assert_close(image, torch.full_like(image, 119 / 255), atol=0.015, rtol=0)


# Files that are refused before they are decoded


def test_formats_of_external_programs_are_refused(tmp_path: Path) -> None:
    """A format that Pillow opens by an external program is refused, whatever the suffix."""
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(path, "EPS")
    with pytest.raises(ImageError, match="PostScript"):
        load_image(path)
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    """A file larger than `MAX_BYTES` is refused."""
    path = write(tmp_path / "a.png", Image.new("RGB", (40, 40)))
    with path.open("ab") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match="expected at most 1,000,000,000"):
        check_image(path)


# Transparency


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    """Transparent red is read as white, half transparent red as pink."""
    for alpha, expected in ((0, 1.0), (128, 0.5)):
        path = write(tmp_path / "a.png", Image.new("RGBA", (40, 40), (255, 0, 0, alpha)))
        torch.testing.assert_close(
            load_image(path)[:, 0, 0], torch.tensor([1.0, expected, expected]), atol=0.01, rtol=0
        )


def with_clear_corner(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """Return a black 40x40 picture with a transparent upper left quarter, and save options."""
    mask = Image.new("L", (40, 40), 255)
    mask.paste(0, (0, 0, 20, 20))
    if mode in ("RGBA", "LA"):
        picture = Image.new(mode, (40, 40))
        picture.putalpha(mask)
        return picture, {}
    if mode == "P":
        picture = mask.point(lambda value: value // 255).convert("P")
        picture.putpalette([255, 0, 0, 0, 0, 0])
        return picture, {"transparency": b"\x00\xff"}
    picture = Image.new("RGB", (40, 40))
    picture.paste((9, 9, 9), (0, 0, 20, 20))
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture)[..., 0].astype(np.uint16)), {"transparency": 9}
    return picture.convert(mode), {"transparency": (9, 9, 9) if mode == "RGB" else 9}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "I;16"])
@pytest.mark.parametrize("profile", [None, SRGB])
def test_every_kind_of_transparency_is_read(
    tmp_path: Path, mode: str, profile: bytes | None
) -> None:
    """Alpha, transparent palette entries and a transparent color are read as transparency."""
    picture, options = with_clear_corner(mode)
    path = write(tmp_path / "a.png", picture, icc_profile=profile, **options)
    alpha_1HW = load_alpha(path)
    expected = torch.ones(1, 40, 40)
    expected[:, :20, :20] = 0
    assert alpha_1HW is not None
    torch.testing.assert_close(alpha_1HW, expected)
    torch.testing.assert_close(load_image(path), (1 - expected).expand(3, 40, 40))


def test_opaque_pictures_have_no_alpha(tmp_path: Path) -> None:
    """`load_alpha` returns None without an alpha channel, and with an opaque one."""
    for mode in ("RGB", "L", "P", "RGBA", "LA"):
        picture = Image.new("RGB", (40, 40), "red").convert(mode)
        assert load_alpha(write(tmp_path / "a.png", picture)) is None
    for channels in (3, 4):
        pixels = np.full((40, 40, channels), 65535, np.uint16)
        (tmp_path / "a.png").write_bytes(deep_png(pixels))
        assert load_alpha(tmp_path / "a.png") is None


# Rotation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "webp", "png", "tif", "png16", "tif16", "gray16"])
def test_exif_rotation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    """All eight orientations put the corners where the Exif standard says."""
    pixels = np.zeros((40, 64, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[:16, :16, :3] = 255
    pixels[:16, -16:, :3] = 128
    pixels[:16, -16:, 3] = 0
    deep = pixels * np.uint16(257)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{kind.removesuffix('16')}"
    tag = [(274, 3, 1, orientation, True)]
    if kind == "png16":
        path.write_bytes(deep_png(deep, eXIf=exif.tobytes().removeprefix(b"Exif\0\0")))
    elif kind == "tif16":
        path.write_bytes(deep_tiff(deep, extratags=tag, extrasamples=["unassalpha"]))
    elif kind == "gray16":
        path = tmp_path / "a.tif"
        path.write_bytes(deep_tiff(deep[..., 0], extratags=tag, photometric="minisblack"))
    elif kind == "tif":
        path.write_bytes(deep_tiff(pixels, extratags=tag, extrasamples=["unassalpha"]))
    else:
        mode = "RGB" if kind == "jpg" else "RGBA"
        write(path, Image.fromarray(pixels).convert(mode), exif=exif, quality=100)

    image = load_image(path)
    assert image.shape[1:] == ((64, 40) if orientation >= 5 else (40, 64))
    assert check_image(path) == (image.shape[2], image.shape[1])
    white, gray = CORNERS[orientation]
    over_white = kind not in ("jpg", "gray16")
    assert image[:, white[0], white[1]].min() > 0.95
    assert image[0, gray[0], gray[1]].item() == pytest.approx(1 if over_white else 0.5, abs=0.05)
    assert image.mean() < 0.3
    if over_white:
        alpha_1HW = load_alpha(path)
        assert alpha_1HW is not None
        assert alpha_1HW.shape[1:] == image.shape[1:]
        assert alpha_1HW[0, gray[0], gray[1]] == 0
        assert alpha_1HW[0, white[0], white[1]] == 1


@pytest.mark.parametrize("value", [0, 9, 77])
def test_unknown_orientations_are_ignored(tmp_path: Path, value: int) -> None:
    """An orientation that is not in the Exif standard neither turns nor refuses a picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    (tmp_path / "a.png").write_bytes(
        deep_png(noise(3), eXIf=exif.tobytes().removeprefix(b"Exif\0\0"))
    )
    assert load_image(tmp_path / "a.png").shape == (3, 40, 48)
    assert check_image(tmp_path / "a.png") == (48, 40)


# Color profiles


def test_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    """An embedded sRGB profile gives the same values as no profile."""
    pixels = (noise(3) >> 8).astype(np.uint8)
    path = write(tmp_path / "a.png", Image.fromarray(pixels), icc_profile=SRGB)
    expected = torch.from_numpy(pixels / 255).permute(2, 0, 1).float()
    torch.testing.assert_close(load_image(path), expected, atol=1.01 / 255, rtol=0)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", LINEAR_RGB),
        ("RGBA", LINEAR_RGB),
        ("P", LINEAR_RGB),
        ("L", LINEAR_RGB),
        ("L", LINEAR_GRAY),
        ("LA", LINEAR_GRAY),
    ],
)
def test_other_profiles_become_srgb(tmp_path: Path, mode: str, profile: bytes) -> None:
    """A linear profile converts 128 to 188, also in palettes and with an alpha channel."""
    picture = Image.new("RGB", (40, 40), (128, 128, 128))
    picture = picture.quantize(2) if mode == "P" else picture.convert(mode)
    assert load_image(write(tmp_path / "a.png", picture)).mean().item() == pytest.approx(128 / 255)
    image = load_image(write(tmp_path / "a.png", picture, icc_profile=profile))
    torch.testing.assert_close(image, torch.full_like(image, 188 / 255), atol=0.01, rtol=0)


def test_profiles_for_other_channels_are_ignored(tmp_path: Path) -> None:
    """A CMYK or gray profile in an RGB picture is ignored."""
    picture = Image.new("RGB", (40, 40), (255, 128, 0))
    plain = load_image(write(tmp_path / "a.tif", picture))
    for profile in (gray_cyan_cmyk(), LINEAR_GRAY):
        path = write(tmp_path / "a.tif", picture, icc_profile=profile)
        torch.testing.assert_close(load_image(path), plain)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_damaged_profiles_are_named(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged profile is ignored with one warning, and the picture is read."""
    picture = Image.new("RGB", (40, 40), (255, 128, 0))
    path = write(tmp_path / f"a.{suffix}", picture, icc_profile=b"none" * 64)
    for _ in range(2):
        assert load_image(path)[1].mean().item() == pytest.approx(128 / 255, abs=0.02)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: its color profile cannot be read and is ignored; its colors are taken as sRGB"
    ]


# Unusable files


def test_bad_images_say_what_is_wrong(tmp_path: Path) -> None:
    """Each kind of unusable file raises an error with the file name and the problem."""
    (tmp_path / "text.jpg").write_text("not a picture")
    write(tmp_path / "tiny.png", Image.new("RGB", (1, 1)))
    frames = [Image.new("RGB", (40, 40), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(buffer, format="PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:9000])
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    expected = {
        "text.jpg": "not a picture",
        "tiny.png": "too small",
        "moving.gif": "2 frames",
        "cut.png": "cannot be decoded",
        "huge.png": "megapixels",
        "missing.png": "no such image",
        "": "is a folder",
    }
    for name, fault in expected.items():
        with pytest.raises(ImageError, match=fault) as caught:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
