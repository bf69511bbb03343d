import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from textual_image.renderable import HalfcellImage

from benchmarks.made_run import made_run
from tests.tuner.helpers import nst_tuner
from tuner.results import load_results
from tuner.sheet import run_sheet
from tuner.terminal_images import pictures_of
from tuner.thumbnails import thumbnail


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


def test_the_terminal_gets_pictures(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photo, reference, the best and the best preset, each with its caption."""
    monkeypatch.setattr("textual_image.renderable.Image", HalfcellImage)
    console = Console(force_terminal=True, width=120, color_system="truecolor", file=None)
    with console.capture() as captured:
        console.print(pictures_of(load_results(run), 2, 120))
    shown = captured.get()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "the photo" in plain and "the reference" in plain
    assert "1. trial" in plain and "lpips" in plain
    assert shown.count("▀") + shown.count("▄") > 1000


def test_without_a_terminal_it_says_so(run: Path) -> None:
    """`--images` into a pipe prints the table, and why there are no pictures."""
    done = nst_tuner("best", run, "--images")
    assert done.returncode == 0
    assert "standard output is no terminal" in done.stderr
    assert "best by lpips" in done.stdout
