"""Commands of people: carried out exactly once, or refused with a reason; the study has them."""

import itertools
import json
from pathlib import Path

import pytest

from nst_core.errors import InputError, RunError
from tests.tuner.helpers import Recorder, make_search, play, quality, report
from tuner.job.load import load_job
from tuner.results.as_json import status_json
from tuner.results.results import load_results
from tuner.sampling.encoding import shares_of
from tuner.search.halving import Decision
from tuner.search.search import Search
from tuner.search.steering import STOPPED
from tuner.study.command_words import parse
from tuner.study.commands import received, send, wait_for
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy, load_records


@pytest.fixture
def folder(job_file: Path, tmp_path: Path) -> Path:
    """A run directory with a job file and no study."""
    folder = tmp_path / "run"
    folder.mkdir()
    RunDir(folder).write_job(load_job(job_file)[0])
    return folder


def give(folder: Path, words: str, count: int | None = None) -> str:
    """Send a command, as `nst-tuner ctl` does while a launch runs; return its id."""
    name, *arguments = words.split()
    with RunDir(folder).held():
        return send(folder, parse(name, arguments, count))


def started(job_file: Path, folder: Path, *overrides: str, **options) -> Search:  # type: ignore[no-untyped-def]
    return make_search(job_file, folder, *overrides, **options)


def test_commands_need_a_running_search(folder: Path) -> None:
    """Without a launch, or while only votes are cast, a command is refused at once."""
    with pytest.raises(RunError, match=r"not running.*nst-tuner resume"):
        send(folder, parse("pause", []))
    with RunDir(folder).held("prefer"), pytest.raises(RunError, match="only `nst-tuner prefer`"):
        send(folder, parse("pause", []))
    assert received(folder) == []


def test_a_configuration_that_was_asked_for_comes_next(job_file: Path, folder: Path) -> None:
    """`try` runs its parameters as the next trial, and the initial points continue after it."""
    search = started(job_file, folder)
    plans = [search.next() for _ in range(3)]
    give(folder, "try lr=0.3123 init=mix")
    plans += [search.next() for _ in range(2)]
    records, _ = load_records(folder)
    points = load_job(job_file)[1].initial_points
    assert records[2].params == points[0] and records[4].params == points[1]
    assert (records[3].params["lr"], records[3].params["init"]) == (0.3123, "mix")
    assert records[3].note == "asked for: try lr=0.3123 init=mix"
    assert not received(folder)
    assert all(plans)


def test_trials_near_another_one(job_file: Path, folder: Path) -> None:
    """`more-like` draws that many trials near a trial, which differ from each other."""
    few = ("search.trials=40", "search.sampler=tpe")
    search = started(job_file, folder, *few, presets=0)
    play(search, quality, limit=6)
    give(folder, "more-like 1", count=4)
    before = len(load_records(folder)[0])
    play(search, quality)
    records, _ = load_records(folder)
    space = load_job(job_file)[1]
    alike = [r for r in records if r.note and r.note.startswith("asked for: more-like 1")]
    assert [r.trial for r in alike] == list(range(before, before + 4))
    assert len({str(r.params) for r in alike}) == 4
    center = shares_of(space, records[1].params)
    for record in alike:
        shares = shares_of(space, record.params)
        numbers = [n for n in shares if n in center and not hasattr(space.params[n], "options")]
        assert all(abs(shares[n] - center[n]) < 0.5 for n in numbers)
    assert len(records) == 40


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("try lrr=0.1", "did you mean `lr`"),
        ("try lr=70", "expected"),
        ("stop-trial 99", "there is no trial 99"),
        ("stop-trial 0", "trial 0 has ended"),
        ("more-like 0", "preset"),
        ("resume", "not paused"),
        ("set size_px=64", "`size_px` cannot change"),
        ("set budget.minuts=3", "did you mean `budget.minutes`"),
        ("set budget.minutes=-3", "above 0"),
    ],
)
def test_impossible_commands_are_refused(
    job_file: Path, folder: Path, words: str, reason: str
) -> None:
    """A command that cannot be carried out is recorded as refused, with the reason."""
    callback = Recorder()
    search = started(job_file, folder, callback=callback)
    play(search, quality, limit=4)
    before = (folder / "job.yaml").read_bytes()
    given = give(folder, words)
    search.heartbeat()
    record = wait_for(folder, given, 0)
    assert record is not None and record.refused and reason in record.refused
    assert (folder / "job.yaml").read_bytes() == before
    play(search, quality)
    assert len(load_records(folder)[0]) == 8


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("paus", [], "did you mean `pause`"),
        ("pause", ["3"], "expected no arguments"),
        ("stop-trial", [], "expected the number of a trial"),
        ("try", ["lr"], "KEY=VALUE"),
        ("try", ["lr=[1]"], "a number or a word"),
    ],
)
def test_wrong_words(name: str, arguments: list[str], message: str) -> None:
    """A command with wrong words is refused before it is sent."""
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        parse(name, arguments)


