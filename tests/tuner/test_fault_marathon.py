"""Faults again and again, for minutes: `scripts/test --faults`."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]

from tests.tuner.helpers import noisy_space
from tests.tuner.processes import (
    PATIENCE_S,
    Launches,
    assert_calm,
    cluster_with_head,
    count_reports,
    events,
    finished,
    said,
    settings,
    wait_for_reports,
    wait_for_said,
)
from tuner.cluster.limits import RAY_DID_NOT_START
from tuner.results.results import load_results
from tuner.study.records import TrialRecord

pytestmark = pytest.mark.faults

Event = Mapping[str, Any]

#: Launches that are killed, and how many of them must have had trials under way that had reported.
KILLS, HITS = 50, 25
#: Of a run that decides: kills at each kind of moment, how many must have had a trial under way,
#: and kills while the finals run.
EACH, ADVANCING, KILLS_OF_FINALS = 5, 20, 4
#: A launch is under way within this, and over within that, on a machine that has much else to do.
STARTS_WITHIN_S, ENDS_WITHIN_S = 300, 3600
#: Between two nodes that die, and how many do.
NODE_DIES_EVERY_S, NODES_THAT_DIE = 20.0, 4
#: How soon a trial that lost its place is on an engine again, once there is a lane for it.
GOES_ON_WITHIN_S = 10.0
#: A run's own processes go with its driver; Ray takes some seconds to notice.
GONE_WITHIN_S = 60
#: In the environment of all that a test starts.
MARK = "NST_TUNER_TEST_RUN"


def started_by(mark: str) -> list[psutil.Process]:
    """Processes that are there with this mark, whoever started them for whom."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


class Launched:
    """A launch that is watched by its log, to be killed at a moment of its life."""

    def __init__(self, process: subprocess.Popen[str], folder: Path):
        self._process, self._folder = process, folder
        self._before = len(events(folder))

    def starts(self) -> bool:
        """Wait until an engine is up; False if this machine is too busy for another Ray."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while self._process.poll() is None and not self._happened(says("is up")):
            assert time.monotonic() < deadline, "no engine starts"
            time.sleep(0.05)
        if self._process.poll() is None:
            return True
        _, stderr = self._process.communicate()
        assert RAY_DID_NOT_START in stderr, stderr
        assert_calm(stderr)
        return False

    def until(self, happens: Callable[[Event], bool], times: int = 1) -> None:
        """Wait until so many of its events are of this kind."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while self._happened(happens) < times:
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline, "nothing happens"
            time.sleep(0.05)

    def _happened(self, happens: Callable[[Event], bool]) -> int:
        return sum(map(happens, events(self._folder)[self._before :]))

    def kill(self) -> None:
        """As the system does, without a word."""
        assert self._process.poll() is None, self._process.communicate()
        self._process.kill()
        self._process.wait()


def says(words: str) -> Callable[[Event], bool]:
    """Whether an event's message ends so, or says so of a trial that is over."""
    return lambda event: event["message"].endswith(words) or f"{words}: " in event["message"]


def under_way(folder: Path) -> list[TrialRecord]:
    """Trials that a killed launch left, whether they advanced or waited."""
    if not (folder / "study.journal").exists():
        return []
    return [record for record in load_results(folder).records if record.state == "running"]


