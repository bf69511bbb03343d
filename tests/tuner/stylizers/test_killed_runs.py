"""Runs on Ray with a stylizer, with the driver and a worker killed in the middle of a trial."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.tuner.processes import Launches, finished_trials, run_records, wait_until
from tuner.stylizers.guard import LOCK, PREFIX

pytestmark = pytest.mark.faults

#: Seconds until Ray has ended the processes of a killed driver, on a machine that is busy.
GONE_WITHIN_S = 120
#: A program that takes a moment, and tells by its name what it is.
SLOW = '[sh, -c, "sleep 1.25; cp \\"$1\\" \\"$2\\"", sh, "{content}", "{out}", "{strength}"]'


def commands_running() -> list[psutil.Process]:
    """Return the processes of `SLOW`."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[:2] == ["sleep", "1.25"]
    ]


def workers() -> list[psutil.Process]:
    """Return the worker and guard processes of all stylizers."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"tuner.stylizers.worker", "tuner.stylizers.guard"} & set(process.info["cmdline"] or ())
    ]


def folders() -> list[Path]:
    """Return the temporary folders of living and dead workers."""
    return [path.parent for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}")]


def wait_for(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_killed_driver_and_killed_worker(
    tint_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killing the driver repeats no trial, killing a worker fails one, and nothing is left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = tmp_path / "run"
    options = ["--set", f"stylizer={{command: {SLOW}}}", "--set", "search.trials=10"]
    options += ["--set", "finals.count=0"]
    assert not workers()
    with Launches() as launches:
        first = launches.start("launch", tint_job, "--run-dir", run, *options)
        wait_until(first, "three trials", lambda: len(finished_trials(run)) >= 3)
        wait_until(first, "a running command", commands_running)
        first.kill()
        wait_for("all processes gone", lambda: not workers() and not commands_running())
        assert not folders()
        before = finished_trials(run)

        second = launches.start("resume", run)
        wait_until(second, "a running command", commands_running)
        for process in commands_running()[:1]:
            worker = next(p for p in process.parents() if p in workers())
            worker.send_signal(signal.SIGKILL)
        _, stderr = second.communicate(timeout=600)
        assert second.returncode == 0, stderr
    records = run_records(run)
    after = finished_trials(run)
    assert len(records) == 10 and len(after) == 10
    assert {trial: after[trial] for trial in before} == before
    failed = [record.reason or "" for record in records if record.state == "failed"]
    assert len(failed) == 1 and "its process ended by SIGKILL" in failed[0]
    wait_for("all processes gone", lambda: not workers() and not commands_running())
    assert not folders()


def test_a_run_on_ray_stops_bad_trials_early(
    tint_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Ray, two processes of a stylizer run trials with rungs, and all of them end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = tmp_path / "run"
    stylizers = Path(__file__).with_name("python_stylizers.py")
    options = ["--trust", "--set", f"stylizer.path={stylizers}:Slow", "--set", "space=slow.yaml"]
    options += ["--set", "halving={min_steps: 3, max_steps: 18, rule: stop}"]
    with Launches() as launches:
        launch = launches.start("launch", tint_job, "--run-dir", run, *options)
        _, stderr = launch.communicate(timeout=600)
        assert launch.returncode == 0, stderr
    records = run_records(run)
    assert {record.state for record in records} <= {"complete", "pruned"}
    assert all(min(record.rungs) == 3 for record in records if record.searched)
    wait_for("all processes gone", lambda: not workers())
    assert not folders()