def test_a_paused_run_continues_where_it_was(job_file: Path, folder: Path) -> None:
    """While a run is paused nothing starts and no time passes; its trials are those of any run."""
    whole = folder.parent / "whole"
    whole.mkdir()
    play(started(job_file, whole), quality)
    now = itertools.count()
    search = started(job_file, folder, clock=lambda: next(now))
    play(search, quality, limit=7)
    give(folder, "pause")
    assert search.next() is None and search.paused and search.waits and not search.over
    worked_s = search._budget.worked_s
    assert search._budget.worked_s == worked_s
    resumed = started(job_file, folder)  # the launch was killed
    assert resumed.next() is None and resumed.paused
    give(folder, "resume")
    play(resumed, quality)
    assert [(r.params, r.state) for r in load_records(folder)[0]] == [
        (r.params, r.state) for r in load_records(whole)[0]
    ]


def test_a_resumed_run_is_not_paused(job_file: Path, folder: Path) -> None:
    """`resume` of a run that was paused and has ended lifts the pause, like a command."""
    search = started(job_file, folder)
    give(folder, "pause")
    search.heartbeat()
    resumed = started(job_file, folder)
    resumed.lift_pause()
    assert not resumed.paused and resumed.next() is not None
    names = [record.command.name for record in load_results(folder).commands]
    assert names == ["pause", "resume"]
    assert not started(job_file, folder).paused


def test_commands_after_the_end_are_refused(job_file: Path, folder: Path) -> None:
    """A command that comes when the search is over is recorded with this reason."""
    search = started(job_file, folder)
    play(search, quality)
    give(folder, "more-like 0", count=2)
    search.refuse_commands()
    record = load_results(folder).commands[0]
    assert record.refused == "the search is over" and not received(folder)


def test_a_running_trial_pauses_at_its_next_rung(job_file: Path, folder: Path) -> None:
    """A trial that would continue is taken back at its rung, and given out again later."""
    search = started(job_file, folder)
    plan = search.next()
    assert plan is not None
    give(folder, "pause")
    search.heartbeat()
    assert search.report(report(plan, 2, 0.5), lambda: [b"png"]) is Decision.PAUSE
    give(folder, "resume")
    again = search.next()
    assert again is not None and (again.trial, again.rungs) == (plan.trial, (6,))


@pytest.mark.parametrize("killed", [False, True])
def test_a_stopped_trial_ends_at_its_next_report(
    job_file: Path, folder: Path, killed: bool
) -> None:
    """`stop-trial` ends a running trial, even if the launch is killed before its report."""
    search = started(job_file, folder)
    plan = search.next()
    assert plan is not None
    give(folder, f"stop-trial {plan.trial}")
    search.heartbeat()
    if killed:
        search = started(job_file, folder)
    else:
        assert search.report(report(plan, 2, 0.5), lambda: [b"png"]) is Decision.STOP
    play(search, quality)
    records, _ = load_records(folder)
    assert (records[0].state, records[0].reason) == ("pruned", STOPPED)
    assert [record.state for record in records].count("pruned") < len(records) == 8


def test_the_job_can_change_while_it_runs(job_file: Path, folder: Path) -> None:
    """`set` changes the running search and the run's job file, which is what a resume reads."""
    search = started(job_file, folder)
    play(search, quality, limit=5)
    give(folder, "set search.trials=11 budget.minutes=50")
    play(search, quality)
    assert len(load_records(folder)[0]) == 11
    job, _ = load_job(folder / "job.yaml")
    assert (job.search.trials, job.budget.minutes) == (11, 50)
    give(folder, "set budget.target=100")
    search.heartbeat()
    assert "target" in search.reason


