"""A full disk ends a launch with one line, and no finished trial is lost."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage

from nst_core.errors import RunError, WorkError
from tests.tuner.disks import SmallDisk
from tests.tuner.helpers import Recorder
from tests.tuner.processes import PATIENCE_S, Launches, finished_trials, set_options
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.run.run_log import logged
from tuner.study.journal import BatchingJournal


def test_a_full_disk_ends_a_launch_which_resumes(job_file: Path, small_disk: SmallDisk) -> None:
    """A launch on a full disk says what to do, and with free space it resumes to its end."""
    job, space = load_job(job_file, ("search.trials=40", "search.presets=false"))
    callback = Recorder()
    options = {"callback": callback, "say": callback.say}
    folder = small_disk.path / "run"
    with pytest.raises(WorkError, match=r"No space left on device.*nst-tuner resume"):
        run_job(job, space, folder, InlineBackend(), **options)  # type: ignore[arg-type]
    before = finished_trials(folder)
    small_disk.remount("size=100m")
    resume_run(folder, InlineBackend(), **options)  # type: ignore[arg-type]
    after = finished_trials(folder)
    assert sorted(after) == list(range(40))
    assert before.items() <= after.items()


def test_no_space_for_inputs_leaves_nothing_behind(job_file: Path, small_disk: SmallDisk) -> None:
    """If the disk has no space for the inputs, the launch leaves no run directory behind."""
    (small_disk.path / "ballast").write_bytes(bytes(2**20 - 12_000))
    job, space = load_job(job_file)
    callback = Recorder()
    folder = small_disk.path / "run"
    with pytest.raises((WorkError, RunError), match="No space left"):
        run_job(job, space, folder, InlineBackend(), callback=callback, say=callback.say)
    assert not folder.exists()


@pytest.mark.faults
def test_a_full_disk_ends_a_launch_on_ray(job_file: Path, small_disk: SmallDisk) -> None:
    """On Ray a full disk ends the launch with exit code 1, and the run resumes to its end."""
    folder = small_disk.path / "run"
    options = set_options("search.trials=40", "search.presets=false")
    with Launches() as launches:
        process = launches.start("launch", job_file, "--run-dir", folder, *options)
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1, stderr
        assert "Traceback" not in stderr
        assert "No space left on device" in stderr and "nst-tuner resume" in stderr
        small_disk.remount("size=100m")
        process = launches.start("resume", folder)
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, stderr
    assert len(load_results(folder).records) == 40


def test_a_log_on_a_full_disk_hides_no_error() -> None:
    """If the log cannot be written, a result is still returned and an error is still raised."""
    with logged(Path("/dev/full"), print):
        logging.getLogger("tuner.run.launch").info("a line")
    with pytest.raises(WorkError, match=r"^the reason$"), logged(Path("/dev/full"), print):
        logging.getLogger("tuner.run.launch").info("a line")
        raise WorkError("the reason")


def test_a_failed_write_leaves_the_study_as_it_was(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to the study that fails halfway leaves only complete records."""
    job, space = load_job(job_file, ("search.presets=false",))
    callback, sync, calls = Recorder(), os.fsync, [0]

    def full(file: int) -> None:
        calls[0] += 1
        if calls[0] > 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match="No space left"):
        run_job(job, space, tmp_path / "a", InlineBackend(), callback=callback, say=callback.say)
    monkeypatch.undo()
    content = (tmp_path / "a" / "study.journal").read_bytes()
    assert content.endswith(b"}\n")
    load_results(tmp_path / "a")


def test_a_record_that_does_not_fit_leaves_nothing(small_disk: SmallDisk) -> None:
    """A record that does not fit on the disk leaves nothing; the records before it are intact."""
    path = small_disk.path / "study.journal"
    storage = JournalStorage(BatchingJournal(path))
    study = optuna.create_study(storage=storage, study_name="run")
    written = 0
    for round_ in range(3):
        filler = small_disk.path / "filler"
        with filler.open("wb") as file:  # leaves two pages free, which end within a record
            free = os.statvfs(small_disk.path).f_bavail * os.statvfs(small_disk.path).f_frsize
            file.write(bytes(free - 8192))
        with pytest.raises(OSError, match="No space left"):
            while True:
                study.set_user_attr(f"note {round_} {written}", "x" * 700)
                written += 1
        filler.unlink()
        assert all(json.loads(line) for line in path.read_bytes().splitlines())
        again = JournalStorage(BatchingJournal(path))
        assert len(optuna.load_study(storage=again, study_name="run").user_attrs) == written
        study = optuna.load_study(storage=again, study_name="run")
    assert written > 3


def test_a_read_only_run_can_be_read_but_not_resumed(job_file: Path, small_disk: SmallDisk) -> None:
    """A run on a read-only disk loads its results, and is refused by resume."""
    small_disk.remount("size=100m")
    job, space = load_job(job_file, ("search.trials=2", "search.presets=false"))
    callback = Recorder()
    options = {"callback": callback, "say": callback.say}
    folder = small_disk.path / "run"
    run_job(job, space, folder, InlineBackend(), **options)  # type: ignore[arg-type]
    small_disk.remount("ro")
    assert len(load_results(folder).records) == 2
    with pytest.raises(RunError, match="cannot be written"):
        resume_run(folder, InlineBackend(), **options)  # type: ignore[arg-type]
