"""The copy of a run: which files it has, in which order they are written, and `fetch`."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pyarrow.fs import FileSelector, _MockFileSystem

from nst_core.errors import InputError
from tests.tuner.helpers import Recorder
from tests.tuner.run.mirrored import append_record, real_run, simulated_run
from tuner.results.as_json import best_json
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run
from tuner.run.mirror import Mirror, fetch

LANES = "trials/0007/lanes.safetensors"


def test_a_fetched_run_is_the_run(job_file: Path, tmp_path: Path) -> None:
    """The copy has all files of a run except temporary ones and those of its machine."""
    folder = simulated_run(job_file, tmp_path / "run")
    (folder / "launch.json").write_text("{}")
    (folder / ".study.journal.ab.tmp").write_text("half")
    Mirror(folder, str(tmp_path / "mirror")).push()
    names = fetch(str(tmp_path / "mirror"), tmp_path / "back")
    assert "launch.json" not in names and not [name for name in names if "tmp" in name]
    assert best_json(load_results(tmp_path / "back")) == best_json(load_results(folder))


def test_only_changes_are_copied(job_file: Path, tmp_path: Path) -> None:
    """A second update copies changed files and deletes those that are gone."""
    folder = simulated_run(job_file, tmp_path / "run")
    lanes = folder / LANES
    lanes.parent.mkdir(parents=True, exist_ok=True)
    lanes.write_bytes(b"lanes")
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    mirror.push()
    unchanged = tmp_path / "mirror" / "job.yaml"
    unchanged.write_text("not copied again")
    lanes.unlink()
    (folder / "new.txt").write_text("new")
    mirror.push()
    assert unchanged.read_text() == "not copied again"
    assert (tmp_path / "mirror" / "new.txt").read_text() == "new"
    assert not (tmp_path / "mirror" / LANES).exists()


def test_the_study_is_copied_last_and_whole(job_file: Path, tmp_path: Path) -> None:
    """All files that the study refers to are copied before it, and no half-written record is."""
    folder = simulated_run(job_file, tmp_path / "run")
    with (folder / "study.journal").open("a") as file:
        file.write('{"half": ')
    order = []
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    write = mirror._write

    def recorded(name: str, *rest: Any) -> None:
        order.append(name)
        write(name, *rest)

    mirror._write = recorded  # type: ignore[method-assign]
    mirror.push()
    assert order[-1] == "study.journal" and len(order) > 3
    assert (tmp_path / "mirror" / "study.journal").read_bytes().endswith(b"\n")


def test_a_copy_is_of_one_moment(job_file: Path, tmp_path: Path) -> None:
    """Records that are written while images are copied are left for the next update."""
    folder = simulated_run(job_file, tmp_path / "run")
    journal, late = folder / "study.journal", folder / "trials" / "0099" / "pair0.png"
    before = journal.read_bytes()
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    write = mirror._write

    def with_new_record(name: str, *rest: Any) -> None:
        if name.endswith(".png") and not late.exists():
            late.parent.mkdir()
            late.write_bytes(b"png")
            append_record(journal)
        write(name, *rest)

    mirror._write = with_new_record  # type: ignore[method-assign]
    mirror.push()
    copied = tmp_path / "mirror" / "study.journal"
    assert copied.read_bytes() == before
    mirror.push()
    assert copied.read_bytes() == journal.read_bytes()
    assert (tmp_path / "mirror" / "trials" / "0099" / "pair0.png").is_file()


def test_a_file_is_replaced_only_by_a_whole_one(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing a file fails, the copy still has its older version."""
    folder = simulated_run(job_file, tmp_path / "run")
    mirror = Mirror(folder, str(tmp_path / "mirror"))
    mirror.push()
    before = append_record(folder / "study.journal")
    monkeypatch.setattr("os.fsync", mock.Mock(side_effect=OSError("gone")))
    assert not mirror._try_to_push()
    assert (tmp_path / "mirror" / "study.journal").read_bytes() == before


class _HeadIsGoneError(Exception):
    """Raised at any moment of an update, as if the machine had died."""


def rounds(folder: Path, name: str) -> int:
    """Return how many times `advance` had been called when a file was copied."""
    return (folder / name).read_bytes().count(b"round")


def advance(folder: Path) -> None:
    """Append a record to the study of a run and to the saved lanes of a trial."""
    (folder / LANES).parent.mkdir(parents=True, exist_ok=True)
    for name in ("study.journal", LANES):
        with (folder / name).open("ab") as file:
            file.write(b'"round"\n')


