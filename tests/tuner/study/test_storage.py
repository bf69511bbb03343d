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
from tuner.job.load import find_space, fingerprint, load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.search.search import Search
from tuner.study.run_dir import RunDir
from tuner.study.run_files import SHARED_FILE
from tuner.study.storage import ASKED, check_database
from tuner.study.study import RunStudy, load_records


def driver(job_file: Path, folder: Path, *overrides: str) -> Search:
    """One of several drivers, each with a run directory of its own."""
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
    return Search(study, RunDir(folder), job, space, callback=Recorder())


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


def test_a_driver_that_dies_as_it_begins_finds_its_trial(job_file: Path, tmp_path: Path) -> None:
    """A shared study knows whose a trial is from its first moment, so its driver takes it up."""
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


def test_all_drivers_begin_with_the_starts_of_the_first(job_file: Path, tmp_path: Path) -> None:
    """A driver with another warm start runs what the study began with, as it does when resumed."""
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
    """The driver that ends last runs the finals, and nobody runs them again."""
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


def test_what_waits_is_not_given_up_while_others_run(job_file: Path, tmp_path: Path) -> None:
    """A trial that waits goes on when the reports of another driver bring it among the best."""
    a, b = (driver(job_file, tmp_path / name, "search.trials=6") for name in ("a", "b"))
    mine, theirs = [a.next() for _ in range(3)], [b.next() for _ in range(3)]
    for plan, value in zip(mine[:2], (0.5, 0.3), strict=True):
        a.report(report(plan, 2, value), list)
    a.fail(mine[2].trial, "gone")
    assert a.next() is None and a.awaits_others and not a.over
    for plan in theirs:
        b.report(report(plan, 2, 0.9), list)
    promoted = a.next()
    assert promoted.trial == mine[1].trial


