"""Pictures that exported scripts read: the same pixels as those that the engine reads."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, PngImagePlugin

from nst_core.images.tensors import load_image
from tests.nst_core.picture_files import LINEAR_GRAY, LINEAR_RGB, ODD_EXIF, jpeg_with_exif
from tests.tuner.export.scripts import script_namespace


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("L", LINEAR_GRAY), ("LA", LINEAR_GRAY), ("RGB", LINEAR_GRAY), ("L", LINEAR_RGB), ("1", b"")],
)
def test_script_applies_color_profiles_as_the_engine_does(
    mode: str, profile: bytes, tmp_path: Path, pictures: Path
) -> None:
    """A color profile is applied if it fits the mode of the picture, and ignored otherwise."""
    with Image.open(pictures / "content.png") as picture:
        picture.convert(mode).save(tmp_path / "p.png", icc_profile=profile or None)
    script = script_namespace()
    torch.testing.assert_close(script["load"](tmp_path / "p.png"), load_image(tmp_path / "p.png"))


@pytest.mark.parametrize(
    "kind",
    [*(f"turned {number}" for number in range(1, 9)), "odd exif", "damaged profile", "large text"],
)
def test_script_reads_metadata_as_the_engine_does(
    kind: str, tmp_path: Path, pictures: Path
) -> None:
    """Only the orientation in EXIF counts, and unreadable metadata is ignored."""
    path = tmp_path / "p.png"
    with Image.open(pictures / "content.png") as picture:
        if kind.startswith("turned"):
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = int(kind[-1])
            picture.save(path, exif=exif)
        elif kind == "odd exif":
            path = tmp_path / "p.jpg"
            path.write_bytes(jpeg_with_exif(picture, ODD_EXIF["rational"]))
        elif kind == "damaged profile":
            picture.save(path, icc_profile=b"none" * 64)
        else:
            text = PngImagePlugin.PngInfo()
            text.add_text("workflow", "x" * 2_000_000, zip=True)
            picture.save(path, pnginfo=text)
    script = script_namespace()
    torch.testing.assert_close(script["load"](path), load_image(path))


@pytest.mark.parametrize("kind", ["16", "32", "signed", "float", "to 255", "white is 0"])
def test_script_reads_deep_gray_as_the_engine_does(kind: str, tmp_path: Path) -> None:
    """Gray pictures of 16 and 32 bits get the same range in the script and in the engine."""
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (48, 1))
    options = {"photometric": "miniswhite" if kind == "white is 0" else "minisblack"}
    pixels = {
        "16": (ramp * 65535).astype(np.uint16),
        "32": (ramp * 1e6).astype(np.uint32),
        "signed": (ramp * 4000 - 1000).astype(np.int16),
        "float": ramp,
        "to 255": ramp * 255,
        "white is 0": ramp,
    }[kind]
    tifffile.imwrite(tmp_path / "p.tif", pixels, **options)  # type: ignore[arg-type]
    script = script_namespace()
    gray = script["load"](tmp_path / "p.tif")
    torch.testing.assert_close(gray, load_image(tmp_path / "p.tif"), atol=2e-5, rtol=0)
    assert gray.mean().item() == pytest.approx(0.5, abs=0.02)


def test_script_names_a_picture_that_it_cannot_read(tmp_path: Path, pictures: Path) -> None:
    """An unreadable picture ends the script with one line that begins with its file name."""
    whole = (pictures / "content.png").read_bytes()
    script = script_namespace()
    for content in (b"", b"text", whole[:500], whole[:30]):
        (tmp_path / "p.png").write_bytes(content)
        with pytest.raises(SystemExit) as caught:
            script["load"](tmp_path / "p.png")
        assert str(caught.value.code).startswith(f"{tmp_path / 'p.png'}: cannot be read")
