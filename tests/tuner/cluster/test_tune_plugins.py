"""Tune plug-ins: reports of one turn of an engine, handled at once, with a real search."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayError
from ray.tune.search import Searcher

from tests.tuner.cluster.test_placement import FakeSupervisor
from tests.tuner.helpers import Recorder, promoting, report
from tuner.cluster.placement import Placement
from tuner.cluster.trainable import ENGINE, REPORTS, RUNGS, TRIAL
from tuner.cluster.tune_plugins import RungScheduler, StudySearcher
from tuner.search.rungs import next_rungs
from tuner.search.search import Search
from tuner.study.journal import BatchingJournal
from tuner.study.records import Report


class Supervisor(FakeSupervisor):
    """Supervisor whose engines live, unless a test kills them."""

    failure = None

    def check_if_due(self) -> bool:
        return False


class LocalPlacement(Placement):
    """Placement whose engines have every trial's images and save no lanes."""

    images_asked = 0
    engines_dead = False

    def images(self, trials: Sequence[int]) -> dict[int, list[bytes]]:
        if self.engines_dead:
            raise RayError("the engine is gone")
        self.images_asked += 1
        return {trial: [b"png"] for trial in trials}

    def collect_lanes(self, *, timeout_s: float = 0) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def wait_for_lanes(self, trial: int) -> None:
        """Do nothing: no lanes are saved."""


@dataclass
class Tune:
    """A search behind the plug-ins, and the part of Tune that calls them."""

    search: Search
    placement: LocalPlacement
    running: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    ids: int = 0

    def __post_init__(self) -> None:
        self.searcher = StudySearcher(self.search, self.placement)
        self.scheduler = RungScheduler(self.search, self.placement, self.searcher)

    def start(self) -> str | None:
        """Start the next trial; return Tune's id of it, or None if there is none now."""
        self.ids += 1
        trial_id = str(self.ids)
        config = self.searcher.suggest(trial_id)
        if config is None or config == Searcher.FINISHED:
            return None
        error = RayActorError("on a lost node")
        trial = SimpleNamespace(
            trial_id=trial_id, config=config, get_pickled_error=lambda: error, status="RUNNING"
        )
        self.running[trial_id], self.steps[trial_id] = trial, 0
        return trial_id

    def report_of(self, trial_id: str) -> Report:
        """Return the next report of a trial."""
        config = self.running[trial_id].config
        until, _ = next_rungs(config[RUNGS], self.steps[trial_id])
        number = config[TRIAL]
        plan: Any = SimpleNamespace(trial=number)
        return report(plan, until, 1 / (1 + (7 * number) % 11) + 1 / until)

    def deliver(self, trial_id: str, reports: Sequence[Report]) -> str:
        """Pass a result to the plug-ins as Tune does, and return what they decide."""
        result = {REPORTS: json.dumps([dataclasses.asdict(each) for each in reports])}
        decision = self.scheduler.on_trial_result(None, self.running[trial_id], result)
        self.steps[trial_id] = reports[0].steps
        if decision == "STOP":
            self.searcher.on_trial_complete(trial_id)
            del self.running[trial_id]
        return decision

    def kill(self, trial_id: str) -> None:
        """Let the process of a trial die."""
        self.scheduler.on_trial_error(None, self.running.pop(trial_id))
        self.searcher.on_trial_complete(trial_id, error=True)


@pytest.fixture
def tune(job_file: Path, tmp_path: Path) -> Tune:
    """Search of 18 trials on two engines with four lanes each."""
    search = promoting(job_file, tmp_path)
    return Tune(search, LocalPlacement(Supervisor(2, 4)))  # type: ignore[arg-type]


def reported(tune: Tune) -> list[tuple[int, int]]:
    """Return trial and step of every report that the search has recorded."""
    callback = tune.search.callback
    assert isinstance(callback, Recorder)
    return callback.reached