def test_the_first_initial_point_runs_to_its_end(job_file: Path, folder: Path) -> None:
    """The first initial point is never dropped, also if a person asks for another trial first."""
    points = [{"tv_weight": 10.0}, {"tv_weight": 20.0}]
    search = started(
        job_file, folder, "halving.min_steps=2", "search.trials=9", presets=0, initial_points=points
    )
    give(folder, "try tv_weight=30")
    search.heartbeat()
    play(search, lambda plan, _: {1: 0.9, 2: 0.8}.get(plan.trial, 0.1))
    records, _ = load_records(folder)
    assert [record.params["tv_weight"] for record in records[:3]] == [30, 10, 20]
    assert [(r.state, max(r.rungs)) for r in records[1:3]] == [("complete", 6), ("pruned", 2)]


def test_every_command_is_carried_out_exactly_once(
    job_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a launch is killed around a command, the resumed run carries it out once."""
    search = started(job_file, folder)
    play(search, quality, limit=4)
    give(folder, "try lr=0.3123")
    # Killed after the command was recorded, before its file was deleted.
    with monkeypatch.context() as context:
        context.setattr("tuner.search.steering.delete", lambda folder, command: None)
        search.next()
    assert len(received(folder)) == 1
    give(folder, "more-like 2", count=2)  # killed before it was read
    for _ in range(3):
        play(started(job_file, folder), quality, limit=1)
    play(started(job_file, folder), quality)
    records, notes = load_records(folder)
    assert not received(folder)
    assert sum(r.params.get("lr") == 0.3123 for r in records) == 1
    asked = [r.note for r in records if r.asked_by]
    assert sorted(asked) == ["asked for: more-like 2 (2 trials)"] * 2 + ["asked for: try lr=0.3123"]
    assert len(records) == 8
    assert [c["command"]["name"] for c in notes["commands"]] == ["try", "more-like"]


def test_without_room_nothing_is_asked_for(job_file: Path, folder: Path) -> None:
    """When no trial is left, `try` is refused and says how to get more trials."""
    search = started(job_file, folder)
    play(search, quality)
    given = give(folder, "try lr=0.5")
    search.heartbeat()
    record = wait_for(folder, given, 0)
    assert record is not None and "set search.trials=9" in str(record.refused)


def test_trials_that_never_began_are_reported(job_file: Path, folder: Path) -> None:
    """If the search ends before a trial that was asked for began, its command says so."""
    search = started(job_file, folder, "search.trials=40", presets=0)
    play(search, quality, limit=4)
    give(folder, "more-like 0", count=3)
    search.heartbeat()
    results = load_results(folder)
    assert results.command_text(results.commands[0]).endswith(": 3 of 3 trials wait")
    give(folder, "set budget.target=100")  # a target that the next report reaches
    play(search, quality)
    RunStudy.open(folder, goals=results.goals).note("over", search.reason)
    results = load_results(folder)
    never = results.trials_not_begun(results.commands[0])
    assert never and results.over
    text = results.command_text(results.commands[0])
    assert text.endswith(f"{never} of 3 trials never began, the search ended before")
    assert status_json(results)["commands"][0]["trials_not_begun"] == never


def test_unreadable_mail_is_ignored(job_file: Path, folder: Path) -> None:
    """A file in the mailbox that is no command is deleted and changes nothing."""
    search = started(job_file, folder)
    (folder / "commands").mkdir()
    for name, text in (("a", "no json"), ("b", json.dumps({"name": "explode"}))):
        (folder / "commands" / f"{name}.json").write_text(text)
    play(search, quality)
    assert received(folder) == [] and len(load_records(folder)[0]) == 8


def test_status_shows_commands(job_file: Path, folder: Path) -> None:
    """`status --json` has the commands, and whether the run is paused."""
    search = started(job_file, folder)
    give(folder, "pause")
    search.heartbeat()
    status = status_json(load_results(folder))
    assert status["paused"] is True
    assert [command["command"] for command in status["commands"]] == ["pause"]