def test_a_driver_that_is_gone_holds_nobody_up(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of a driver that has long been silent run no more, so that another runs the finals."""
    finals = ("search.trials=4", "finals.count=1", "finals.seeds=1")
    killed = driver(job_file, tmp_path / "killed", *finals)
    killed.next()
    search = driver(job_file, tmp_path / "a", *finals)
    while turn(search):
        pass
    assert search.others_run
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


def test_a_study_of_another_job(job_file: Path, tmp_path: Path) -> None:
    """Launches join a study only where their trials compare; what was noted of it stays."""
    url = f"sqlite:///{tmp_path / 's.db'}"

    def join(folder: str, *overrides: str) -> RunStudy:
        job, space = load_job(job_file, overrides)
        (tmp_path / folder).mkdir()
        notes = {ASKED: fingerprint(job, space, ["a", "b"]), "pair_baselines": [folder]}
        settings = {"goals": job.goals}
        return RunStudy.create(tmp_path / folder, url=url, name="x", notes=notes, **settings)  # type: ignore[arg-type]

    join("a")
    assert join("b", "search.trials=99", "name=other").notes["pair_baselines"] == ["a"]
    with pytest.raises(InputError, match=r"of another job \(unlike: size_px, objective\)"):
        join("c", "size_px=48", "objective=rmse")
    Image.new("RGB", (96, 64), "red").save(tmp_path / "other.png")
    pair = yaml.safe_load(job_file.read_text())["pairs"][0]
    pair["content"] = str(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"\(unlike: pairs\)"):
        join("d", f"pairs=[{json.dumps(pair)}]")


class Asked:
    """In place of a server's database: remembers how it was asked for, and is one in a file."""

    def __init__(self, file: Path):
        self.file, self.url, self.options = file, "", {}  # type: ignore[var-annotated]

    def __call__(self, url: str, options: dict[str, object], **settings: bool) -> RDBStorage:
        self.url, self.options = url, options
        return RDBStorage(f"sqlite:///{self.file}", **settings)


def shared_run(folder: Path, url: str, asked: str | None = None, name: str = "x") -> Path:
    """A run directory, as somebody may hand it over, whose study is in a database."""
    folder.mkdir()
    (folder / "job.yaml").write_text(yaml.safe_dump({"search": {"study": asked or url}}))
    content = {"url": url, "name": name, "driver": "ab"}
    (folder / SHARED_FILE).write_text(json.dumps(content))
    return folder


def test_passwords_stay_out_of_files(
    job_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A password is filled in when connecting, whatever it is, and written down by its name."""
    folder = tmp_path / "a"
    folder.mkdir()
    job, _ = load_job(job_file)
    asked, secret = Asked(tmp_path / "x.db"), "p@ss:w{o}rd/$1 %"
    monkeypatch.setattr("tuner.study.storage.RDBStorage", asked)
    monkeypatch.setenv("STUDY_PASSWORD", secret)
    url = "postgresql://me:$STUDY_PASSWORD@db.example.org/x"
    with caplog.at_level(logging.WARNING):
        RunStudy.create(folder, goals=job.goals, url=url, name="x")
    assert make_url(asked.url).password == secret
    assert asked.options == {"pool_pre_ping": True}  # a server may close a connection at rest
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
def test_only_passwords_are_filled_in(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that somebody else made gets no other secret of the environment sent anywhere."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    asked = Asked(tmp_path / "x.db")
    monkeypatch.setattr("tuner.study.storage.RDBStorage", asked)
    with pytest.raises(InputError, match=r"another variable than \$PASSWORD"):
        load_records(shared_run(tmp_path / "run", url))
    assert asked.url == ""
    monkeypatch.setenv("PLACE", str(tmp_path))
    with pytest.raises(InputError, match="no such file"):
        load_records(shared_run(tmp_path / "other", "sqlite:///$PLACE/x.db"))


def test_looking_creates_nothing(tmp_path: Path) -> None:
    """Whoever reads a run makes no database, and no tables in one that is somebody else's."""
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


def test_the_job_says_where_the_study_is(tmp_path: Path) -> None:
    """A run whose job names another database than its note of the place is refused."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    optuna.create_study(storage=url, study_name="x")
    assert load_records(shared_run(tmp_path / "a", url)) == ([], {})
    with pytest.raises(RunError, match=r"names sqlite.*s\.db, expected what `search.study`"):
        load_records(shared_run(tmp_path / "b", url, asked="sqlite:///other.db"))
    with pytest.raises(RunError, match="no study 'y' any more"):
        load_records(shared_run(tmp_path / "c", url, name="y"))


def test_a_database_that_goes_away_ends_a_launch_in_one_line(
    job_file: Path, tmp_path: Path
) -> None:
    """As a full disk does, with what to do; no traceback of the database's library."""
    database = tmp_path / "shared.db"

    class Vandal(Recorder):
        def reported(self, *_: object) -> None:  # type: ignore[override]
            database.write_bytes(b"no database")

    job, space = load_job(job_file, [f"search.study=sqlite:///{database}", "search.presets=false"])
    callback = Vandal()
    with pytest.raises(WorkError, match=r"database does not answer.*nst-tuner resume") as caught:
        run_job(job, space, tmp_path / "run", InlineBackend(), callback=callback, say=callback.say)
    assert "\n" not in str(caught.value)


def test_a_locked_database_is_no_fault_of_a_trial() -> None:
    """On Ray it stops the launch where a full disk does, so that Tune sees nothing of it."""
    pool = Placement(mock.Mock(failure=None))
    locked = OperationalError("select 1", {}, sqlite3.OperationalError("database is locked"))
    with pool.catch_driver_error():
        raise optuna.exceptions.StorageInternalError("the commit failed") from locked
    assert pool.stopped and "database is locked" in str(pool.driver_error)


def test_a_damaged_note_of_the_place(tmp_path: Path) -> None:
    """A run that does not say where its study is, is refused by name."""
    (tmp_path / SHARED_FILE).write_text("{}")
    with pytest.raises(RunError, match="does not say where"):
        load_records(tmp_path)
