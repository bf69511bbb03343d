"""The journal file: batches, locks and file systems without links."""

import errno
import os
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileSymlinkLock

from tests.tuner.helpers import Recorder
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.study.journal import BatchingJournal


def study_at(path: Path, *, new: bool = False) -> tuple[optuna.Study, BatchingJournal]:
    journal = BatchingJournal(path)
    storage = JournalStorage(journal)
    make = optuna.create_study if new else optuna.load_study
    return make(study_name="run", storage=storage), journal  # type: ignore[operator]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_a_batch_is_read_inside_and_written_at_its_end(tmp_path: Path) -> None:
    """Within a batch the study reads its own records; the file gets them all at the end."""
    path = tmp_path / "journal"
    study, journal = study_at(path, new=True)
    before = lines(path)
    with journal.batch(), journal.batch():
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        study.tell(trial, x)
        assert study.best_value == x
        assert lines(path) == before
    assert lines(path) > before + 2
    assert study_at(path)[0].best_value == x == study.best_value


def test_an_error_keeps_what_was_recorded(tmp_path: Path) -> None:
    """Records made before an error in a batch are written, since the study has read them."""
    path = tmp_path / "journal"
    study, journal = study_at(path, new=True)
    with pytest.raises(RuntimeError), journal.batch():
        study.ask()
        raise RuntimeError
    assert len(study_at(path)[0].trials) == len(study.trials) == 1


def test_writers_take_turns(tmp_path: Path) -> None:
    """Two writers of one file read all records in the same order, with batches or without."""
    path = tmp_path / "journal"
    ours, journal = study_at(path, new=True)
    theirs, other = study_at(path)
    numbers = []
    for _ in range(3):
        with journal.batch():
            numbers.append(ours.ask().number)
        numbers.append(theirs.ask().number)
        with other.batch():
            numbers.append(theirs.ask().number)
    assert numbers == list(range(9))
    assert len(study_at(path)[0].trials) == 9


def test_a_writer_waits_for_the_lock(tmp_path: Path) -> None:
    """A process that writes to a locked journal waits until the other process is done."""
    path = tmp_path / "journal"
    ours, _ = study_at(path, new=True)
    theirs = JournalFileSymlinkLock(str(path))
    theirs.acquire()
    told: list[int] = []
    asking = threading.Thread(target=lambda: told.append(ours.ask().number))
    asking.start()
    time.sleep(1)
    assert not told and len(study_at(path)[0].trials) == 0
    theirs.release()
    asking.join(timeout=10)
    assert told == [0] and len(study_at(path)[0].trials) == 1


def test_reading_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch does not read a long journal again from its start."""
    study, journal = study_at(tmp_path / "journal", new=True)
    read = []
    original = journal._file.read_logs

    def counting(log_number_from: int):  # type: ignore[no-untyped-def]
        for record in original(log_number_from):
            read.append(record)
            yield record

    monkeypatch.setattr(journal._file, "read_logs", counting)
    for _ in range(20):
        with journal.batch():
            study.ask()
    assert len(read) <= 3 * lines(tmp_path / "journal")


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without symbolic and hard links, such as exFAT."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refused)
    monkeypatch.setattr(os, "link", refused)


@pytest.mark.usefixtures("without_links")
def test_a_file_is_the_lock_without_links(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without symbolic links a file locks the journal; this is logged once, and no file is left."""
    path = tmp_path / "journal"
    with caplog.at_level("INFO", logger="tuner.study.journal"):
        study, journal = study_at(path, new=True)
        for _ in range(3):
            study.tell(study.ask(), 1.0)
    assert sum("symbolic links are not supported" in message for message in caplog.messages) == 1
    with journal.batch():
        lock = tmp_path / "journal.lock"
        assert lock.is_file() and not lock.is_symlink()
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]
    assert len(study_at(path)[0].trials) == 3


@pytest.mark.usefixtures("without_links")
def test_a_run_needs_neither_links_nor_locks(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run starts, ends and is extended on a file system without links and file locks."""

    def refused(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("tuner.study.lock.fcntl.flock", refused)
    job, space = load_job(job_file, ["search.trials=1", "search.presets=false"])
    callback, folder = Recorder(), tmp_path / "run"
    run_job(job, space, folder, InlineBackend(), callback=callback, say=callback.say)
    changes = ["search.trials=2"]
    resume_run(folder, InlineBackend(), callback=callback, say=callback.say, changes=changes)
    assert len(load_results(folder).records) >= 2
    assert not list(folder.glob("study*.lock")) and not list(folder.glob(".*.tmp"))


def test_a_journal_that_cannot_be_locked_says_why(tmp_path: Path) -> None:
    """If neither a link nor a file can be created, the error is that of the folder."""
    study, journal = study_at(tmp_path / "journal", new=True)
    (tmp_path / "journal").unlink()
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError), journal.batch():
        pass
    tmp_path.mkdir()
    assert study
