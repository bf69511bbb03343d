"""Runs for the tests of the mirror."""

from __future__ import annotations

from pathlib import Path

from tests.tuner.helpers import Recorder, make_search, play
from tuner.job.load import load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job


def simulated_run(job_file: Path, folder: Path) -> Path:
    """A finished run with made-up scores, in a new folder."""
    folder.mkdir(parents=True)
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    play(make_search(job_file, folder), lambda plan, steps: 1.0 / steps)
    return folder


def real_run(
    job_file: Path, folder: Path, *overrides: str, callback: Recorder | None = None
) -> Path:
    """A finished run of few trials without presets, in a new folder."""
    job, space = load_job(job_file, ("search.presets=false", *overrides))
    run_job(job, space, folder, InlineBackend(), callback=callback or Recorder(), say=print)
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    """The content of every file in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def append_record(journal: Path) -> bytes:
    """Append a copy of the last record to a journal; return the content before."""
    before = journal.read_bytes()
    journal.write_bytes(before + before.splitlines(keepends=True)[-1])
    return before
