"""Shared studies in a database: several drivers, joining, passwords and lost databases."""

import json
import logging
import sqlite3
import time
from pathlib import Path
from unittest import mock

import optuna
import pytest
import yaml
from optuna.storages import RDBStorage
from PIL import Image
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from nst_core.errors import InputError, RunError, WorkError
from tests.tuner.helpers import Recorder, compared, noisy_space, report
from tuner.cluster.placement import Placement
from tuner.job.find_space import find_space
from tuner.job.load import fingerprint, load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.search.search import Search
from tuner.study.run_dir import RunDir
from tuner.study.run_files import SHARED_FILE
from tuner.study.storage import ASKED, check_database
from tuner.study.study import RunStudy, load_records


def driver(job_file: Path, folder: Path, *overrides: str) -> Search:
    """Return one of several drivers, each with its own run directory."""
    job, space = load_job(
        job_file, ["search.study=sqlite:///shared.db", "search.trials=12", *overrides]
    )
    settings = {"goals": job.goals}
    folder.mkdir(exist_ok=True)
    (folder / "job.yaml").write_text(job.to_yaml())
    if (folder / SHARED_FILE).exists():
        study = RunStudy.open(folder, **settings)  # type: ignore[arg-type]
    else:
        begin = {"url": job.search.study, "name": job.name, "notes": compared(job)}
        study = RunStudy.create(folder, **begin, **settings)  # type: ignore[arg-type]
    return Search(study, RunDir(folder), job, space, callback=Recorder(), initial_points=())


def turn(search: Search) -> bool:
    """Start a trial or advance one to its next rung; return False if there is nothing to do."""
    plan = search.next()
    if plan is None:
        return False
    steps = 0
    while plan.trial in search.running:
        steps = plan.next_rung(steps) if steps else plan.rungs[0]
        search.report(report(plan, steps, 1 / (1 + plan.trial)), list)
    return True


def test_two_drivers_share_a_study(job_file: Path, tmp_path: Path) -> None:
    """Two drivers together run each trial once, and compare the trials of both at the rungs."""
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
    """A driver resumes only its own unfinished trials."""
    a, b = (driver(job_file, tmp_path / name) for name in ("a", "b"))
    first, second = a.next(), b.next()
    assert first and second and first.trial != second.trial
    again = driver(job_file, tmp_path / "a")
    assert list(again.unfinished) == [first.trial]


