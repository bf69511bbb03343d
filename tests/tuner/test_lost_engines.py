"""Launches whose engines or nodes die or hang: nothing is lost, and no trial is blamed."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.tuner.helpers import Recorder
from tests.tuner.poisoned_engine import POISON, PoisonedEngine
from tests.tuner.processes import (
    PATIENCE_S,
    Launches,
    assert_no_traceback,
    cluster_with_head,
    count_logged,
    engine_processes,
    finished_trials,
    set_options,
    wait_for_log,
    wait_for_trials,
)
from tuner.cluster.connection import connected
from tuner.cluster.engine_shapes import EngineShape
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.cluster.ray_backend import RayBackend
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.launch import run_job
from tuner.study.records import Pulse


def test_a_killed_engine_is_replaced(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """When an engine dies, another one continues with its trials, and no trial fails."""
    folder = tmp_path / "run"
    options = set_options("search.trials=8", "halving.max_steps=60", "halving.rule=none")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    before = finished_trials(folder)
    engine, *_ = engine_processes(process)
    engine.kill()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_no_traceback(stderr)
    assert "another one starts" in stderr
    assert "another one starts" in (folder / "log.jsonl").read_text(encoding="utf-8")
    after = finished_trials(folder)
    assert sorted(after) == list(range(8))
    assert before.items() <= after.items()
    assert load_results(folder).counts()["failed"] == 0


def test_a_node_dies_and_another_joins(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """Every node gets trials, a new one too; no engine or trial is blamed for a dead node."""
    folder = tmp_path / "run"
    # Too many trials to end before all messages have come, on any machine.
    options = set_options(
        *("search.trials=1000", "search.presets=false", "resources.lanes=2"),
        *("halving.rule=none", "halving.max_steps=18"),
    )
    with cluster_with_head(0) as cluster:
        dying, _ = (cluster.add_node(num_cpus=1) for _ in range(2))
        address = ("--address", cluster.address)
        process = launches.start("launch", job_file, "--run-dir", folder, *address, *options)
        for engine in ("engine-0", "engine-1"):
            wait_for_log(folder, process, f"{engine} is up")
        wait_for_trials(folder, process, 4)
        before = finished_trials(folder)
        cluster.remove_node(dying, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        wait_for_log(folder, process, "engine-2 is up")
        wait_for_log(folder, process, "is gone with its node")
        wait_for_trials(folder, process, len(finished_trials(folder)) + 8)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_no_traceback(stderr)
    after = finished_trials(folder)
    assert {state for state, _ in after.values()} == {"complete"}
    assert before.items() <= after.items()
    # The trials of the dead node continue elsewhere: all trials but the last few are over.
    assert set(range(max(after) - 8)) <= after.keys()
    assert not count_logged(folder, "another one starts")
    reports = [rung for record in load_results(folder).records for rung in record.rungs.values()]
    assert len({rung.worker for rung in reports}) == 3


@pytest.mark.faults
def test_a_hanging_engine_is_replaced(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """An engine that sends no pulse within its deadline is killed and replaced."""
    folder = tmp_path / "run"
    options = set_options(
        *("search.trials=6", "halving.max_steps=60", "halving.rule=none"),
        "resources.engine_deadline_s=8",
    )
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    engine, *_ = engine_processes(process)
    engine.send_signal(signal.SIGSTOP)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_no_traceback(stderr)
    assert "no sign of life" in stderr
    assert load_results(folder).counts()["failed"] == 0
    assert not engine.is_running()


@pytest.mark.faults
def test_an_engine_that_keeps_dying_ends_the_run(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """After four deaths without a report between them, the run ends and says what to do."""
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder)
    killed: set[int] = set()
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        for engine in engine_processes(process):
            if engine.pid not in killed:
                killed.add(engine.pid)
                engine.kill()
        time.sleep(0.2)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, stderr
    assert_no_traceback(stderr)
    assert "4 times in a row" in stderr and "nst-tuner resume" in stderr
    assert load_results(folder).counts()["failed"] == 0


@pytest.mark.faults
def test_engines_wait_for_a_busy_cluster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Engines wait until others release CPUs, say so once, and then start."""
    monkeypatch.setattr("tuner.cluster.engine_handle.ROOM_TIMEOUT_S", 0.5)
    monkeypatch.setattr("tuner.cluster.engine_handle.START_TIMEOUT_S", 2.0)

    class QuickEngine:
        async def ready(self) -> Pulse:
            return Pulse()

        pulse = ready

    def make(_: EngineShape, options: Mapping[str, Any]) -> Any:
        return ray.remote(QuickEngine).options(**options).remote()

    with connected(None) as resources:
        holder = ray.remote(QuickEngine).options(num_cpus=resources["CPU"]).remote()
        ray.get(holder.ready.remote())
        supervisor = EngineSupervisor(make, device="cpu", lanes=2, deadline_s=60)
        opening, until = supervisor.start(), time.monotonic() + 8
        while time.monotonic() < until:
            next(opening)
        assert not supervisor.lanes and supervisor.failure is None
        ray.kill(holder)
        monkeypatch.undo()
        assert all(step is None for step in opening)
        assert set(supervisor.lanes.values()) == {2}
        supervisor.close()
    assert caplog.messages == ["the cluster is busy: waiting for room for an engine"]


@pytest.mark.faults
def test_only_the_trial_that_kills_engines_fails(job_file: Path, tmp_path: Path) -> None:
    """A trial that kills each of its engines fails; the trials beside it end as usual."""
    job, space = load_job(job_file, ("search.presets=false", "resources.lanes=4"))
    callback = Recorder()
    backend = RayBackend(engine=PoisonedEngine)
    run_job(job, space, tmp_path / "run", backend, callback=callback, say=callback.say)
    records = load_results(tmp_path / "run").records
    assert len(records) == 8
    (failed,) = (record for record in records if record.state == "failed")
    assert failed.trial == POISON
    assert "died 3 times without a report" in str(failed.reason)