@pytest.mark.timeout(14400)
def test_killed_at_random_moments(
    job_file: Path, tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed 50 times at any moment and resumed, a run ends as one that was left alone.

    Nothing finished is lost or repeated, no process is left behind, and every rung's score is the
    same.
    """
    # One lane an engine and draws that ask nothing of other trials: what a trial comes to does not
    # depend on when it ran.
    options = settings(
        *("search.trials=300", "search.sampler=random", "halving.max_steps=18"),
        *("halving.rule=none", "resources.lanes=1"),
    )
    whole = launches.start("launch", job_file, "--run-dir", tmp_path / "whole", *options)
    _, stderr = whole.communicate(timeout=ENDS_WITHIN_S)
    assert whole.returncode == 0, stderr
    monkeypatch.setenv(MARK, str(tmp_path))
    folder, chance = tmp_path / "broken", random.Random(0)
    known: dict[int, object] = {}
    kills = hits = 0
    while kills < KILLS:
        begun = (folder / "study.journal").exists()
        command = ["resume", folder] if begun else ["launch", job_file, "--run-dir", folder]
        launch = Launched(launches.start(*command, *(() if begun else options)), folder)
        if kills % 5:  # the others die while they start
            if not launch.starts():
                continue
            launch.until(says("reported"), chance.randrange(12))
            time.sleep(chance.uniform(0, 0.3))
        else:
            time.sleep(chance.uniform(0.5, 9))
        launch.kill()
        kills += 1
        hits += any(record.rungs for record in under_way(folder))
        if (folder / "study.journal").exists():
            now = finished(folder)
            assert known.items() <= now.items()
            known = dict(now)
    assert hits >= HITS
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := started_by(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left
    last = launches.start("resume", folder)
    _, stderr = last.communicate(timeout=ENDS_WITHIN_S)
    assert last.returncode == 0, stderr
    assert_calm(stderr)
    assert said(folder, "resumed from its saved lanes") >= HITS
    expected = finished(tmp_path / "whole")
    after = finished(folder)
    assert sorted(after) == sorted(expected)
    for trial, (state, rungs) in expected.items():
        assert after[trial][0] == state
        assert after[trial][1] == pytest.approx(rungs, rel=1e-4)


#: What has just happened when a launch that decides is killed.
MOMENTS = ("is up", "reported", "is paused", "is scheduled", "ended", "saved its lanes")


@pytest.mark.timeout(14400)
def test_killed_while_it_decides(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """Killed at its decisions and in its finals, a run of the same draws decides as one left alone.

    With one lane in all reports come in one order, so all that is decided must be the same.
    """
    # Drawn at random, as many trials wait late in the run as early.
    trials = 200
    options = settings(
        *(f"search.trials={trials}", "search.sampler=random", "search.presets=false"),
        "halving.max_steps=54",
        *("resources.lanes=1", "finals={count: 2, seeds: 3}", noisy_space(tmp_path)),
    )
    whole, folder, chance = tmp_path / "whole", tmp_path / "broken", random.Random(0)
    with cluster_with_head(1) as cluster:
        address = ("--address", cluster.address)
        process = launches.start("launch", job_file, "--run-dir", whole, *options, *address)
        _, stderr = process.communicate(timeout=ENDS_WITHIN_S)
        assert process.returncode == 0, stderr
        options += settings(f"search.replay={whole}")

        def launched() -> Launched:
            begun = (folder / "study.journal").exists()
            command = ["resume", folder] if begun else ["launch", job_file, "--run-dir", folder]
            return Launched(launches.start(*command, *(() if begun else options), *address), folder)

        moments = [*MOMENTS] * EACH
        chance.shuffle(moments)
        hits = 0
        for moment in moments:
            launch = launched()
            launch.until(says("is up"))
            launch.until(says(moment), chance.randrange(1, 4) if moment != "is up" else 1)
            time.sleep(chance.uniform(0, 0.2))
            launch.kill()
            hits += advances(folder)
        assert hits >= ADVANCING
        for _ in range(KILLS_OF_FINALS):
            launch = launched()
            launch.until(lambda event: event.get("trial", 0) >= trials)
            time.sleep(chance.uniform(0, 1))
            launch.kill()
            assert all(record.final_of is not None for record in under_way(folder))
        process = launches.start("resume", folder, *address)
        _, stderr = process.communicate(timeout=ENDS_WITHIN_S)
        assert process.returncode == 0, stderr
        assert_calm(stderr)
    assert said(folder, "resumed from its saved lanes") >= EACH
    one, other = load_results(whole), load_results(folder)
    assert {r.state for r in one.records} >= {"complete", "pruned"}
    assert sum(r.final_of is not None for r in one.records) == 6
    assert len(one.records) == len(other.records)
    for left_alone, broken_off in zip(one.records, other.records, strict=True):
        assert decided(broken_off) == decided(left_alone)
        expected = {steps: rung.objective for steps, rung in left_alone.rungs.items()}
        found = {steps: rung.objective for steps, rung in broken_off.rungs.items()}
        assert found == pytest.approx(expected, rel=1e-4)
    best, again = one.ranked()[0], other.ranked()[0]
    assert (again.record.trial, again.steps) == (best.record.trial, best.steps)
    assert other.score(again) == pytest.approx(one.score(best), rel=1e-4)


def advances(folder: Path) -> bool:
    """Whether a killed launch left a trial that was on its engine."""
    last: dict[int, str] = {}
    for event in events(folder):
        if "trial" in event:
            last[event["trial"]] = event["message"]
    return any(not last.get(record.trial, "").endswith("is paused") for record in under_way(folder))


def decided(record: TrialRecord) -> tuple[object, ...]:
    """All that was decided of a trial."""
    params = dict(record.params)
    return (record.trial, record.state, record.reason, record.final_of, params, list(record.rungs))


@pytest.mark.timeout(1800)
def test_nodes_die_while_others_join(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """On three nodes, one killed every 20 s while another joins, all trials are accounted for."""
    chance = random.Random(0)
    folder = tmp_path / "run"
    options = settings(
        "search.trials=150", "halving.max_steps=162", "resources.lanes=2", "search.presets=false"
    )
    with cluster_with_head(0) as cluster:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
        process = launches.start(
            *("launch", job_file, "--run-dir", folder, "--address", cluster.address, *options)
        )
        wait_for_reports(folder, process, 6)
        for _ in range(NODES_THAT_DIE):
            assert process.poll() is None, process.communicate()
            dies = nodes.pop(chance.randrange(len(nodes)))
            cluster.remove_node(dies, allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            deadline = time.monotonic() + NODE_DIES_EVERY_S
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.5)
        _, stderr = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0, stderr
    assert_calm(stderr)
    records = load_results(folder).records
    assert [record.trial for record in records] == list(range(150))
    assert {record.state for record in records} <= {"complete", "pruned"}
    logged = events(folder)
    assert said(folder, "is gone with its node") >= 3
    # Nobody is blamed: no engine is said to have died where its node did.
    assert not said(folder, "another one starts")
    check_what_was_lost(logged)
    check_how_soon(logged, lanes=2)


@pytest.mark.timeout(1800)
def test_a_node_that_is_to_go(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """A drained node gets no more trials; those there go on elsewhere from where they are."""
    folder = tmp_path / "run"
    options = settings(
        *("search.trials=5000", "search.presets=false", "resources.lanes=2"),
        *("halving.rule=none", "halving.max_steps=162"),
    )
    with cluster_with_head(0) as cluster:
        goes, stays = (cluster.add_node(num_cpus=1) for _ in range(2))
        process = launches.start(
            *("launch", job_file, "--run-dir", folder, "--address", cluster.address, *options)
        )
        wait_for_said(folder, process, "engine-0 is up")
        wait_for_said(folder, process, "engine-1 is up")
        wait_for_reports(folder, process, 8)
        before = reports_from(folder, goes)
        drain(cluster.address, goes)
        wait_for_reports(folder, process, count_reports(folder) + 12)
        left = reports_from(folder, goes)
        wait_for_reports(folder, process, count_reports(folder) + 12)
        assert reports_from(folder, goes) == left
        assert 0 < before <= left < reports_from(folder, stays)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_calm(stderr)
    rungs: dict[int, int] = {}
    moved = []
    for event in events(folder):
        if event["message"].endswith("reported"):
            rungs[event["trial"]] = event["steps"]
        elif event["message"].endswith("resumed from its saved lanes"):
            assert event["steps"] >= rungs[event["trial"]]
            moved.append(event["trial"])
    assert moved
    assert all(record.state != "failed" for record in load_results(folder).records)


def reports_from(folder: Path, node: Any) -> int:
    """Rungs that the engine of a node reported."""
    (raylet,) = node.all_processes["raylet"]
    pids = {str(child.pid) for child in psutil.Process(raylet.process.pid).children()}
    workers = [r.worker for record in load_results(folder).records for r in record.rungs.values()]
    return sum(worker.rpartition(":")[2] in pids for worker in workers)


def drain(address: str, node: Any) -> None:
    """Say of a node that it is to go, as an autoscaler does when a cloud wants it back."""
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    until_ms = int(1000 * (time.time() + 3600))
    accepted, why_not = GcsClient(address=address).drain_node(
        node.node_id, reason, "wanted back", until_ms
    )
    assert accepted, why_not


def check_what_was_lost(logged: list[Event]) -> None:
    """Every trial that lost its place goes on from its last rung or the one before, and at once.

    At once: no other trial got a lane between. Only one whose lanes had not come begins again.
    """
    rungs: dict[int, list[int]] = {}
    lost: set[int] = set()
    kept: set[int] = set()
    takes_up: set[int] = set()
    for event in logged:
        trial, message = event.get("trial", -1), event["message"]
        if message.endswith("saved its lanes"):
            kept.add(trial)
        elif message.endswith("was interrupted"):
            lost.add(trial)
            takes_up |= {trial} & kept
        elif message.endswith("is scheduled"):
            assert trial in lost or not lost
            lost.discard(trial)
        elif message.endswith("resumed from its saved lanes"):
            assert event["steps"] >= [0, *rungs.get(trial, [])][-2:][0]
            takes_up.discard(trial)
        elif message.endswith("reported"):
            assert trial not in takes_up, event
            rungs.setdefault(trial, []).append(event["steps"])
    assert not lost and not takes_up
    assert sum(map(says("resumed from its saved lanes"), logged)) >= NODES_THAT_DIE


def check_how_soon(logged: list[Event], lanes: int) -> None:
    """Every trial that lost its place was on an engine within 10 s of a lane being free for it.

    The engine itself says when it took up the trial's lanes.
    """
    engines: set[str] = set()
    running: set[int] = set()
    lost: set[int] = set()
    free_since: datetime | None = None
    waited_since: dict[int, datetime] = {}
    took_s = []
    for event in logged:
        message, at = event["message"], datetime.fromisoformat(event["at"])
        name, _, what = message.partition(" ")
        trial = event.get("trial", -1)
        if name.startswith("engine-") and what == "is up":
            engines.add(name)
        elif name.startswith("engine-") and not what.startswith("starts"):  # it is no more
            engines.discard(name)
        elif message.endswith("is scheduled"):
            if trial in lost:
                waited_since[trial] = free_since or at
            running.add(trial)
            lost.discard(trial)
        elif message.endswith("resumed from its saved lanes") and trial in waited_since:
            took_s.append(event["came_at"] - waited_since.pop(trial).timestamp())
        elif message.endswith(("is paused", "was interrupted")) or " ended: " in message:
            running.discard(trial)
            waited_since.pop(trial, None)
            lost |= {trial} if message.endswith("was interrupted") else set()
        free = bool(lost) and len(running) < lanes * len(engines)
        free_since = (free_since or at) if free else None
    assert len(took_s) >= NODES_THAT_DIE
    assert max(took_s) < GOES_ON_WITHIN_S, took_s