def turn(tune: Tune, count: int) -> tuple[list[str], list[Report], str]:
    """Start all trials; return some of the first engine with their reports, and one of another."""
    while tune.start():
        pass
    by_engine: dict[str, list[str]] = {}
    for trial_id, trial in tune.running.items():
        by_engine.setdefault(trial.config[ENGINE], []).append(trial_id)
    first, second = by_engine.values()
    ids = first[:count]
    return ids, [tune.report_of(each) for each in ids], second[0]


def test_reports_of_a_turn_are_handled_at_once(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first result records all reports of its turn, in one write and with one call for images.

    The results of the other trials then bring their decisions, and record nothing again. Until
    then no trial starts, since one of them may be promoted. A trial of another engine, and a
    report of a failure, wait for their own results.
    """
    ids, reports, other = turn(tune, 3)
    failed = dataclasses.replace(reports[2], failure="diverged", scores={})
    writes = []
    write = BatchingJournal._write
    monkeypatch.setattr(
        BatchingJournal, "_write", lambda self, lines: (writes.append(1), write(self, lines))
    )
    tune.deliver(ids[0], [*reports[:2], failed, tune.report_of(other)])
    assert reported(tune) == [(each.trial, each.steps) for each in reports[:2]]
    assert (len(writes), tune.placement.images_asked) == (1, 1)
    assert tune.start() is None
    tune.deliver(ids[1], reports[1:2])
    assert len(reported(tune)) == 2
    assert tune.placement.images_asked == 1
    tune.deliver(ids[2], [failed])
    assert len(reported(tune)) == 2 and reports[2].trial not in tune.search.unfinished


def test_trial_whose_process_dies_keeps_a_report_that_another_brought(tune: Tune) -> None:
    """A recorded report counts, whether or not its own result arrives; the trial goes on later."""
    ids, reports, _ = turn(tune, 2)
    dying = tune.running[ids[1]].config[TRIAL]
    tune.deliver(ids[0], reports)
    tune.kill(ids[1])
    assert len(reported(tune)) == 2
    assert not tune.searcher.decisions
    assert dying in tune.search.unfinished


def test_reports_without_images_wait_or_return_their_trial(tune: Tune) -> None:
    """If the engine is dead, no report is recorded: each trial continues elsewhere."""
    ids, reports, _ = turn(tune, 2)
    tune.placement.engines_dead = True
    assert [tune.deliver(ids[0], reports), tune.deliver(ids[1], reports[1:])] == ["STOP"] * 2
    assert not reported(tune)
    assert {each.trial for each in reports} <= set(tune.search.unfinished)


@pytest.mark.parametrize("seed", range(6))
def test_no_report_is_lost_or_counted_twice(tune: Tune, seed: int) -> None:
    """Results in any order, and processes that die between: every rung is reported once."""
    draw = random.Random(seed)
    in_flight: dict[str, list[Report]] = {}
    for _ in range(2000):
        while tune.start():
            pass
        if not tune.running:
            break
        engine = draw.choice([trial.config[ENGINE] for trial in tune.running.values()])
        ended = [
            (each, tune.report_of(each))
            for each, trial in tune.running.items()
            if trial.config[ENGINE] == engine and each not in in_flight and draw.random() < 0.7
        ]
        for index, (each, own) in enumerate(ended):
            in_flight[each] = [own] if index else [report for _, report in ended]
        if in_flight:
            trial_id = draw.choice(list(in_flight))
            reports = in_flight.pop(trial_id)
            if draw.random() < 0.1:
                tune.kill(trial_id)
            else:
                tune.deliver(trial_id, reports)
    assert tune.search.over and not tune.searcher.decisions
    assert max(Counter(reported(tune)).values()) == 1
    callback = tune.search.callback
    assert isinstance(callback, Recorder)
    states = [event[2] for event in callback.events if event[0] == "ended"]
    assert len(states) == 18 and set(states) == {"complete", "pruned"}
