"""The best results are rendered again at a size worth looking at."""

import shutil
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from nst_core.errors import ConfigError, InputError
from tests.tuner.helpers import Recorder, nst_tuner
from tuner.job.load import load_job
from tuner.pages.report.album import Album
from tuner.pages.report.page_data import report_data
from tuner.results.preset_runs import best_preset_result
from tuner.results.results import load_results
from tuner.results.verdict import NOT_PRESENTED
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.run.present import missing_pictures, takes_long

#: A run of a few seconds whose results are rendered at 96 px.
SMALL = ("search.trials=3", "halving.max_steps=3", "present.size_px=96")


def launch(job_file: Path, folder: Path, *overrides: str) -> list[str]:
    """Run a job in this process and return its lines."""
    job, space = load_job(job_file, [*SMALL, *overrides])
    callback = Recorder()
    run_job(job, space, folder, InlineBackend(), callback=callback, say=callback.say)
    return callback.lines


def rendered(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size of each rendered picture."""
    sizes = {}
    for path in (folder / "presented").iterdir():
        with Image.open(path) as picture:
            sizes[path.name] = picture.size
    return sizes


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run whose best trial and best preset were rendered at its end."""
    folder = tmp_path_factory.mktemp("present")
    run = made_run(folder / "made", pictures, trials=6, halving={"min_steps": 2, "max_steps": 3})
    job_file = folder / "job.yaml"
    text = (run / "job.yaml").read_text().replace("inputs/", f"{run}/inputs/")
    job_file.write_text(text.replace("count: 1", "count: 0"))
    launch(job_file, folder / "run")
    return folder / "run"


def test_a_run_renders_its_best_results(finished: Path) -> None:
    """Best trial and best preset are there at the size of the job, and the page shows them."""
    results = load_results(finished)
    best, preset = results.ranked()[0], best_preset_result(results)
    assert preset is not None and results.over
    shown = {(best.record.trial, best.steps), (preset.record.trial, preset.steps)}
    names = {f"trial{trial:04d}-steps{steps:05d}-pair0.png" for trial, steps in shown}
    assert rendered(finished) == dict.fromkeys(names, (96, 64))
    assert report_data(results)["sizes"][f"t{best.record.trial}p0"] == (96, 64)
    png = Album(results).answer(f"t{best.record.trial}p0-png")
    assert png is not None and png.content == results.picture(best, 0).read_bytes()


def test_a_killed_launch_is_completed(finished: Path, tmp_path: Path) -> None:
    """A resumed run renders only what is missing, and ends as the first launch would have."""
    run = shutil.copytree(finished, tmp_path / "run")
    first, *others = sorted((run / "presented").iterdir())
    before = {path: path.stat().st_mtime_ns for path in others}
    first.unlink()
    callback = Recorder()
    resume_run(run, InlineBackend(), callback=callback, say=callback.say)
    assert first.is_file() and {path: path.stat().st_mtime_ns for path in others} == before
    assert load_results(run).over


def test_too_little_memory_is_one_sentence(finished: Path, tmp_path: Path) -> None:
    """If a device cannot hold the pictures, the run ends all the same and says why."""
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "presented")
    error = InputError("96x64 needs about 9.0 GiB, but only 1.0 GiB may be used")
    callback = Recorder()
    with mock.patch("tuner.run.present.stylize", side_effect=error):
        resume_run(run, InlineBackend(), callback=callback, say=callback.say)
    results = load_results(run)
    assert results.over and "needs about 9.0 GiB" in callback.lines[-1]
    assert "not rendered again at 96 px" in results.notes[NOT_PRESENTED]
    assert "needs about 9.0 GiB" in " ".join(report_data(results)["notes"])


def test_older_runs_are_rendered_on_request(finished: Path, tmp_path: Path) -> None:
    """A run without the key loads, is not rendered when resumed, and `render` renders it."""
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "presented")
    text = (run / "job.yaml").read_text()
    (run / "job.yaml").write_text(text.replace("present:\n  size_px: 96\n", ""))
    resume_run(run, InlineBackend(), callback=Recorder(), say=print)
    assert not (run / "presented").exists()
    assert load_results(run).job.presented_px == 256
    done = nst_tuner("render", run, "--size-px", 80)
    assert done.returncode == 0 and "at 80 px" in done.stderr
    assert set(rendered(run).values()) == {(80, 53)}


def test_long_presets_are_left_out(tmp_path: Path, pictures: Path) -> None:
    """A preset in full that takes longer than the whole search is rendered only on request."""
    results = load_results(made_run(tmp_path / "run", pictures, trials=12))
    missing = {picture.name: picture for picture in missing_pictures(results, 256)}
    assert not takes_long(results, missing["the best trial"], 4096)
    assert takes_long(results, missing["the best preset"], 4096)


def test_the_size_is_checked(job_file: Path) -> None:
    """The size is 256 px, or twice that of the search; a smaller one than the search's is wrong."""
    assert load_job(job_file, ["present.size_px=auto"])[0].presented_px == 256
    assert load_job(job_file, ["present.size_px=auto", "size_px=300"])[0].presented_px == 600
    assert load_job(job_file, ["present.size_px=0"])[0].presented_px == 0
    with pytest.raises(ConfigError, match="at least the size_px of the search, which is 64"):
        load_job(job_file, ["present.size_px=40"])
    with pytest.raises(ConfigError, match="auto or a whole number from 0"):
        load_job(job_file, ["present.size_px=large"])
