import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from nst_core.errors import ImageError, InputError
from nst_core.images import check_image, fit_size, load_image, resize_longer_side, save_image

RED = torch.tensor([1.0, 0.0, 0.0])


def write(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def test_round_trip(tmp_path: Path) -> None:
    """An 8-bit image is the same after saving and loading."""
    image = torch.randint(0, 256, (3, 40, 50)).float() / 255
    save_image(image, tmp_path / "a.png", text={"note": "ü"})
    torch.testing.assert_close(load_image(tmp_path / "a.png"), image)
    assert Image.open(tmp_path / "a.png").text["note"] == "ü"  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "I;16", "1"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Grey, palette, CMYK, transparent, 16-bit and bilevel white all load as white."""
    if mode == "I;16":
        picture = Image.fromarray(np.full((40, 40), 65535, np.uint16))
    else:
        picture = Image.new("RGB", (40, 40), "white").convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    image = load_image(write(tmp_path / f"a.{suffix}", picture))
    assert image.shape == (3, 40, 40)
    assert image.min() > 0.99


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    """A fully transparent red is white, a half transparent one pink."""
    for alpha, expected in ((0, 1.0), (128, 0.5)):
        path = write(tmp_path / "a.png", Image.new("RGBA", (40, 40), (255, 0, 0, alpha)))
        torch.testing.assert_close(
            load_image(path)[:, 0, 0], torch.tensor([1.0, expected, expected]), atol=0.01, rtol=0
        )


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    """Half of 16 bits is half of the range, not clipped to white."""
    path = write(tmp_path / "a.png", Image.fromarray(np.full((40, 40), 32768, np.uint16)))
    assert load_image(path).mean().item() == pytest.approx(0.5, abs=1e-3)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    """A photo taken upright is upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "a.jpg", Image.new("RGB", (60, 40)), exif=exif)
    assert load_image(path).shape == (3, 60, 40)
    assert check_image(path) == (40, 60)


def test_icc_profiles_become_srgb(tmp_path: Path) -> None:
    """An embedded sRGB profile changes nothing; a damaged one is a clear error."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = write(tmp_path / "a.png", Image.new("RGB", (40, 40), "red"), icc_profile=profile)
    torch.testing.assert_close(load_image(path)[:, 0, 0], RED, atol=0.01, rtol=0)


def test_bad_images_say_what_is_wrong(tmp_path: Path) -> None:
    """Each class of unusable file gets an error that names the file and the fault."""
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


def test_saving_refuses_before_writing(tmp_path: Path) -> None:
    """An unknown suffix, a folder and a missing folder are refused, and nothing is left behind."""
    image = torch.zeros(3, 40, 40)
    for name in ("a.xyz", "", "nowhere/a.png"):
        with pytest.raises(ImageError):
            save_image(image, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_sizes_keep_the_shape() -> None:
    """The longer side becomes size_px; what would vanish is refused with the size that works."""
    assert fit_size(768, 576, 96) == (72, 96)
    assert resize_longer_side(torch.rand(3, 30, 60), 120).shape == (3, 60, 120)
    with pytest.raises(InputError, match="at least 320"):
        fit_size(1000, 100, 96)
