"""Pictures of the report."""

import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from tuner.pages.report import album
from tuner.pages.report.album import Album
from tuner.results.preset_runs import best_preset_result
from tuner.results.results import load_results


def test_pictures_fit_their_budget(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All thumbnails fit the budget by becoming smaller, and the best trial comes first."""
    whole = Album(load_results(run)).embedded()
    results = load_results(run)
    preset = best_preset_result(results)
    assert preset is not None
    trials = {result.record.trial for result in [*results.ranked(), preset]}
    assert len([key for key in whole if re.fullmatch(r"t\d+p\d", key)]) == 2 * len(trials)
    kinds = {key.endswith(album.PNG): uri.partition(";")[0] for key, uri in whole.items()}
    assert kinds == {False: "data:image/webp", True: "data:image/png"}
    monkeypatch.setattr(album, "THUMB_BYTES", 20_000)
    small = Album(results).embedded()
    thumbs = [uri for key, uri in small.items() if not key.endswith((album.LARGE, album.PNG))]
    assert sum(len(uri) * 3 / 4 for uri in thumbs) < 21_000
    assert f"t{results.ranked()[0].record.trial}p0" in small


def test_the_first_screen_has_large_pictures(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large pictures go first to the inputs, best trial and best preset of the first pair."""
    results = load_results(made_run(tmp_path / "run", pictures, trials=6, pairs=8, holdout=2))
    best, preset = results.ranked()[0], best_preset_result(results)
    assert preset is not None and preset is not best
    first = ["content-0", "style-0", "reference-0"]
    first += [f"t{result.record.trial}p0" for result in (best, preset)]
    whole = Album(results).embedded()
    assert set(Album(results).inputs()) == {
        f"{role}-{pair}" for role in ("content", "style", "reference") for pair in range(8)
    }
    monkeypatch.setattr(
        album, "LARGE_BYTES", sum(len(whole[key + album.LARGE]) * 3 // 4 for key in first)
    )
    large = [key for key in Album(results).embedded() if key.endswith(album.LARGE)]
    assert large == [key + album.LARGE for key in first]


def test_a_damaged_picture_is_left_out(tmp_path: Path, pictures: Path) -> None:
    """A picture that cannot be read is missing on the page, and the page is still written."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    (run / "trials/0000/pair0.png").write_bytes(b"no picture")
    (run / "trials/0001/pair0.png").unlink()
    embedded = Album(load_results(run)).embedded()
    assert "t0p0" not in embedded and "t1p0" not in embedded and "t2p0" in embedded


def test_pictures_outside_the_run_are_left_out(tmp_path: Path, pictures: Path) -> None:
    """A page does not embed files outside the run, even if the job names them."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    inside = Album(load_results(run)).inputs()
    assert {"content-0", "style-0", "reference-0"} <= inside.keys()
    job = (run / "job.yaml").read_text()
    content = inside["content-0"].relative_to(run).as_posix()
    assert content in job
    (run / "job.yaml").write_text(job.replace(content, str(pictures / "content.png")))
    assert inside.keys() - Album(load_results(run)).inputs().keys() == {"content-0"}


def test_pictures_are_upright_and_on_white(tmp_path: Path, pictures: Path) -> None:
    """A picture with a rotation tag is upright, and its transparent parts are white."""
    turned = Image.new("RGBA", (80, 40), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    content = album.Picture(tmp_path / "turned.png", 64).webp()
    assert content is not None
    (tmp_path / "small.webp").write_bytes(content)
    with Image.open(tmp_path / "small.webp") as small:
        assert small.size == (32, 64)
        assert min(small.convert("RGB").getpixel((16, 32))) > 250  # type: ignore[type-var]
