from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from nst_core.images.images import load_image
from tuner.results.contact_sheet import run_sheet
from tuner.results.results import load_results, thumbnails
from tuner.results.thumbnails import thumbnail


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run."""
    return made_run(tmp_path_factory.mktemp("thumbnails") / "run", pictures, trials=8)


def test_thumbnails_keep_shape_and_never_grow(tmp_path: Path) -> None:
    """The longer side is at most what was asked for; what cannot be read is None."""
    Image.new("RGB", (200, 100), "teal").save(tmp_path / "a.png")
    for size_px, expected in ((50, (50, 25)), (400, (200, 100))):
        found = thumbnail(tmp_path / "a.png", size_px)
        assert found is not None and found.size == expected
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert thumbnail(tmp_path / "b.png", 50) is None
    assert thumbnail(tmp_path / "none.png", 50) is None


def test_the_sheet_stands_a_damaged_picture(run: Path) -> None:
    """A picture that cannot be read is grey in the contact sheet."""
    results = load_results(run)
    best = results.run.path / results.run.image(results.ranked()[0].record.trial, 0)
    content = best.read_bytes()
    best.write_bytes(b"no picture")
    try:
        assert run_sheet(results).width > 500
    finally:
        best.write_bytes(content)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_photos_of_any_size_are_not_decoded_whole(
    mode: str, orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large JPEG a smaller one is decoded, upright and with the colours of the whole."""
    colour = {"RGB": (200, 80, 40), "L": 90, "CMYK": (20, 60, 90, 10)}[mode]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.new(mode, (1600, 800), colour).save(path, exif=exif)
    decoded: list[tuple[int, int]] = []
    real = thumbnails.decode
    monkeypatch.setattr(thumbnails, "decode", lambda p: (decoded.append(p.size), real(p))[1])
    found = thumbnail(path, 100)
    assert found is not None and found.size == ((100, 50) if orientation == 1 else (50, 100))
    assert decoded == [(400, 200)]
    expected = (load_image(path).mean((1, 2)) * 255).tolist()
    assert np.asarray(found).mean((0, 1)) == pytest.approx(expected, abs=2)
