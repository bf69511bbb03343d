import json
import os
from pathlib import Path
from unittest import mock

import optuna
import pytest

from nst_core.errors import InputError, RunError
from tests.tuner.helpers import Recorder, report
from tuner.jobfile import load_job
from tuner.rundir import RunDir
from tuner.search import Search
from tuner.storage import SHARED_FILE, check_database
from tuner.study import RunStudy, load_records


def driver(job_file: Path, folder: Path, *overrides: str) -> Search:
    """One of several drivers, each with a run directory of its own."""
    job, space = load_job(
        job_file, ["search.study=sqlite:///shared.db", "search.trials=12", *overrides]
    )
    settings = {"goals": job.goals, "sampler": "random", "seed": 1}
    folder.mkdir(exist_ok=True)
    if (folder / SHARED_FILE).exists():
        study = RunStudy.open(folder, **settings)  # type: ignore[arg-type]
    else:
        study = RunStudy.create(folder, url=job.search.study, name=job.name, **settings)  # type: ignore[arg-type]
    return Search(study, RunDir(folder), job, space, watcher=Recorder())


def turn(search: Search) -> bool:
    """Start a trial, or bring one to its next rung; False if there is nothing to do."""
    plan = search.next()
    if plan is None:
        return False
    steps = 0
    while plan.trial in search.running:
        steps = plan.next_rung(steps) if steps else plan.rungs[0]
        search.report(report(plan, steps, 1 / (1 + plan.trial)), list)
    return True


def test_two_drivers_share_a_study(job_file: Path, tmp_path: Path) -> None:
    """Together they run the job's trials once, and halve them against each other."""
    drivers = [driver(job_file, tmp_path / name) for name in ("a", "b")]
    while any([turn(search) for search in drivers]):
        pass
    records, _ = load_records(tmp_path / "a")
    assert [r.trial for r in records] == list(range(12))
    assert records == load_records(tmp_path / "b")[0]
    assert {r.state for r in records} == {"complete", "pruned"}
    completed = [r.trial for r in records if r.state == "complete"]
    assert 11 in completed  # the best of all, whoever ran it
    assert len(completed) < 12


def test_a_driver_leaves_the_trials_of_others_alone(job_file: Path, tmp_path: Path) -> None:
    """What another driver runs is no orphan; its own are taken up when it comes back."""
    a, b = (driver(job_file, tmp_path / name) for name in ("a", "b"))
    first, second = a.next(), b.next()
    assert first and second and first.trial != second.trial
    again = driver(job_file, tmp_path / "a")
    assert list(again.unfinished) == [first.trial]


def test_finals_are_run_once(job_file: Path, tmp_path: Path) -> None:
    """The driver that ends last runs the finals, and nobody runs them again."""
    finals = ("finals.count=1", "finals.seeds=2")
    a, b = (driver(job_file, tmp_path / name, *finals) for name in ("a", "b"))
    held = b.next()
    assert held is not None
    while turn(a):
        pass
    assert all(r.final_of is None for r in load_records(tmp_path / "a")[0])
    while held.trial in b.running:
        for steps in held.rungs:
            b.report(report(held, steps, 0.01), list)
    while turn(b):
        pass
    ends = [r.final_of for r in load_records(tmp_path / "a")[0] if r.final_of is not None]
    assert ends == [held.trial] * 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be used"),
        ("nosuch://host/name", "cannot be used"),
        ("sqlite:////no/such/folder/x.db", "cannot be used"),
        ("mysql://me:secret@localhost:1/x", "cannot be used"),
    ],
)
def test_a_database_that_is_none(url: str, message: str) -> None:
    """One line names the database, without its password."""
    with pytest.raises(InputError, match=message) as caught:
        check_database(url, "x", ["minimize"])
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_of_another_kind(tmp_path: Path) -> None:
    """A name that is taken by a job with other objectives is refused."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    optuna.create_study(storage=url, study_name="cafe", direction="maximize")
    with pytest.raises(InputError, match="with other objectives"):
        check_database(url, "cafe", ["minimize"])
    check_database(url, "other", ["minimize"])


def test_passwords_stay_out_of_files(job_file: Path, tmp_path: Path) -> None:
    """A variable in the URL is filled in when connecting, and written down as it is."""
    folder = tmp_path / "a"
    folder.mkdir()
    job, _ = load_job(job_file)
    with mock.patch.dict(os.environ, {"WHERE": str(tmp_path / "x.db")}):
        RunStudy.create(
            folder, goals=job.goals, url="sqlite:///$WHERE", name="x", sampler="tpe", seed=0
        )
    assert json.loads((folder / SHARED_FILE).read_text())["url"] == "sqlite:///$WHERE"
    assert (tmp_path / "x.db").is_file()


def test_a_damaged_note_of_the_place(tmp_path: Path) -> None:
    """A run that does not say where its study is, is refused by name."""
    (tmp_path / SHARED_FILE).write_text("{}")
    with pytest.raises(RunError, match="does not say where"):
        load_records(tmp_path)