@pytest.mark.parametrize("bucket", [False, True])
def test_an_interrupted_copy_is_a_valid_run(
    bucket: bool, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash at any moment the copy has no lanes newer than its study, and is completed."""
    simulated_run(job_file, tmp_path / "whole")
    crash_at, completed = 0, False
    while not completed:
        crash_at += 1
        place = tmp_path / str(crash_at)
        folder = Path(shutil.copytree(tmp_path / "whole", place / "run"))
        if bucket:
            system = _MockFileSystem()
            monkeypatch.setattr("tuner.run.mirror.open_store", lambda _, s=system: (s, "run"))
        advance(folder)
        Mirror(folder, str(place / "mirror")).push()
        advance(folder)
        calls_left = crash_at
        mirror = Mirror(folder, str(place / "mirror"))

        def crashing(call: Any) -> Any:
            def counted(*arguments: Any) -> None:
                nonlocal calls_left
                calls_left -= 1
                if not calls_left:
                    raise _HeadIsGoneError
                call(*arguments)

            return counted

        for name in ("_write", "_replace", "_delete"):
            monkeypatch.setattr(mirror, name, crashing(getattr(mirror, name)))
        with contextlib.suppress(_HeadIsGoneError):
            mirror.push()
            completed = True
        fetch(str(place / "mirror"), place / "back")
        assert 1 <= rounds(place / "back", LANES) <= rounds(place / "back", "study.journal")
        assert not list((place / "back").rglob("*.newer"))
        Mirror(folder, str(place / "mirror")).push()
        fetch(str(place / "mirror"), place / "again")
        assert rounds(place / "again", LANES) == 2
        if bucket:
            infos = system.get_file_info(FileSelector("run", recursive=True))
            paths = [info.path for info in infos]
        else:
            paths = [str(path) for path in (place / "mirror").rglob("*")]
        assert not [path for path in paths if path.endswith(".newer")]
    assert crash_at > 3


def test_lanes_of_earlier_launches_are_deleted(job_file: Path, tmp_path: Path) -> None:
    """Lanes that a killed launch copied are deleted from the copy once their trial has ended."""
    folder, copy = simulated_run(job_file, tmp_path / "run"), tmp_path / "mirror"
    advance(folder)
    Mirror(folder, str(copy)).push()
    assert (copy / LANES).is_file()
    (folder / LANES).unlink()
    Mirror(folder, str(copy)).push()
    assert not (copy / LANES).exists()
    assert (copy / "study.journal").is_file()


def test_links_are_not_followed(job_file: Path, tmp_path: Path) -> None:
    """A symbolic link in a run copies nothing from outside the run."""
    folder = simulated_run(job_file, tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    Mirror(folder, str(tmp_path / "mirror")).push()
    copied = {path.name for path in (tmp_path / "mirror").rglob("*")}
    assert not copied & {"link", "secret", "folder"}


def test_a_mirrored_run_resumes_elsewhere(job_file: Path, tmp_path: Path) -> None:
    """A run whose machine is gone is fetched and resumed in another folder."""
    mirror = tmp_path / "mirror"
    folder = real_run(job_file, tmp_path / "run", "search.trials=2", f"storage={mirror}")
    before = best_json(load_results(folder))
    fetch(str(mirror), tmp_path / "back")
    assert best_json(load_results(tmp_path / "back")) == before
    changes = ["search.trials=3"]
    callback = Recorder()
    resume_run(
        tmp_path / "back", InlineBackend(), callback=callback, say=callback.say, changes=changes
    )
    fetch(str(mirror), tmp_path / "again")
    assert len(load_results(tmp_path / "again").records) == 3


def test_a_run_with_its_study_in_a_database_is_mirrored(job_file: Path, tmp_path: Path) -> None:
    """The files of a run with a shared study are mirrored and fetched like those of any run."""
    mirror, study = tmp_path / "mirror", f"search.study=sqlite:///{tmp_path / 'study.db'}"
    real_run(job_file, tmp_path / "run", "search.trials=1", study, f"storage={mirror}")
    fetch(str(mirror), tmp_path / "back")
    assert best_json(load_results(tmp_path / "back")) == best_json(load_results(tmp_path / "run"))
    assert Mirror(tmp_path / "back", str(mirror))


def test_a_file_that_is_too_large_is_not_fetched(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are checked before anything is fetched."""
    Mirror(simulated_run(job_file, tmp_path / "run"), str(tmp_path / "mirror")).push()
    monkeypatch.setattr("tuner.run.mirror.MAX_BYTES", 100)
    with pytest.raises(InputError, match="expected at most 100"):
        fetch(str(tmp_path / "mirror"), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_fetch_refuses_wrong_folders(tmp_path: Path) -> None:
    """A source without a run and a target that is not empty are refused."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a mirrored run"):
        fetch(str(tmp_path / "empty"), tmp_path / "back")
    with pytest.raises(InputError, match="cannot be read"):
        fetch(str(tmp_path / "missing"), tmp_path / "back")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        fetch(str(tmp_path / "empty"), tmp_path / "full")
