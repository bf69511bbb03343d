"""Launches in processes of their own, as users start them, which tests can interrupt and kill."""

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

# Shells let background processes ignore Ctrl-C; in a terminal a command reacts to it.
_HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
CLI = [sys.executable, "-c", f"{_HEARS_CTRL_C}; from tuner.cli.main import main; main()"]
PATIENCE_S = 240


class Launches:
    """Starts commands and kills them at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Launches:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start ``nst-tuner`` with these arguments and return its process."""
        command = [*CLI, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._started.append(process)
        return process


@contextlib.contextmanager
def cluster_with_head(cpus: int, **options: Any) -> Iterator[Cluster]:
    """Start a Ray cluster on this machine, without a dashboard.

    Args:
        cpus: number of CPUs for trials on the head node.
        options: more options of the head node.
    """
    head = {"num_cpus": cpus, "include_dashboard": False, **options}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def set_options(*assignments: str) -> list[str]:
    """Return ``--set KEY=VALUE`` for each assignment."""
    return [part for assignment in assignments for part in ("--set", assignment)]


def wait_until(process: subprocess.Popen[str], what: str, condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail if the launch ends before.

    Args:
        process: the launch.
        what: the condition in words, for the error message.
        condition: returns whether it holds.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.3)
    raise AssertionError(f"no {what} within {PATIENCE_S} s")


def wait_for_trials(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Wait until ``count`` trials are over."""
    wait_until(process, f"{count} trials", lambda: len(finished_trials(folder)) >= count)


def wait_for_log(folder: Path, process: subprocess.Popen[str], words: str) -> None:
    """Wait until a message with these words is in the log of the run."""
    wait_until(process, f"{words!r} in the log", lambda: count_logged(folder, words))


def wait_for_reports(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Wait until trials have reported ``count`` times in total."""
    wait_until(process, f"{count} reports", lambda: count_reports(folder) >= count)


def run_records(folder: Path) -> Sequence[TrialRecord]:
    """Return the trials of a run; none if the run has not begun."""
    return load_results(folder).records if (folder / "study.journal").exists() else ()


def finished_trials(folder: Path) -> dict[int, tuple[str, dict[int, float]]]:
    """Return the trials that are over: trial -> (state, steps -> objective)."""
    return {
        r.trial: (r.state, {steps: rung.objective for steps, rung in r.rungs.items()})
        for r in run_records(folder)
        if r.state != "running"
    }


def engine_processes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of the engines that a launch started."""
    engines = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # the process may have ended by now
            if "EngineActor" in " ".join(child.cmdline()):
                engines.append(child)
    return engines


def log_events(folder: Path) -> list[Mapping[str, Any]]:
    """Return the events in the log of a run; a killed launch may leave an incomplete last line."""
    log = folder / "log.jsonl"
    events = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return events


def count_logged(folder: Path, words: str) -> int:
    """Return the number of messages with these words in the log of a run."""
    return sum(words in event["message"] for event in log_events(folder))


def count_reports(folder: Path) -> int:
    """Return the number of reports of all trials so far."""
    return count_logged(folder, "reported")


def assert_no_traceback(stderr: str) -> None:
    """Assert that users see no traceback and no message of Ray Tune about a fault."""
    assert "Traceback" not in stderr, stderr
    assert "did not complete" not in stderr, stderr


def has_message(words: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test of log events: the message ends with these words, or has them before a colon.

    A colon and the reason follow in the messages of trials that are over.
    """
    return lambda event: event["message"].endswith(words) or f"{words}: " in event["message"]
