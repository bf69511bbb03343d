"""Storage of a mirror that does not answer, belongs to another run, or is no storage."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from nst_core.errors import InputError, RunInterruptedError, WorkError
from tests.tuner.helpers import Recorder
from tests.tuner.run.mirrored import (
    append_record,
    contents,
    real_run,
    simulated_run,
)
from tuner.results.as_json import best_json, status_json
from tuner.results.results import load_results
from tuner.run.backend_protocol import Backend
from tuner.run.launch import resume_run
from tuner.run.mirror import Mirror, fetch


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is updated at the end of a run only, which waits for a tenth of a second."""
    monkeypatch.setattr("tuner.run.mirror.EVERY_S", 3600.0)
    monkeypatch.setattr("tuner.run.mirror.END_WITHIN_S", 0.1)
    monkeypatch.setattr("tuner.run.mirror.AGAIN_AFTER_S", 0.01)


def test_an_outage_is_reported_twice(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of the storage raises no error; people are told when it begins and when it ends."""
    mirror = Mirror(simulated_run(job_file, tmp_path / "run"), str(tmp_path / "mirror"))
    (tmp_path / "mirror").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert not any(mirror._try_to_push() for _ in range(3))
        (tmp_path / "mirror").unlink()
        assert all(mirror._try_to_push() for _ in range(3))
    first, last = caplog.messages
    assert "copied later" in first and "is back" in last
    assert (tmp_path / "mirror" / "study.journal").is_file()


@pytest.mark.usefixtures("impatient")
def test_a_run_that_is_over_waits_for_its_storage(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A storage that does not answer when the run ends is tried again until it does."""
    folder, copy = simulated_run(job_file, tmp_path / "run"), tmp_path / "mirror"
    mirror = Mirror(folder, str(copy))
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            copy.unlink()

    monkeypatch.setattr("tuner.run.mirror.time.sleep", sleep)
    with caplog.at_level(logging.WARNING), mirror.kept_up():
        copy.write_text("in the way")
    assert len(waits) == 3
    assert caplog.text.count("waiting up to") == 1 and "is back" in caplog.text
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()


class _NoEngine(Backend):
    """A backend for runs that are over."""

    def run(self, *_: object) -> None:
        raise AssertionError("no trial is left to run")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("finals", [0, 1])
def test_an_incomplete_copy_fails_the_launch(finals: int, job_file: Path, tmp_path: Path) -> None:
    """An incomplete copy is an error; `resume` completes the copy and starts no engine."""
    copy = tmp_path / "mirror"

    class InTheWay(Recorder):
        def ended(self, trial: int, state: str, reason: str | None) -> None:
            if not copy.exists():
                copy.write_text("in the way")

    folder = tmp_path / "run"
    settings = ("search.trials=2", f"storage={copy}", f"finals={{count: {finals}, seeds: 1}}")
    with pytest.raises(WorkError, match=r"is incomplete; `nst-tuner resume .*run` completes it"):
        real_run(job_file, folder, *settings, callback=InTheWay())
    before = best_json(load_results(folder))
    copy.unlink()
    resume_run(folder, _NoEngine(), callback=Recorder(), say=print)
    fetch(str(copy), tmp_path / "back")
    assert status_json(load_results(tmp_path / "back"))["finished"]
    assert best_json(load_results(tmp_path / "back")) == before


@pytest.mark.usefixtures("impatient")
def test_a_launch_that_does_not_wait_reports_the_incomplete_copy(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Ctrl-C ends the wait for a storage; a launch that fails does not wait at all."""
    copy = tmp_path / "mirror"
    mirror = Mirror(simulated_run(job_file, tmp_path / "run"), str(copy))
    monkeypatch.setattr("tuner.run.mirror.time.sleep", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(RunInterruptedError, match="is incomplete"), mirror.kept_up():
        copy.write_text("in the way")
    caplog.clear()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(WorkError, match=r"^no engines$"),
        mirror.kept_up(),
    ):
        raise WorkError("no engines")
    assert "is incomplete" in caplog.text


def test_any_error_of_a_storage_is_survived(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of any type the next update is tried."""
    mirror = Mirror(simulated_run(job_file, tmp_path / "run"), str(tmp_path / "mirror"))
    failing = mock.Mock(side_effect=[RuntimeError("a library's own"), None])
    monkeypatch.setattr(mirror, "push", failing)
    assert [mirror._try_to_push(), mirror._try_to_push()] == [False, True]


@pytest.mark.usefixtures("impatient")
def test_two_launches_do_not_mix_in_one_storage(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When two launches find a storage empty, the second one to write stops copying and says so."""
    copy = tmp_path / "mirror"
    first, second = (Mirror(simulated_run(job_file, tmp_path / name), str(copy)) for name in "ab")
    first.push()
    before = contents(copy)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(WorkError, match=r"another launch copies to it.*resume .*b --set storage="),
        second.kept_up(),
    ):
        assert not second._try_to_push() and not second._try_to_push()
    assert caplog.text.count("another launch copies to it") == 1
    assert contents(copy) == before
    assert first._try_to_push()


@pytest.mark.usefixtures("impatient")
def test_two_drivers_of_a_study_do_not_mix_in_one_storage(tmp_path: Path) -> None:
    """Two drivers of a shared study have different files, so the second one stops copying."""
    mirrors = []
    for name in "ab":
        (tmp_path / name).mkdir()
        mirrors.append(Mirror(tmp_path / name, str(tmp_path / "mirror")))
        (tmp_path / name / "job.yaml").write_text("name: one\n")
        (tmp_path / name / "study.json").write_text(f'{{"driver": "{name}"}}')
    first, second = mirrors
    first.push()
    with pytest.raises(WorkError, match="another launch copies to it"):
        second.push()
    assert '"a"' in (tmp_path / "mirror" / "study.json").read_text()
    first.push()


def test_a_launch_recognizes_its_own_copy_after_an_outage(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was unmounted, and a write that seemed to fail, are no sign of a conflict."""
    folder, copy = simulated_run(job_file, tmp_path / "run"), tmp_path / "mirror"
    mirror = Mirror(folder, str(copy))
    mirror.push()
    copy.rename(tmp_path / "unmounted")
    assert not mirror._try_to_push() and not copy.exists()
    (tmp_path / "unmounted").rename(copy)
    assert mirror._try_to_push()
    append_record(folder / "study.journal")
    write = mirror._write

    def without_answer(name: str, *rest: Any) -> None:
        write(name, *rest)
        if name == "study.journal":
            monkeypatch.setattr(mirror, "_write", write)
            raise OSError("no answer")

    monkeypatch.setattr(mirror, "_write", without_answer)
    assert not mirror._try_to_push() and mirror._try_to_push()
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()


def test_the_copy_of_another_run_is_not_overwritten(job_file: Path, tmp_path: Path) -> None:
    """A second launch of a job is refused if its storage holds the copy of the first run."""
    copy = tmp_path / "mirror"
    settings = ("search.trials=1", f"storage={copy}")
    real_run(job_file, tmp_path / "run", *settings)
    before = contents(copy)
    with pytest.raises(InputError, match=r"holds another run.*fetch"):
        real_run(job_file, tmp_path / "again", *settings)
    assert not (tmp_path / "again").exists()
    assert contents(copy) == before


def test_a_copy_that_was_resumed_elsewhere_is_not_overwritten(
    job_file: Path, tmp_path: Path
) -> None:
    """A copy that has more records than the run directory is refused as its storage."""
    folder = simulated_run(job_file, tmp_path / "run")
    Mirror(folder, str(tmp_path / "mirror")).push()
    assert Mirror(folder, str(tmp_path / "mirror"))
    append_record(tmp_path / "mirror" / "study.journal")
    with pytest.raises(InputError, match="more of this one"):
        Mirror(folder, str(tmp_path / "mirror"))


@pytest.mark.parametrize("place", [".", "copy", "trials/../copy", ".."])
def test_storage_and_run_directory_must_be_apart(
    place: str, job_file: Path, tmp_path: Path
) -> None:
    """A storage that is, contains or lies in the run directory is refused."""
    folder = simulated_run(job_file, tmp_path / "runs" / "run")
    before = (folder / "study.journal").read_bytes()
    with pytest.raises(InputError, match="the run directory"):
        Mirror(folder, str(folder / place))
    assert (folder / "study.journal").read_bytes() == before


def test_a_folder_with_other_files_is_no_storage(job_file: Path, tmp_path: Path) -> None:
    """A folder that holds files but no run is refused."""
    folder = simulated_run(job_file, tmp_path / "run")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".profile").write_text("mine")
    with pytest.raises(InputError, match="is neither empty nor a copy of this run"):
        Mirror(folder, str(tmp_path / "home"))


@pytest.mark.parametrize("url", ["nowhere://bucket/run", "http://example.com/run"])
def test_an_unknown_url_is_no_storage(url: str, job_file: Path, tmp_path: Path) -> None:
    """A URL of no known storage is refused before anything is written."""
    with pytest.raises(InputError, match="storage"):
        real_run(job_file, tmp_path / "run", f"storage={url}")
    assert not (tmp_path / "run").exists()
