"""Nodes of a cluster that die, join and are drained, for minutes: `scripts/test --faults`."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]

from tests.tuner.processes import (
    PATIENCE_S,
    Launches,
    assert_no_traceback,
    cluster_with_head,
    count_logged,
    count_reports,
    has_message,
    log_events,
    set_options,
    wait_for_log,
    wait_for_reports,
)
from tuner.results.results import load_results

pytestmark = pytest.mark.faults

Events = Sequence[Mapping[str, Any]]

#: Seconds between two nodes that die, and number of nodes that die.
NODE_DIES_EVERY_S, NODES_THAT_DIE = 20.0, 4
#: Seconds until a trial that lost its place is on an engine again, once an engine has a free lane.
CONTINUES_WITHIN_S = 10.0
#: Seconds until a run is over, on a machine that is busy.
ENDS_WITHIN_S = 3600


@pytest.mark.timeout(1800)
def test_no_trial_is_lost_when_nodes_die_and_others_join(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """All trials end although one of three nodes is killed every 20 s while another joins."""
    rng = random.Random(0)
    folder = tmp_path / "run"
    options = set_options(
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
            dying = nodes.pop(rng.randrange(len(nodes)))
            cluster.remove_node(dying, allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            deadline = time.monotonic() + NODE_DIES_EVERY_S
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.5)
        _, stderr = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0, stderr
    assert_no_traceback(stderr)
    records = load_results(folder).records
    assert [record.trial for record in records] == list(range(150))
    assert {record.state for record in records} <= {"complete", "pruned"}
    assert count_logged(folder, "is gone with its node") >= 3
    # The death of a node must not be reported as the death of an engine.
    assert not count_logged(folder, "another one starts")
    assert_trials_continue_from_their_rungs(log_events(folder))
    assert_trials_continue_soon(log_events(folder), lanes=2)


@pytest.mark.timeout(1800)
def test_a_drained_node_loses_its_trials_to_others(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """A drained node gets no more trials; its trials continue on other nodes where they were."""
    folder = tmp_path / "run"
    options = set_options(
        *("search.trials=5000", "search.presets=false", "resources.lanes=2"),
        *("halving.rule=none", "halving.max_steps=162"),
    )
    with cluster_with_head(0) as cluster:
        drained, other = (cluster.add_node(num_cpus=1) for _ in range(2))
        process = launches.start(
            *("launch", job_file, "--run-dir", folder, "--address", cluster.address, *options)
        )
        wait_for_log(folder, process, "engine-0 is up")
        wait_for_log(folder, process, "engine-1 is up")
        wait_for_reports(folder, process, 8)
        before = reports_from(folder, drained)
        drain(cluster.address, drained)
        wait_for_reports(folder, process, count_reports(folder) + 12)
        after = reports_from(folder, drained)
        wait_for_reports(folder, process, count_reports(folder) + 12)
        assert reports_from(folder, drained) == after
        assert 0 < before <= after < reports_from(folder, other)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_no_traceback(stderr)
    last_rung: dict[int, int] = {}
    moved = []
    for event in log_events(folder):
        if event["message"].endswith("reported"):
            last_rung[event["trial"]] = event["steps"]
        elif event["message"].endswith("resumed from its saved lanes"):
            assert event["steps"] >= last_rung[event["trial"]]
            moved.append(event["trial"])
    assert moved
    assert all(record.state != "failed" for record in load_results(folder).records)


def reports_from(folder: Path, node: Any) -> int:
    """Return the number of reports that came from the engine of a node."""
    (raylet,) = node.all_processes["raylet"]
    pids = {str(child.pid) for child in psutil.Process(raylet.process.pid).children()}
    workers = [r.worker for record in load_results(folder).records for r in record.rungs.values()]
    return sum(worker.rpartition(":")[2] in pids for worker in workers)


def drain(address: str, node: Any) -> None:
    """Drain a node, as an autoscaler does when the cloud takes a spot instance back."""
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    until_ms = int(1000 * (time.time() + 3600))
    accepted, rejection = GcsClient(address=address).drain_node(
        node.node_id, reason, "wanted back", until_ms
    )
    assert accepted, rejection


def assert_trials_continue_from_their_rungs(events: Events) -> None:
    """Assert that every trial that lost its place continues from its last rung or the one before.

    No other trial gets a lane before it. A trial starts again only if its lanes were never saved.
    """
    rungs: dict[int, list[int]] = {}
    lost: set[int] = set()
    saved: set[int] = set()
    must_load: set[int] = set()
    for event in events:
        trial, message = event.get("trial", -1), event["message"]
        if message.endswith("saved its lanes"):
            saved.add(trial)
        elif message.endswith("was interrupted"):
            lost.add(trial)
            must_load |= {trial} & saved
        elif message.endswith("is scheduled"):
            assert trial in lost or not lost
            lost.discard(trial)
        elif message.endswith("resumed from its saved lanes"):
            assert event["steps"] >= [0, *rungs.get(trial, [])][-2:][0]
            must_load.discard(trial)
        elif message.endswith("reported"):
            assert trial not in must_load, event
            rungs.setdefault(trial, []).append(event["steps"])
    assert not lost and not must_load
    assert sum(map(has_message("resumed from its saved lanes"), events)) >= NODES_THAT_DIE


def assert_trials_continue_soon(events: Events, lanes: int) -> None:
    """Assert that every trial that lost its place is on an engine 10 s after a lane is free.

    The engine itself logs when it has loaded the lanes of the trial.

    Args:
        events: of the log.
        lanes: number of lanes per engine.
    """
    engines: set[str] = set()
    running: set[int] = set()
    lost: set[int] = set()
    free_since: datetime | None = None
    waiting_since: dict[int, datetime] = {}
    waited_s = []
    for event in events:
        message, at = event["message"], datetime.fromisoformat(event["at"])
        name, _, what = message.partition(" ")
        trial = event.get("trial", -1)
        if name.startswith("engine-") and what == "is up":
            engines.add(name)
        elif name.startswith("engine-") and not what.startswith("starts"):  # the engine has ended
            engines.discard(name)
        elif message.endswith("is scheduled"):
            if trial in lost:
                waiting_since[trial] = free_since or at
            running.add(trial)
            lost.discard(trial)
        elif message.endswith("resumed from its saved lanes") and trial in waiting_since:
            waited_s.append(event["came_at"] - waiting_since.pop(trial).timestamp())
        elif message.endswith(("is paused", "was interrupted")) or " ended: " in message:
            running.discard(trial)
            waiting_since.pop(trial, None)
            lost |= {trial} if message.endswith("was interrupted") else set()
        has_free_lane = bool(lost) and len(running) < lanes * len(engines)
        free_since = (free_since or at) if has_free_lane else None
    assert len(waited_s) >= NODES_THAT_DIE
    assert max(waited_s) < CONTINUES_WITHIN_S, waited_s
