"""Trackers with one run for each trial: Weights & Biases offline, and Trackio on this machine."""

import sqlite3
from pathlib import Path

import pytest

from nst_core.errors import InputError
from tests.tuner.helpers import Recorder, make_search, play
from tuner.job.load import load_job
from tuner.run.run_trackers import project_name
from tuner.run.trackers import make_callbacks
from tuner.study.run_dir import RunDir


def search_watched_by(tracker: str, job_file: Path, tmp_path: Path) -> Path:
    """Run a search of 3 trials that a tracker watches; return the run directory."""
    folder = tmp_path / "run"
    folder.mkdir()
    job, _ = load_job(job_file, [f"watch=[{tracker}]"])
    with make_callbacks(job, RunDir(folder), Recorder()) as callback:
        search = make_search(job_file, folder, "search.trials=3", callback=callback)
        play(search, lambda plan, steps: 1.0 / steps)
        callback.finish(within_s=300)  # a busy machine needs long to start a tracker's process
    return folder


def test_wandb_offline_has_a_run_for_each_trial(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, the folder `wandb` of the run has the settings and scores of every trial."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = search_watched_by("wandb", job_file, tmp_path)
    sent = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(sent) == 3
    for file in sent:
        content = file.read_bytes()
        assert b"lpips" in content and b"style_weight" in content and b"small" in content


def test_trackio_has_a_run_for_each_trial(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Without a server, Trackio's database has the scores of every trial, and it prints nothing."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    search_watched_by("trackio", job_file, tmp_path)
    (file,) = (tmp_path / "trackio").glob("small*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("select distinct run_name from metrics").fetchall()
    assert len(rows) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_a_missing_tracker_is_an_input_error(
    tracker: str, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the package of a tracker is missing, the error names the extra that brings it."""
    monkeypatch.setitem(__import__("sys").modules, tracker, None)
    job, _ = load_job(job_file, [f"watch=[{tracker}]"])
    with pytest.raises(InputError, match=rf"nst-tuner\[{tracker}\]"):
        make_callbacks(job, RunDir(tmp_path), Recorder())


def test_project_names() -> None:
    """A project has the name of the job without characters that trackers refuse."""
    assert project_name("café: 1/2") == "café--1-2"
    assert project_name("///") == "nst-tuner"
