"""The copy of a run in a folder or a bucket."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from pyarrow.fs import FileSelector, _MockFileSystem

from nst_core.errors import InputError, RunInterruptedError, WorkError
from tests.tuner.helpers import Recorder, make_search, play
from tuner.job.load import load_job
from tuner.results.as_json import best_json, status_json
from tuner.results.results import load_results
from tuner.run.backend import Backend
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.run.mirror import Mirror, fetch


def a_run(job_file: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    play(make_search(job_file, folder), lambda plan, steps: 1.0 / steps)
    return folder


def test_what_is_mirrored_comes_back(job_file: Path, tmp_path: Path) -> None:
    """A fetched run is the run, without what only its machine needs."""
    folder = a_run(job_file, tmp_path / "run")
    (folder / "launch.json").write_text("{}")
    (folder / ".study.journal.ab.tmp").write_text("half")
    Mirror(folder, str(tmp_path / "mirror")).push()
    names = fetch(str(tmp_path / "mirror"), tmp_path / "back")
    assert "launch.json" not in names and not [name for name in names if "tmp" in name]
    assert best_json(load_results(tmp_path / "back")) == best_json(load_results(folder))


def test_only_changes_are_copied(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second push copies what changed and takes away what is gone."""
    folder = a_run(job_file, tmp_path / "run")
    lanes = folder / "trials" / "0007" / "lanes.safetensors"
    lanes.parent.mkdir(parents=True, exist_ok=True)
    lanes.write_bytes(b"lanes")
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    mirror.push()
    kept = tmp_path / "mirror" / "job.yaml"
    kept.write_text("not copied again")
    lanes.unlink()
    (folder / "new.txt").write_text("new")
    mirror.push()
    assert kept.read_text() == "not copied again"
    assert (tmp_path / "mirror" / "new.txt").read_text() == "new"
    assert not (tmp_path / "mirror" / "trials" / "0007" / "lanes.safetensors").exists()


def test_the_study_is_copied_last_and_whole(job_file: Path, tmp_path: Path) -> None:
    """What the copied study speaks of is there already, and no half record is copied."""
    folder = a_run(job_file, tmp_path / "run")
    with (folder / "study.journal").open("a") as file:
        file.write('{"half": ')
    order = []
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    write = mirror._write
    mirror._write = lambda name, seen: (order.append(name), write(name, seen))[1]  # type: ignore[method-assign]
    mirror.push()
    assert order[-1] == "study.journal" and len(order) > 3
    assert (tmp_path / "mirror" / "study.journal").read_bytes().endswith(b"\n")