def test_a_driver_that_dies_at_its_first_trial_resumes_it(job_file: Path, tmp_path: Path) -> None:
    """A shared study records the driver of a trial at once, so the driver can resume it."""
    search = driver(job_file, tmp_path / "a")
    with (
        mock.patch("optuna.Trial", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        search.next()
    again = driver(job_file, tmp_path / "a")
    assert list(again.unfinished) == [0]
    while turn(again):
        pass
    assert [r.trial for r in load_records(tmp_path / "a")[0]] == list(range(12))


def test_all_drivers_use_the_first_initial_points(job_file: Path, tmp_path: Path) -> None:
    """A driver with another warm start uses the initial points that the study began with."""
    few = ("search.presets=false", "search.trials=4", "space=gram", "finals.count=0")
    shared = f"search.study=sqlite:///{tmp_path / 'shared.db'}"

    def launch(name: str, *overrides: str) -> None:
        job, space = load_job(job_file, [*few, *overrides])
        run_job(job, space, tmp_path / name, InlineBackend(), callback=Recorder(), say=print)

    launch("known")
    launch("a", shared, "search.trials=1")
    launch("b", shared, f"search.warm_start=[{tmp_path / 'known'}]", "search.trials=3")
    records, _ = load_records(tmp_path / "b")
    assert [record.params for record in records] == [*find_space("gram").initial_points][:3]


def test_finals_are_run_once(job_file: Path, tmp_path: Path) -> None:
    """The driver that ends last runs the finals, and no other driver repeats them."""
    finals = ("finals.count=1", "finals.seeds=2", noisy_space(tmp_path))
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


def test_paused_trials_stay_while_other_drivers_run(job_file: Path, tmp_path: Path) -> None:
    """A paused trial continues if reports of another driver make it one of the best."""
    a, b = (driver(job_file, tmp_path / name, "search.trials=6") for name in ("a", "b"))
    mine, theirs = [a.next() for _ in range(3)], [b.next() for _ in range(3)]
    for plan, value in zip(mine[:2], (0.5, 0.3), strict=True):
        a.report(report(plan, 2, value), list)
    a.fail(mine[2].trial, "gone")
    assert a.next() is None and a.waits_for_others and not a.over
    for plan in theirs:
        b.report(report(plan, 2, 0.9), list)
    promoted = a.next()
    assert promoted.trial == mine[1].trial


def test_a_silent_driver_delays_nobody(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of a driver that was silent for long do not count, so another runs the finals."""
    finals = ("search.trials=4", "finals.count=1", "finals.seeds=1")
    killed = driver(job_file, tmp_path / "killed", *finals)
    killed.next()
    search = driver(job_file, tmp_path / "a", *finals)
    while turn(search):
        pass
    assert search.others_running
    assert not any(r.final_of is not None for r in load_records(tmp_path / "a")[0])
    later = time.time() + 601
    monkeypatch.setattr("tuner.study.study.time.time", lambda: later)
    again = driver(job_file, tmp_path / "a", *finals)
    while turn(again):
        pass
    assert again.over
    assert any(r.final_of is not None for r in load_records(tmp_path / "a")[0])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be used"),
        ("nosuch://host/name", "cannot be used"),
        ("sqlite:////no/such/folder/x.db", "cannot be used"),
        ("mysql://me:secret@localhost:1/x", "cannot be used"),
        ("mysql://me:secret@localhost:port/x", "cannot be used"),
    ],
)
def test_an_unusable_database_is_named(url: str, message: str) -> None:
    """The error for an unusable database is one line with its URL, without the password."""
    with pytest.raises(InputError, match=message) as caught:
        check_database(url, "x", ["minimize"])
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_with_other_objectives_is_refused(tmp_path: Path) -> None:
    """A job cannot join a study of the same name that has other objectives."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    optuna.create_study(storage=url, study_name="cafe", direction="maximize")
    with pytest.raises(InputError, match="has other objectives"):
        check_database(url, "cafe", ["minimize"])
    check_database(url, "other", ["minimize"])


def test_a_study_of_another_job_is_refused(job_file: Path, tmp_path: Path) -> None:
    """A job cannot join a study whose results are not comparable; its notes do not change."""
    url = f"sqlite:///{tmp_path / 's.db'}"

    def join(folder: str, *overrides: str, name: str = "x") -> RunStudy:
        job, space = load_job(job_file, overrides)
        (tmp_path / folder).mkdir()
        notes = {ASKED: fingerprint(job, space, ["a", "b"]), "pair_baselines": [folder]}
        settings = {"goals": job.goals}
        return RunStudy.create(tmp_path / folder, url=url, name=name, notes=notes, **settings)  # type: ignore[arg-type]

    join("a")
    assert join("b", "search.trials=99", "name=other").notes["pair_baselines"] == ["a"]
    with pytest.raises(InputError, match=r"another job \(different: size_px, objective\)"):
        join("c", "size_px=48", "objective=rmse")
    Image.new("RGB", (96, 64), "red").save(tmp_path / "other.png")
    pair = yaml.safe_load(job_file.read_text())["pairs"][0]
    pair["content"] = str(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"\(different: pairs\)"):
        join("d", f"pairs=[{json.dumps(pair)}]")
    with pytest.raises(InputError, match=r"\(different: precision\)"):
        join("e", "resources.precision=bfloat16")
    join("f", "resources.precision=bfloat16", name="half")
    with pytest.raises(InputError, match=r"\(different: precision\)"):
        join("g", name="half")


class RecordingDatabase:
    """Stands for the database of a server: records its URL, and stores the study in a file."""

    def __init__(self, file: Path):
        self.file, self.url, self.options = file, "", {}  # type: ignore[var-annotated]

    def __call__(self, url: str, options: dict[str, object], **settings: bool) -> RDBStorage:
        self.url, self.options = url, options
        return RDBStorage(f"sqlite:///{self.file}", **settings)


def shared_run(folder: Path, url: str, job_url: str | None = None, name: str = "x") -> Path:
    """Make a run directory of a stranger, whose study is in a database."""
    folder.mkdir()
    (folder / "job.yaml").write_text(yaml.safe_dump({"search": {"study": job_url or url}}))
    content = {"url": url, "name": name, "driver": "ab"}
    (folder / SHARED_FILE).write_text(json.dumps(content))
    return folder


def test_passwords_stay_out_of_files(
    job_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A password from the environment is used to connect; files contain only its name."""
    folder = tmp_path / "a"
    folder.mkdir()
    job, _ = load_job(job_file)
    database, secret = RecordingDatabase(tmp_path / "x.db"), "p@ss:w{o}rd/$1 %"
    monkeypatch.setattr("tuner.study.storage.RDBStorage", database)
    monkeypatch.setenv("STUDY_PASSWORD", secret)
    url = "postgresql://me:$STUDY_PASSWORD@db.example.org/x"
    with caplog.at_level(logging.WARNING):
        RunStudy.create(folder, goals=job.goals, url=url, name="x")
    assert make_url(database.url).password == secret
    assert database.options == {"pool_pre_ping": True}  # a server may close a connection at rest
    assert json.loads((folder / SHARED_FILE).read_text())["url"] == url
    assert "db.example.org" in caplog.text and secret not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:$AWS_SECRET_ACCESS_KEY@evil.example.org/x",
        "postgresql://me:${AWS_SECRET_ACCESS_KEY}@evil.example.org/x",
        "postgresql://me:$A_PASSWORD$AWS_SECRET_ACCESS_KEY@evil.example.org/x",
    ],
)
def test_only_passwords_are_read_from_the_environment(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run directory of a stranger cannot send other variables to a database."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    database = RecordingDatabase(tmp_path / "x.db")
    monkeypatch.setattr("tuner.study.storage.RDBStorage", database)
    with pytest.raises(InputError, match=r"another variable than \$PASSWORD"):
        load_records(shared_run(tmp_path / "run", url))
    assert database.url == ""
    monkeypatch.setenv("PLACE", str(tmp_path))
    with pytest.raises(InputError, match="no such file"):
        load_records(shared_run(tmp_path / "other", "sqlite:///$PLACE/x.db"))


def test_reading_creates_no_database(tmp_path: Path) -> None:
    """Reading a run creates neither a database nor tables in an existing one."""
    missing, foreign = tmp_path / "missing.db", tmp_path / "foreign.db"
    with pytest.raises(InputError, match="no such file"):
        load_records(shared_run(tmp_path / "a", f"sqlite:///{missing}"))
    assert not missing.exists()
    with sqlite3.connect(foreign) as database:
        database.execute("create table history (page text)")
    database.close()
    before = foreign.read_bytes()
    with pytest.raises(InputError, match="no such table"):
        load_records(shared_run(tmp_path / "b", f"sqlite:///{foreign}"))
    assert foreign.read_bytes() == before


def test_job_and_study_file_must_name_the_same_database(tmp_path: Path) -> None:
    """A run is refused if job.yaml and study.json name different databases."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    optuna.create_study(storage=url, study_name="x")
    assert load_records(shared_run(tmp_path / "a", url)) == ([], {})
    with pytest.raises(RunError, match=r"names sqlite.*s\.db, but `search.study`"):
        load_records(shared_run(tmp_path / "b", url, job_url="sqlite:///other.db"))
    with pytest.raises(RunError, match="no longer has a study 'y'"):
        load_records(shared_run(tmp_path / "c", url, name="y"))


def test_a_lost_database_ends_a_launch_in_one_line(job_file: Path, tmp_path: Path) -> None:
    """If the database stops answering, a launch ends with advice and without a traceback."""
    database = tmp_path / "shared.db"

    class Vandal(Recorder):
        def reported(self, *_: object) -> None:  # type: ignore[override]
            database.write_bytes(b"no database")

    job, space = load_job(job_file, [f"search.study=sqlite:///{database}", "search.presets=false"])
    callback = Vandal()
    with pytest.raises(WorkError, match=r"database does not answer.*nst-tuner resume") as caught:
        run_job(job, space, tmp_path / "run", InlineBackend(), callback=callback, say=callback.say)
    assert "\n" not in str(caught.value)


def test_a_locked_database_stops_the_launch_not_a_trial() -> None:
    """On Ray a locked database stops the launch like a full disk does, before Tune sees it."""
    pool = Placement(mock.Mock(failure=None))
    locked = OperationalError("select 1", {}, sqlite3.OperationalError("database is locked"))
    with pool.catch_driver_error():
        raise optuna.exceptions.StorageInternalError("the commit failed") from locked
    assert pool.stopped and "database is locked" in str(pool.driver_error)


def test_a_damaged_study_file_is_refused(tmp_path: Path) -> None:
    """A run whose study.json names no study is refused, and the error names the file."""
    (tmp_path / SHARED_FILE).write_text("{}")
    with pytest.raises(RunError, match="expected url, name and driver"):
        load_records(tmp_path)
