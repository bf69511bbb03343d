"""Launches as processes of their own, as people start them, to be broken off and killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from tuner.results.results import load_results
from tuner.study.records import TrialRecord

# As from a terminal: shells let what they start in the background ignore Ctrl-C.
_HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
CLI = [sys.executable, "-c", f"{_HEARS_CTRL_C}; from tuner.cli.main import main; main()"]
PATIENCE_S = 240


class Launches:
    """Starts commands; none outlives the test that uses it as a context manager."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Launches:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """A command of ours, under way."""
        command = [*CLI, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._started.append(process)
        return process


@contextlib.contextmanager
def cluster_with_head(cpus: int) -> Iterator[Cluster]:
    """A Ray cluster on this machine, without a dashboard; the head has so many CPUs for trials."""
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False}
    )
    try:
        yield made
    finally:
        made.shutdown()


def settings(*assignments: str) -> list[str]:
    """``--set`` for each."""
    return [part for assignment in assignments for part in ("--set", assignment)]


def wait_until(process: subprocess.Popen[str], what: str, there: Callable[[], object]) -> None:
    """Until something is there; the launch must not end before."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if there():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.3)
    raise AssertionError(f"no {what} within {PATIENCE_S} s")


def wait_for_trials(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Until ``count`` trials are over."""
    wait_until(process, f"{count} trials", lambda: len(finished(folder)) >= count)


def wait_for_said(folder: Path, process: subprocess.Popen[str], words: str) -> None:
    """Until the run has logged something with these words."""
    wait_until(process, f"{words!r} in the log", lambda: said(folder, words))


def wait_for_reports(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Until so many rungs were reported."""
    wait_until(process, f"{count} reports", lambda: count_reports(folder) >= count)


def records(folder: Path) -> Sequence[TrialRecord]:
    """Trials of a run that has begun or not."""
    return load_results(folder).records if (folder / "study.journal").exists() else ()


def finished(folder: Path) -> dict[int, tuple[str, dict[int, float]]]:
    """Trials that are over: state, and the objective at each rung."""
    return {
        r.trial: (r.state, {steps: rung.objective for steps, rung in r.rungs.items()})
        for r in records(folder)
        if r.state != "running"
    }


def engines_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes of the engines that a launch started."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may be gone by now
            if "EngineActor" in " ".join(child.cmdline()):
                found.append(child)
    return found


def events(folder: Path) -> list[Mapping[str, Any]]:
    """What the run logged so far; a launch that was killed may have left half a line."""
    log = folder / "log.jsonl"
    found = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def said(folder: Path, words: str) -> int:
    """How often the run has logged something with these words."""
    return sum(words in event["message"] for event in events(folder))


def count_reports(folder: Path) -> int:
    """Rungs that were reported so far."""
    return said(folder, "reported")


def assert_calm(stderr: str) -> None:
    """People see what the run says of a fault, and nothing of how Python and Tune take it."""
    assert "Traceback" not in stderr, stderr
    assert "did not complete" not in stderr, stderr
