"""The run directory: which folders are accepted, leftovers of a start, and links."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from nst_core.errors import InputError, RunError
from tests.tuner.helpers import Recorder, make_search, play
from tuner.cli.launching import _show_result
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.run.run_log import logged
from tuner.study.run_dir import RunDir
from tuner.study.run_files import LOCK_ENDING


def a_run(job_file: Path, folder: Path) -> RunDir:
    folder.mkdir()
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    play(make_search(job_file, folder), lambda plan, steps: 1.0 / steps)
    return RunDir(folder)


@pytest.mark.parametrize("place", ["log.jsonl", "contact-sheet.jpg", "inputs", "trials/0001/x"])
def test_a_link_in_a_run_is_named(place: str, job_file: Path, tmp_path: Path) -> None:
    """A run directory with a link in it is refused, and the error names the link."""
    run = a_run(job_file, tmp_path / "run")
    link = run.path / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path)
    with pytest.raises(RunError, match=f"{place}: is a link"):
        load_results(run.path)


def test_a_link_to_a_run_is_a_run(job_file: Path, tmp_path: Path) -> None:
    """A run may be named by a link, and Optuna's lock in it, which is a link, is accepted."""
    run = a_run(job_file, tmp_path / "run")
    (tmp_path / "latest").symlink_to(run.path)
    (run.path / "study.journal.lock").symlink_to(run.path / "study.journal")
    assert RunDir(tmp_path / "latest").require()


def test_the_log_follows_no_link(tmp_path: Path) -> None:
    """If the log is a link, its target is not changed."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"), logged(tmp_path / "log.jsonl", print):
        __import__("logging").getLogger("tuner").info("x")
    assert (tmp_path / "mine").read_text() == "mine"


LEFT = (
    *(".study.journal.tmp", ".study.journal.tmp.lock", ".job.yaml.ab12.tmp"),
    *(".launch.json.ab12.tmp", "log.jsonl", "launch.json", "job.yaml"),
)


@pytest.mark.parametrize("left", [*((name,) for name in LEFT), LEFT])
def test_a_killed_start_is_no_obstacle(
    left: tuple[str, ...], job_file: Path, tmp_path: Path
) -> None:
    """A launch can start in a folder with the leftovers of a launch that was killed early."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", *left):
        if name.endswith(".lock") and name != ".lock":
            (folder / name).symlink_to(folder / name.removesuffix(".lock"))
        else:
            (folder / name).write_text("{}")
    job, space = load_job(job_file, ["search.trials=1", "search.presets=false"])
    callback = Recorder()
    run_job(job, space, folder, InlineBackend(), callback=callback, say=callback.say)
    assert len(load_results(folder).records) == 1


def test_a_killed_check_of_the_folder_is_no_obstacle(tmp_path: Path) -> None:
    """The temporary file of the check for write access is no obstacle to the next launch."""
    (tmp_path / ".0123456789abcdef.tmp").touch()
    assert RunDir(tmp_path).begin()
    (tmp_path / "job.yaml").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        RunDir(tmp_path).begin()


def test_an_unwritable_contact_sheet_is_one_line(job_file: Path, tmp_path: Path) -> None:
    """A finished run says in one line that its contact sheet could not be written."""
    job, space = load_job(job_file, ["search.trials=1", "search.presets=false"])
    callback = Recorder()
    run_job(job, space, tmp_path / "run", InlineBackend(), callback=callback, say=callback.say)
    (tmp_path / "run" / "contact-sheet.jpg").mkdir()
    with pytest.raises(InputError, match=r"contact-sheet.jpg: cannot be written"):
        _show_result(tmp_path / "run")


def test_checking_the_lock_does_not_take_it(job_file: Path, tmp_path: Path) -> None:
    """A run is held while a launch works on it; checking this neither writes nor locks."""
    run = a_run(job_file, tmp_path / "run")
    assert not run.is_held
    with run.held():
        assert run.is_held and run.is_held
    assert not run.is_held
    lock = run.path / ".lock"
    opened: list[str] = []
    real = Path.open

    def noted(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        opened.append(mode) if path == lock else None
        return real(path, mode, *args, **kwargs)

    with mock.patch.object(Path, "open", noted):
        assert not run.is_held
    assert opened == ["rb"]


def test_locks_have_the_names_of_optuna() -> None:
    """The ending of a journal's lock that `run_files` states is the one that Optuna uses."""
    from tuner.study.optuna_private import LOCK_FILE_SUFFIX

    assert LOCK_ENDING == LOCK_FILE_SUFFIX
