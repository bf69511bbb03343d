"""Faults again and again, for minutes: `scripts/test --faults`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.tuner.processes import PATIENCE_S, Launches, events, finished, settings
from tuner.results import load_results

pytestmark = pytest.mark.faults

KILLS = 50
#: Between two nodes that die, and how many do.
NODE_DIES_EVERY_S, NODES_THAT_DIE = 20.0, 4
#: How soon a trial that lost its place goes on, once there is a lane for it.
GOES_ON_WITHIN_S = 10.0
#: A run's own processes go with its driver; Ray takes some seconds to notice.
GONE_WITHIN_S = 30


def rays() -> set[int]:
    """Processes of Ray and of engines on this machine."""
    names = ("raylet", "gcs_server", "ray::")
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if any(name in words for name in names):
            found.add(process.pid)
    return found


@pytest.mark.timeout(7200)
def test_killed_at_random_moments(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """Killed 50 times at any moment and resumed, a run ends as one that was left alone.

    Nothing finished is lost or repeated, no process is left behind, and every rung's score is the
    same.
    """
    # One lane an engine and draws that ask nothing of other trials: what a trial comes to does not
    # depend on when it ran.
    options = settings(
        *("search.trials=40", "search.sampler=random", "halving.max_steps=18"),
        *("halving.rule=none", "resources.lanes=1"),
    )
    whole = launches.start("launch", job_file, "--run-dir", tmp_path / "whole", *options)
    _, stderr = whole.communicate(timeout=1200)
    assert whole.returncode == 0, stderr
    before_any = rays()
    folder, chance = tmp_path / "broken", random.Random(0)
    known: dict[int, object] = {}
    for kill in range(KILLS):
        command = ("resume", folder) if (folder / "study.journal").exists() else ()
        command = command or ("launch", job_file, "--run-dir", folder, *options)
        process = launches.start(*command)
        with_engines = kill % 5 != 0  # the others die while they start
        time.sleep(chance.uniform(9, 20) if with_engines else chance.uniform(0.5, 9))
        assert process.poll() in (None, 0), process.communicate()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if (folder / "study.journal").exists():
            now = finished(folder)
            assert known.items() <= now.items()
            known = dict(now)
    deadline = time.monotonic() + GONE_WITHIN_S
    while rays() - before_any and time.monotonic() < deadline:
        time.sleep(0.5)
    assert rays() <= before_any
    last = launches.start("resume", folder)
    _, stderr = last.communicate(timeout=1200)
    assert last.returncode == 0, stderr
    expected = finished(tmp_path / "whole")
    after = finished(folder)
    assert sorted(after) == sorted(expected)
    for trial, (state, rungs) in expected.items():
        assert after[trial][0] == state
        assert after[trial][1] == pytest.approx(rungs, rel=1e-4)


@pytest.mark.timeout(1800)
def test_nodes_die_while_others_join(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """On three nodes, one killed every 20 s while another joins, all trials are accounted for."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    chance = random.Random(0)
    folder = tmp_path / "run"
    options = settings(
        "search.trials=60", "halving.max_steps=162", "resources.lanes=2", "search.presets=false"
    )
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
        process = launches.start(
            *("launch", job_file, "--run-dir", folder, "--address", cluster.address, *options)
        )
        wait_for_reports(folder, process, 6)
        for _ in range(NODES_THAT_DIE):
            dies = nodes.pop(chance.randrange(len(nodes)))
            cluster.remove_node(dies, allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            deadline = time.monotonic() + NODE_DIES_EVERY_S
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.5)
        _, stderr = process.communicate(timeout=1200)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, stderr
    records = load_results(folder).records
    assert [record.trial for record in records] == list(range(60))
    assert {record.state for record in records} <= {"complete", "pruned"}
    logged = events(folder)
    assert sum("is gone with its node" in event["message"] for event in logged) >= 2
    check_what_was_lost(logged)
    check_how_soon(logged, lanes=2)


def wait_for_reports(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Until so many rungs were reported."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        logged = events(folder) if (folder / "log.jsonl").exists() else []
        if sum("reported" in event["message"] for event in logged) >= count:
            return
        time.sleep(0.5)
    raise AssertionError("no reports")


def check_what_was_lost(logged: list) -> None:  # type: ignore[type-arg]
    """Every trial that lost its place went on from its last rung or the one before, and at once.

    At once: no other trial got a lane between.
    """
    rungs: dict[int, list[int]] = {}
    lost: dict[int, datetime] = {}
    for event in logged:
        trial, message = event.get("trial"), event["message"]
        if message.endswith("reported"):
            rungs.setdefault(trial, []).append(event["steps"])
        elif message.endswith("lost its place"):
            lost[trial] = datetime.fromisoformat(event["at"])
        elif message.endswith("goes on"):
            assert trial in lost or not lost
            lost.pop(trial, None)
        elif message.endswith("took up its lanes"):
            assert event["steps"] >= [0, *rungs.get(trial, [])][-2:][0]
    assert not lost


def check_how_soon(logged: list, lanes: int) -> None:  # type: ignore[type-arg]
    """Every trial that lost its place went on within 10 s of a lane being free for it."""
    engines: set[str] = set()
    running: set[int] = set()
    lost: set[int] = set()
    free_since: datetime | None = None
    for event in logged:
        message, at = event["message"], datetime.fromisoformat(event["at"])
        name, _, what = message.partition(" ")
        trial = event.get("trial")
        if name.startswith("engine-") and what == "is up":
            engines.add(name)
        elif name.startswith("engine-"):  # it died, or is gone
            engines.discard(name)
        elif message.endswith("goes on"):
            if trial in lost and free_since is not None:
                assert (at - free_since).total_seconds() < GOES_ON_WITHIN_S, event
            running.add(trial)
            lost.discard(trial)
        elif message.endswith(("waits", "lost its place")) or " is over: " in message:
            running.discard(trial)
            lost |= {trial} if message.endswith("lost its place") else set()
        free = bool(lost) and len(running) < lanes * len(engines)
        free_since = (free_since or at) if free else None
