"""Faults, by doing: real processes on a real Ray cluster, broken off and killed."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.tuner.disks import SmallDisk
from tests.tuner.helpers import Recorder
from tests.tuner.poisoned_engine import POISON, PoisonedEngine
from tests.tuner.processes import (
    PATIENCE_S,
    Launches,
    assert_calm,
    cluster_with_head,
    count_reports,
    engines_of,
    finished,
    records,
    said,
    settings,
    wait_for_reports,
    wait_for_said,
    wait_for_trials,
)
from tuner.cluster.backend import RayBackend
from tuner.cluster.connection import connected
from tuner.cluster.engine_shapes import EngineShape
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.launch import run_job
from tuner.study.records import Pulse


def test_broken_off_killed_and_resumed(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """After Ctrl-C, then after SIGKILL, a run resumes to its target and loses nothing finished."""
    folder = tmp_path / "run"
    options = settings("search.trials=1000", "halving.max_steps=12")  # none ends by itself
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "nst-tuner resume" in stderr
    before = finished(folder)

    process = launches.start("resume", folder)
    wait_for_trials(folder, process, len(before) + 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before |= finished(folder)

    target = len(records(folder)) + 4
    process = launches.start("resume", folder, "--trials", target)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    after = finished(folder)
    assert sorted(after) == list(range(target))
    assert {state for state, _ in after.values()} <= {"complete", "pruned"}
    assert before.items() <= after.items()


def test_a_killed_engine_is_replaced(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """When the engine's process dies another one goes on with its trials, and none is blamed."""
    folder = tmp_path / "run"
    options = settings("search.trials=8", "halving.max_steps=60", "halving.rule=none")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    before = finished(folder)
    engine, *_ = engines_of(process)
    engine.kill()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_calm(stderr)
    assert "another one starts" in stderr
    assert "another one starts" in (folder / "log.jsonl").read_text(encoding="utf-8")
    after = finished(folder)
    assert sorted(after) == list(range(8))
    assert before.items() <= after.items()
    assert load_results(folder).counts()["failed"] == 0


