from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nst_core.errors import ImageError, InputError
from nst_core.images.sizes import fit_size
from nst_core.images.tensors import (
    check_writable_image,
    digest,
    from_uint8,
    load_alpha,
    load_image,
    read_text,
    resize_longer_side,
    save_image,
    to_uint8,
)

SIDES = st.integers(32, 48)


def random(channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


@given(
    height=SIDES,
    width=SIDES,
    bits=st.sampled_from([8, 16]),
    suffix=st.sampled_from(["png", "tif", "tiff", "PNG"]),
    alpha=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    bits: int,
    suffix: str,
    alpha: bool,
    seed: int,
) -> None:
    """Saved and loaded, each value is the nearest of the 2**bits levels; so is alpha."""
    path = tmp_path_factory.mktemp("round") / f"a.{suffix}"
    image = random(3, height, width, seed)
    alpha_1HW = random(1, height, width, seed + 1) if alpha else None
    save_image(image, path, bits=bits, alpha_1HW=alpha_1HW)
    half_step = 0.5 / (2**bits - 1) + 1e-6
    found = load_alpha(path)
    expected = image
    if alpha_1HW is None:
        assert found is None
    else:
        assert found is not None
        torch.testing.assert_close(found, alpha_1HW, atol=half_step, rtol=0)
        expected = image * alpha_1HW + 1 - alpha_1HW
        half_step *= 2  # color and alpha are rounded both
    torch.testing.assert_close(load_image(path), expected, atol=half_step, rtol=0)


@given(height=SIDES, width=SIDES, bits=st.sampled_from([8, 16]), seed=st.integers(0, 2**31))
def test_what_was_loaded_is_saved_unchanged(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, bits: int, seed: int
) -> None:
    """A second round trip changes no value at all, with 8 as with 16 bits."""
    path = tmp_path_factory.mktemp("again") / "a.png"
    save_image(random(3, height, width, seed), path, bits=bits)
    once = load_image(path)
    save_image(once, path, bits=bits)
    torch.testing.assert_close(load_image(path), once, atol=0, rtol=0)


@pytest.mark.parametrize("bits", [8, 16])
def test_saved_values_are_clamped_and_rounded(tmp_path: Path, bits: int) -> None:
    """Values outside [0, 1] are saved as 0 or 1."""
    image = torch.tensor([-0.5, 0.0, 1.0, 1.5]).repeat(8).expand(3, 32, 32)
    save_image(image, tmp_path / "a.png", bits=bits)
    torch.testing.assert_close(load_image(tmp_path / "a.png"), image.clamp(0, 1))


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_formats_stay_near(tmp_path: Path, suffix: str) -> None:
    """JPEG and WebP change a smooth picture by a few of 255 levels at most."""
    image = torch.linspace(0, 1, 64).expand(3, 48, 64)
    save_image(image, tmp_path / f"a.{suffix}")
    torch.testing.assert_close(load_image(tmp_path / f"a.{suffix}"), image, atol=0.03, rtol=0)


@pytest.mark.parametrize("bits", [8, 16])
def test_text_comes_back_from_png(tmp_path: Path, bits: int) -> None:
    """Text of any language and length is read back from a PNG; other formats omit it."""
    text = {"nst-tuner-preset": '{"name": "süß 甘い", "n": 1}' * 500, "Title": "a\nb", "empty": ""}
    image = random(3, 40, 50)
    save_image(image, tmp_path / "a.png", text, bits=bits)
    assert read_text(tmp_path / "a.png") == text
    with Image.open(tmp_path / "a.png") as picture:
        picture.verify()  # the check sums of all chunks
    torch.testing.assert_close(load_image(tmp_path / "a.png"), image, atol=0.5 / 255, rtol=0)

    save_image(image, tmp_path / "a.tif", text, bits=bits)
    assert read_text(tmp_path / "a.tif") == {}


def test_text_of_unusable_files(tmp_path: Path) -> None:
    """`read_text` of a PNG without text is empty; a file that is no picture raises an error."""
    save_image(random(3, 40, 50), tmp_path / "a.png")
    assert read_text(tmp_path / "a.png") == {}
    (tmp_path / "b.png").write_text("none")
    for name in ("b.png", "c.png"):
        with pytest.raises(ImageError, match=name):
            read_text(tmp_path / name)


@pytest.mark.parametrize(("suffix", "bits"), [("png", 8), ("png", 16), ("webp", 8), ("tif", 16)])
def test_alpha_is_resized_to_the_image(tmp_path: Path, suffix: str, bits: int) -> None:
    """Alpha larger than the result is resized to the result."""
    alpha_1HW = torch.zeros(1, 80, 120)
    alpha_1HW[:, :, 60:] = 1
    path = tmp_path / f"a.{suffix}"
    save_image(random(3, 40, 60), path, bits=bits, alpha_1HW=alpha_1HW)
    found = load_alpha(path)
    assert found is not None
    assert found.shape == (1, 40, 60)
    assert found[:, :, :28].max() < 0.02
    assert found[:, :, 32:].min() > 0.98


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("a.xyz", {}, r"cannot save as `\.xyz`; use \.png, \.jpg"),
        ("a", {}, "cannot save as ``"),
        ("a.jpg", {"bits": 16}, r"JPEG holds 8 bits a channel, not 16; use \.png, \.tif, \.tiff$"),
        ("a.webp", {"bits": 16}, "WEBP holds 8 bits"),
        ("a.png", {"bits": 12}, "cannot save 12 bits a channel; use 8 or 16"),
        ("a.jpeg", {"alpha": True}, r"no transparency; use \.png, \.webp, \.tif, \.tiff$"),
        ("", {}, "cannot save as"),
        ("nowhere/a.png", {}, "folder .* does not exist"),
        ("folder.png", {}, "is a folder"),
    ],
)
def test_saving_refuses_before_writing(
    tmp_path: Path, name: str, options: dict[str, object], fault: str
) -> None:
    """What cannot be saved is refused by the check and by saving; nothing is left behind."""
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=fault):
        check_writable_image(tmp_path / name, **options)  # type: ignore[arg-type]
    alpha_1HW = torch.ones(1, 40, 40) if options.pop("alpha", False) else None
    with pytest.raises(ImageError, match=fault):
        save_image(torch.zeros(3, 40, 40), tmp_path / name, alpha_1HW=alpha_1HW, **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
def test_check_accepts_what_can_be_saved(tmp_path: Path, name: str) -> None:
    """The check accepts 16 bits with alpha for PNG and TIFF, and leaves no file."""
    check_writable_image(tmp_path / name, bits=16, alpha=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "width"), [("a.webp", 17_000), ("a.jpg", 66_000)])
def test_formats_have_a_largest_size(tmp_path: Path, name: str, width: int) -> None:
    """A picture wider than the format allows raises an error, and no file is left."""
    with pytest.raises(ImageError, match=f"cannot hold this {width}x32 image"):
        save_image(torch.zeros(3, 32, width), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_sizes_keep_the_shape() -> None:
    """The longer side becomes size_px; a too short side is refused with the smallest size_px."""
    assert fit_size(768, 576, 96) == (72, 96)
    assert resize_longer_side(torch.rand(3, 30, 60), 120).shape == (3, 60, 120)
    with pytest.raises(InputError, match="at least 320"):
        fit_size(1000, 100, 96)


def test_8_bit_arrays_and_tensors_are_the_same(tmp_path: Path) -> None:
    """uint8 -> tensor -> uint8 is exact, and a file of the array loads as the tensor."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image = from_uint8(pixels)
    np.testing.assert_array_equal(to_uint8(image), pixels)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png")
    torch.testing.assert_close(loaded, image, atol=0, rtol=0)
    assert digest(loaded) == digest(image)
