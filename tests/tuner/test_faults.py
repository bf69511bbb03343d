"""Faults, by doing: real processes on a real Ray cluster, broken off and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tuner.results import load_results

CLI = [sys.executable, "-c", "from tuner.cli import main; main()"]
PATIENCE_S = 240


@pytest.fixture
def driver(job_file: Path, tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes started by a test; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()


def start(started: list[subprocess.Popen[str]], *arguments: object) -> subprocess.Popen[str]:
    command = [*CLI, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started.append(process)
    return process


def wait_for_trials(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Until ``count`` trials are over."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (folder / "study.journal").exists():
            counts = load_results(folder).counts()
            if sum(counts.values()) - counts["running"] >= count:
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.3)
    raise AssertionError(f"no {count} trials within {PATIENCE_S} s")


def finished(folder: Path) -> dict[int, tuple[str, dict[int, float]]]:
    return {
        r.trial: (r.state, {steps: rung.objective for steps, rung in r.rungs.items()})
        for r in load_results(folder).records
        if r.state != "running"
    }


def test_broken_off_killed_and_resumed(
    job_file: Path, tmp_path: Path, driver: list[subprocess.Popen[str]]
) -> None:
    """After Ctrl-C, then after SIGKILL, a run resumes to its target and loses nothing finished."""
    folder = tmp_path / "run"
    options = ("--set", "search.trials=14", "--set", "halving.max_steps=12")
    process = start(driver, "launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "nst-tuner resume" in stderr
    before = finished(folder)

    process = start(driver, "resume", folder)
    wait_for_trials(folder, process, len(before) + 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before |= finished(folder)

    process = start(driver, "resume", folder)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    after = finished(folder)
    assert sorted(after) == list(range(14))
    assert {state for state, _ in after.values()} <= {"complete", "pruned"}
    assert before.items() <= after.items()


def test_a_killed_engine_stops_the_run_which_resumes(
    job_file: Path, tmp_path: Path, driver: list[subprocess.Popen[str]]
) -> None:
    """When the engine's process dies the run ends with what to do, and no trial is blamed."""
    folder = tmp_path / "run"
    options = ("--set", "search.trials=8", "--set", "halving.max_steps=60")
    process = start(driver, "launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    (engine,) = [child for child in children if "LaneEngine" in " ".join(child.cmdline())]
    engine.kill()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, stderr
    assert "an engine died" in stderr
    assert "nst-tuner resume" in stderr
    assert load_results(folder).counts()["failed"] == 0
    process = start(driver, "resume", folder)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert load_results(folder).counts()["running"] == 0