def test_a_node_dies_while_another_joins(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """Every node of a cluster gets trials, one that joins too; nobody is blamed for a node."""
    folder = tmp_path / "run"
    # More trials than there is time for: on any machine it goes on until all that was said.
    options = settings(
        *("search.trials=1000", "search.presets=false", "resources.lanes=2"),
        *("halving.rule=none", "halving.max_steps=18"),
    )
    with cluster_with_head(0) as cluster:
        dies, _ = (cluster.add_node(num_cpus=1) for _ in range(2))
        address = ("--address", cluster.address)
        process = launches.start("launch", job_file, "--run-dir", folder, *address, *options)
        for engine in ("engine-0", "engine-1"):
            wait_for_said(folder, process, f"{engine} is up")
        wait_for_trials(folder, process, 4)
        before = finished(folder)
        cluster.remove_node(dies, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        wait_for_said(folder, process, "engine-2 is up")
        wait_for_said(folder, process, "is gone with its node")
        wait_for_trials(folder, process, len(finished(folder)) + 8)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_calm(stderr)
    after = finished(folder)
    assert {state for state, _ in after.values()} == {"complete"}
    assert before.items() <= after.items()
    # What the node had is taken up elsewhere: of all that began none is left behind.
    assert set(range(max(after) - 8)) <= after.keys()
    assert not said(folder, "another one starts")
    reports = [rung for record in load_results(folder).records for rung in record.rungs.values()]
    assert len({rung.worker for rung in reports}) == 3


@pytest.mark.faults
def test_a_hanging_engine_is_replaced(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """An engine that gives no sign of life within its deadline is killed and replaced."""
    folder = tmp_path / "run"
    options = settings(
        *("search.trials=6", "halving.max_steps=60", "halving.rule=none"),
        "resources.engine_deadline_s=8",
    )
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    engine, *_ = engines_of(process)
    engine.send_signal(signal.SIGSTOP)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_calm(stderr)
    assert "no sign of life" in stderr
    assert load_results(folder).counts()["failed"] == 0
    assert not engine.is_running()


@pytest.mark.faults
def test_a_driver_that_stood_still_blames_nobody(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """A driver that waited for a slow disk longer than an engine's deadline loses no engine."""
    folder = tmp_path / "run"
    options = settings("search.trials=6", "halving.max_steps=60", "resources.engine_deadline_s=8")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(20)
    process.send_signal(signal.SIGCONT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert "sign of life" not in stderr and "another one starts" not in stderr
    assert load_results(folder).counts()["failed"] == 0


@pytest.mark.faults
def test_storage_that_goes_away_for_a_while(
    job_file: Path, tmp_path: Path, small_disk: SmallDisk, launches: Launches
) -> None:
    """While the storage cannot be written the run goes on, and in the end the copy is whole."""
    small_disk.remount("size=100m")
    folder, copy = tmp_path / "run", small_disk.path / "copy"
    # More trials than any machine ends in the meantime; Ctrl-C ends them.
    options = settings("search.trials=5000", "halving.max_steps=60", f"storage={copy}")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    small_disk.remount("ro")
    wait_for_said(folder, process, "copied later")
    before = finished(folder)
    wait_for_trials(folder, process, len(before) + 4)
    small_disk.remount("rw")
    wait_for_said(folder, process, "is back")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_calm(stderr)
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()


@pytest.mark.faults
def test_storage_that_is_away_when_the_run_ends(
    job_file: Path, tmp_path: Path, small_disk: SmallDisk, launches: Launches
) -> None:
    """A run that is over waits for its storage, says so, and ends well when the copy is whole."""
    small_disk.remount("size=100m")
    folder, copy = tmp_path / "run", small_disk.path / "copy"
    options = settings("search.trials=4", f"storage={copy}")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    small_disk.remount("ro")
    wait_for_said(folder, process, "waiting up to 10 minutes for its storage")
    time.sleep(15)  # it is tried once more, in vain
    assert process.poll() is None
    small_disk.remount("rw")
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_calm(stderr)
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()
    assert load_results(copy).counts() == load_results(folder).counts()


@pytest.mark.faults
def test_an_engine_that_keeps_dying_ends_the_run(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """After four deaths without a report between them the run ends with what to do."""
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder)
    killed: set[int] = set()
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        for engine in engines_of(process):
            if engine.pid not in killed:
                killed.add(engine.pid)
                engine.kill()
        time.sleep(0.2)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, stderr
    assert_calm(stderr)
    assert "4 times in a row" in stderr and "nst-tuner resume" in stderr
    assert load_results(folder).counts()["failed"] == 0


@pytest.mark.faults
def test_a_busy_cluster_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Engines wait for room that others have, which is said once, and start when it is there."""
    monkeypatch.setattr("tuner.cluster.supervised_engine.ROOM_TIMEOUT_S", 0.5)
    monkeypatch.setattr("tuner.cluster.supervised_engine.START_TIMEOUT_S", 2.0)

    class Quick:
        async def ready(self) -> Pulse:
            return Pulse()

        pulse = ready

    def make(_: EngineShape, options: Mapping[str, Any]) -> Any:
        return ray.remote(Quick).options(**options).remote()

    with connected(None) as resources:
        holder = ray.remote(Quick).options(num_cpus=resources["CPU"]).remote()
        ray.get(holder.ready.remote())
        fleet = EngineSupervisor(make, device="cpu", lanes=2, deadline_s=60)
        opening, until = fleet.start(), time.monotonic() + 8
        while time.monotonic() < until:
            next(opening)
        assert not fleet.lanes and fleet.failure is None
        ray.kill(holder)
        monkeypatch.undo()
        assert all(step is None for step in opening)
        assert set(fleet.lanes.values()) == {2}
        fleet.close()
    assert caplog.messages == ["the cluster is busy: waiting for room for an engine"]


@pytest.mark.faults
def test_a_trial_that_kills_its_engine(job_file: Path, tmp_path: Path) -> None:
    """Only the trial that kills every engine it is on fails; those with it come to their end."""
    job, space = load_job(job_file, ("search.presets=false", "resources.lanes=4"))
    callback = Recorder()
    backend = RayBackend(engine=PoisonedEngine)
    run_job(job, space, tmp_path / "run", backend, callback=callback, say=callback.say)
    records = load_results(tmp_path / "run").records
    assert len(records) == 8
    (failed,) = (record for record in records if record.state == "failed")
    assert failed.trial == POISON
    assert "died 3 times without a report" in str(failed.reason)


def test_interrupted_once_finishes_its_rungs_twice_stops_now(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """Ctrl-C lets the rungs under way end and keeps their lanes; a second one waits for nothing."""
    folder = tmp_path / "run"
    # Trials so long that none can be over before the signal, nor at the rung after it.
    options = settings("halving.max_steps=5000", "halving.rule=none")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_reports(folder, process, 1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "stopping at the next rung of each trial" in stderr and "nst-tuner resume" in stderr
    running = [record for record in records(folder) if record.state == "running"]
    assert running
    for record in running:
        assert record.rungs and (folder / f"trials/{record.trial:04d}/lanes.safetensors").is_file()

    before = count_reports(folder)
    process = launches.start("resume", folder)
    wait_for_reports(folder, process, before + 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr


def test_interrupted_twice_while_it_starts(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """Ctrl-C before anything runs is said and ends with 130, however often it is pressed."""
    process = launches.start("launch", job_file, "--run-dir", tmp_path / "run")
    time.sleep(2)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.4)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr and "Traceback" not in stderr


@pytest.mark.faults
def test_one_launch_at_a_time(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """A second launch on a run directory is refused, with who holds it, and changes nothing."""
    folder = tmp_path / "run"
    options = settings("search.trials=1000")  # it goes on meanwhile
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_reports(folder, process, 1)
    second = launches.start("resume", folder, "--trials", "50")
    _, stderr = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 2
    assert f"process {process.pid} on " in stderr
    assert "trials: 50" not in (folder / "job.yaml").read_text(encoding="utf-8")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