def test_storage_that_is_away_stops_nothing(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the storage cannot be reached the run goes on, says so, and catches up."""
    folder = a_run(job_file, tmp_path / "run")
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    (tmp_path / "mirror").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert not mirror._try_to_push()
    assert "copied later" in caplog.text
    (tmp_path / "mirror").unlink()
    assert mirror._try_to_push()
    assert (tmp_path / "mirror" / "study.journal").is_file()


def test_an_outage_is_said_when_it_begins_and_ends(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a storage that is away is tried, people are told of it twice."""
    mirror = Mirror(a_run(job_file, tmp_path / "run"), str(tmp_path / "mirror"))
    (tmp_path / "mirror").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert not any(mirror._try_to_push() for _ in range(3))
        (tmp_path / "mirror").unlink()
        assert all(mirror._try_to_push() for _ in range(3))
    first, last = caplog.messages
    assert "copied later" in first and "is back" in last


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run waits for its storage a tenth of a second."""
    monkeypatch.setattr("tuner.run.mirror.END_WITHIN_S", 0.1)
    monkeypatch.setattr("tuner.run.mirror.AGAIN_AFTER_S", 0.01)


@pytest.mark.usefixtures("impatient")
def test_a_run_that_is_over_waits_for_its_storage(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Storage that is away when the run ends is tried until it is back."""
    folder, copy = a_run(job_file, tmp_path / "run"), tmp_path / "mirror"
    mirror = Mirror(folder, str(copy))
    tries = []

    def sleep(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            copy.unlink()

    monkeypatch.setattr("tuner.run.mirror.time.sleep", sleep)
    with caplog.at_level(logging.WARNING), mirror.kept_up():
        copy.write_text("in the way")
    assert len(tries) == 3
    assert caplog.text.count("waiting up to") == 1 and "is back" in caplog.text
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()


@pytest.mark.usefixtures("impatient")
def test_two_launches_do_not_mix_in_one_storage(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes second, both having found it empty, leaves it to the first and says so."""
    copy = tmp_path / "mirror"
    first, second = (Mirror(a_run(job_file, tmp_path / name), str(copy)) for name in "ab")
    first.push()
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(WorkError, match=r"another launch copies to it.*resume .*b --set storage="),
        second.kept_up(),
    ):
        assert not second._try_to_push() and not second._try_to_push()
    assert caplog.text.count("another launch copies to it") == 1
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert first._try_to_push()


def test_a_storage_that_comes_back_is_ones_own(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was away for a while, and a write that was taken for lost, are no other's."""
    folder, copy = a_run(job_file, tmp_path / "run"), tmp_path / "mirror"
    mirror = Mirror(folder, str(copy))
    mirror.push()
    copy.rename(tmp_path / "unmounted")
    assert not mirror._try_to_push() and not copy.exists()
    (tmp_path / "unmounted").rename(copy)
    assert mirror._try_to_push()
    journal = folder / "study.journal"
    journal.write_bytes(journal.read_bytes() + journal.read_bytes().splitlines(True)[-1])
    real = mirror._write

    def lost(name: str, seen: Any) -> None:
        real(name, seen)
        if name == "study.journal":
            monkeypatch.setattr(mirror, "_write", real)
            raise OSError("no answer")

    monkeypatch.setattr(mirror, "_write", lost)
    assert not mirror._try_to_push() and mirror._try_to_push()
    assert (copy / "study.journal").read_bytes() == journal.read_bytes()


class _NoEngine(Backend):
    """For runs that are over."""

    def run(self, *_: object) -> None:
        raise AssertionError("nothing is left to be run")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("finals", [0, 1])
def test_storage_that_stays_away_fails_the_launch(
    finals: int, job_file: Path, tmp_path: Path
) -> None:
    """A copy that is not whole is no success; `resume` makes it whole, and starts no engine."""
    copy = tmp_path / "mirror"
    settings = ("search.trials=2", "search.presets=false", f"storage={copy}")
    job, space = load_job(job_file, (*settings, f"finals={{count: {finals}, seeds: 1}}"))

    class InTheWay(Recorder):
        def ended(self, trial: int, state: str, reason: str | None) -> None:
            if not copy.exists():
                copy.write_text("in the way")

    folder = tmp_path / "run"
    with pytest.raises(WorkError, match=r"is not whole; `nst-tuner resume .*run` finishes it"):
        run_job(job, space, folder, InlineBackend(), callback=InTheWay(), say=print)
    before = best_json(load_results(folder))
    copy.unlink()
    resume_run(folder, _NoEngine(), callback=Recorder(), say=print)
    fetch(str(copy), tmp_path / "back")
    assert status_json(load_results(tmp_path / "back"))["finished"]
    assert best_json(load_results(tmp_path / "back")) == before


@pytest.mark.usefixtures("impatient")
def test_who_does_not_wait_is_told_what_is_missing(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Ctrl-C ends the wait for a storage; a launch that fails waits for none and says so too."""
    copy = tmp_path / "mirror"
    mirror = Mirror(a_run(job_file, tmp_path / "run"), str(copy))
    monkeypatch.setattr("tuner.run.mirror.time.sleep", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(RunInterruptedError, match="is not whole"), mirror.kept_up():
        copy.write_text("in the way")
    caplog.clear()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(WorkError, match=r"^no engines$"),
        mirror.kept_up(),
    ):
        raise WorkError("no engines")
    assert "is not whole" in caplog.text


def test_a_mirrored_run_resumes_elsewhere(job_file: Path, tmp_path: Path) -> None:
    """A run whose machine is gone goes on from its copy, on another one."""
    job, space = load_job(
        job_file,
        ("search.trials=2", "search.presets=false", f"storage={tmp_path / 'mirror'}"),
    )
    callback = Recorder()
    options = {"callback": callback, "say": callback.say}
    run_job(job, space, tmp_path / "run", InlineBackend(), **options)  # type: ignore[arg-type]
    before = best_json(load_results(tmp_path / "run"))
    fetch(str(tmp_path / "mirror"), tmp_path / "back")
    assert best_json(load_results(tmp_path / "back")) == before
    changes = ["search.trials=3"]
    resume_run(tmp_path / "back", InlineBackend(), changes=changes, **options)  # type: ignore[arg-type]
    fetch(str(tmp_path / "mirror"), tmp_path / "again")
    assert len(load_results(tmp_path / "again").records) == 3


def test_a_copy_is_of_one_moment(job_file: Path, tmp_path: Path) -> None:
    """What is recorded while pictures are copied is for the next copy, which has its pictures."""
    folder = a_run(job_file, tmp_path / "run")
    journal, late = folder / "study.journal", folder / "trials" / "0099" / "pair0.png"
    before = journal.read_bytes()
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    write = mirror._write

    def meanwhile(name: str, seen: Any) -> None:
        if name.endswith(".png") and not late.exists():
            late.parent.mkdir()
            late.write_bytes(b"png")
            journal.write_bytes(before + before.splitlines(keepends=True)[-1])
        write(name, seen)

    mirror._write = meanwhile  # type: ignore[method-assign]
    mirror.push()
    copied = tmp_path / "mirror" / "study.journal"
    assert copied.read_bytes() == before
    mirror.push()
    assert copied.read_bytes() == journal.read_bytes()
    assert (tmp_path / "mirror" / "trials" / "0099" / "pair0.png").is_file()


def test_another_runs_copy_is_not_overwritten(job_file: Path, tmp_path: Path) -> None:
    """The same job, launched again elsewhere, leaves the copy of the first run as it is."""
    copy = tmp_path / "mirror"
    job, space = load_job(job_file, ("search.trials=1", "search.presets=false", f"storage={copy}"))
    callback = Recorder()
    options = {"callback": callback, "say": callback.say}
    run_job(job, space, tmp_path / "run", InlineBackend(), **options)  # type: ignore[arg-type]
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"holds another run.*fetch"):
        run_job(job, space, tmp_path / "again", InlineBackend(), **options)  # type: ignore[arg-type]
    assert not (tmp_path / "again").exists()
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_copy_that_went_on_elsewhere_is_kept(job_file: Path, tmp_path: Path) -> None:
    """A run that was fetched and went on is not overwritten by where it came from."""
    folder = a_run(job_file, tmp_path / "run")
    Mirror(folder, str(tmp_path / "mirror")).push()
    journal = tmp_path / "mirror" / "study.journal"
    assert Mirror(folder, str(tmp_path / "mirror"))
    journal.write_bytes(journal.read_bytes() + journal.read_bytes().splitlines(keepends=True)[-1])
    with pytest.raises(InputError, match="more of this one"):
        Mirror(folder, str(tmp_path / "mirror"))


@pytest.mark.parametrize("place", [".", "copy", "trials/../copy", ".."])
def test_storage_in_or_around_the_run(place: str, job_file: Path, tmp_path: Path) -> None:
    """A run is not copied onto itself, into itself, or around itself."""
    folder = a_run(job_file, tmp_path / "runs" / "run")
    before = (folder / "study.journal").read_bytes()
    with pytest.raises(InputError, match="the run directory"):
        Mirror(folder, str(folder / place))
    assert (folder / "study.journal").read_bytes() == before


def test_a_full_folder_is_no_storage(job_file: Path, tmp_path: Path) -> None:
    """Nothing is mixed with what is no run: a run's storage may be another person's choice."""
    folder = a_run(job_file, tmp_path / "run")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".profile").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        Mirror(folder, str(tmp_path / "home"))


def test_links_are_not_followed(job_file: Path, tmp_path: Path) -> None:
    """A link in a run takes nothing from outside it into the copy."""
    folder = a_run(job_file, tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    Mirror(folder, str(tmp_path / "mirror")).push()
    copied = {path.name for path in (tmp_path / "mirror").rglob("*")}
    assert not copied & {"link", "secret", "folder"}


def test_a_shared_run_is_a_run_too(job_file: Path, tmp_path: Path) -> None:
    """Of a run with its study in a database the rest is mirrored, and comes back."""
    job, space = load_job(
        job_file,
        (
            *("search.trials=1", "search.presets=false", f"storage={tmp_path / 'mirror'}"),
            f"search.study=sqlite:///{tmp_path / 'study.db'}",
        ),
    )
    callback = Recorder()
    options = {"callback": callback, "say": callback.say}
    run_job(job, space, tmp_path / "run", InlineBackend(), **options)  # type: ignore[arg-type]
    fetch(str(tmp_path / "mirror"), tmp_path / "back")
    assert best_json(load_results(tmp_path / "back")) == best_json(load_results(tmp_path / "run"))
    assert Mirror(tmp_path / "back", str(tmp_path / "mirror"))


@pytest.mark.usefixtures("impatient")
def test_two_drivers_of_a_study_do_not_mix_in_one_storage(tmp_path: Path) -> None:
    """Each has files of its own, so the second one leaves the storage to the first."""
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


def test_a_copy_is_replaced_whole(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a copy breaks off, the old one is still there."""
    folder = a_run(job_file, tmp_path / "run")
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    mirror.push()
    before = (tmp_path / "mirror" / "study.journal").read_bytes()
    with (folder / "study.journal").open("ab") as file:
        file.write(before.splitlines(keepends=True)[-1])
    monkeypatch.setattr("os.fsync", mock.Mock(side_effect=OSError("gone")))
    assert not mirror._try_to_push()
    assert (tmp_path / "mirror" / "study.journal").read_bytes() == before


def test_whatever_a_storage_does_copying_goes_on(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of any kind is said, and the next try is made."""
    mirror = Mirror(a_run(job_file, tmp_path / "run"), str(tmp_path / "mirror"))
    broken = mock.Mock(side_effect=[RuntimeError("a library's own"), None])
    monkeypatch.setattr(mirror, "push", broken)
    assert [mirror._try_to_push(), mirror._try_to_push()] == [False, True]


def test_too_large_to_fetch(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are looked at before anything is brought."""
    Mirror(a_run(job_file, tmp_path / "run"), str(tmp_path / "mirror")).push()
    monkeypatch.setattr("tuner.run.mirror.MAX_BYTES", 100)
    with pytest.raises(InputError, match="expected at most 100"):
        fetch(str(tmp_path / "mirror"), tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("url", ["nowhere://bucket/run", "http://example.com/run"])
def test_no_such_storage(url: str, job_file: Path, tmp_path: Path) -> None:
    """A URL that is none is refused before anything is written."""
    tree = yaml.safe_load(job_file.read_text())
    job_file.write_text(yaml.safe_dump({**tree, "storage": url}))
    callback = Recorder()
    with pytest.raises(InputError, match="storage"):
        job, space = load_job(job_file)
        run_job(job, space, tmp_path / "run", InlineBackend(), callback=callback, say=callback.say)
    assert not (tmp_path / "run").exists()


def test_nothing_to_fetch(tmp_path: Path) -> None:
    """A folder without a run, and a full one to fetch to, are refused."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a mirrored run"):
        fetch(str(tmp_path / "empty"), tmp_path / "back")
    with pytest.raises(InputError, match="cannot be read"):
        fetch(str(tmp_path / "missing"), tmp_path / "back")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        fetch(str(tmp_path / "empty"), tmp_path / "full")


LANES = "trials/0007/lanes.safetensors"


class _HeadIsGoneError(Exception):
    """At any moment."""


def rounds(folder: Path, name: str) -> int:
    """Which of the rounds of `goes_on` a file of the run is of."""
    return (folder / name).read_bytes().count(b"round")


def goes_on(folder: Path) -> None:
    """A run records something, and a trial that is under way saves its lanes."""
    (folder / LANES).parent.mkdir(parents=True, exist_ok=True)
    for name in ("study.journal", LANES):
        with (folder / name).open("ab") as file:
            file.write(b'"round"\n')


@pytest.mark.parametrize("bucket", [False, True])
def test_wherever_a_copy_breaks_off_it_is_a_whole_run(
    bucket: bool, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that dies at any moment leaves a copy with no lanes newer than its study, and all."""
    a_run(job_file, tmp_path / "whole")
    breaks_off, ended = 0, False
    while not ended:
        breaks_off += 1
        place = tmp_path / str(breaks_off)
        folder = Path(shutil.copytree(tmp_path / "whole", place / "run"))
        if bucket:
            system = _MockFileSystem()
            monkeypatch.setattr("tuner.run.mirror.open_store", lambda _, s=system: (s, "run"))
        goes_on(folder)
        Mirror(folder, str(place / "mirror")).push()
        goes_on(folder)
        left = breaks_off
        mirror = Mirror(folder, str(place / "mirror"))
        calls = {name: getattr(mirror, name) for name in ("_write", "_replace", "_delete")}

        def counted(call: Any) -> Any:
            def counts(*arguments: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    raise _HeadIsGoneError
                call(*arguments)

            return counts

        for name, call in calls.items():
            monkeypatch.setattr(mirror, name, counted(call))
        with contextlib.suppress(_HeadIsGoneError):
            mirror.push()
            ended = True
        fetch(str(place / "mirror"), place / "back")
        assert 1 <= rounds(place / "back", LANES) <= rounds(place / "back", "study.journal")
        assert not list((place / "back").rglob("*.newer"))
        Mirror(folder, str(place / "mirror")).push()
        fetch(str(place / "mirror"), place / "again")
        assert rounds(place / "again", LANES) == 2
        if bucket:
            found = [
                info.path for info in system.get_file_info(FileSelector("run", recursive=True))
            ]
        else:
            found = [str(path) for path in (place / "mirror").rglob("*")]
        assert not [path for path in found if path.endswith(".newer")]
    assert breaks_off > 3


def test_lanes_of_earlier_launches_go(job_file: Path, tmp_path: Path) -> None:
    """Lanes that a killed launch copied are taken from the copy when their trial is over."""
    folder, copy = a_run(job_file, tmp_path / "run"), tmp_path / "mirror"
    goes_on(folder)
    Mirror(folder, str(copy)).push()
    assert (copy / LANES).is_file()
    (folder / LANES).unlink()
    Mirror(folder, str(copy)).push()
    assert not (copy / LANES).exists()
    assert (copy / "study.journal").is_file()
