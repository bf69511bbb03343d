"""Runs with a stylizer, with the driver and a worker killed in the middle of a trial."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from tests.tuner.processes import (
    PATIENCE_S,
    Launches,
    finished_trials,
    run_records,
    wait_until,
)
from tuner.stylizers.guard import LOCK, PREFIX

pytestmark = pytest.mark.faults

#: Seconds until Ray has ended the processes of a killed driver, on a machine that is busy.
GONE_WITHIN_S = 120
#: Number of trials of each run.
TRIALS = 6
#: A program that takes a moment, and tells by its name what it is.
SLOW = '[sh, -c, "sleep 1.25; cp \\"$1\\" \\"$2\\"", sh, "{content}", "{out}", "{strength}"]'


def commands_running() -> list[psutil.Process]:
    """Return the processes of `SLOW`."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[:2] == ["sleep", "1.25"]
    ]


def workers() -> set[psutil.Process]:
    """Return the worker and guard processes of all stylizers."""
    return {
        process
        for process in psutil.process_iter(["cmdline"])
        if {"tuner.stylizers.worker", "tuner.stylizers.guard"} & set(process.info["cmdline"] or ())
    }


def folders() -> set[Path]:
    """Return the temporary folders of living and dead workers."""
    return {path.parent for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}")}


class Left:
    """What this test has left behind; other runs may work on the same machine."""

    def __init__(self) -> None:
        self._workers, self._folders = workers(), folders()

    def nothing(self) -> bool:
        """Return whether no process and no folder is left."""
        return not (workers() - self._workers or folders() - self._folders or commands_running())


def wait_for(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


#: A launch or a continued one without Ray: the arguments are the job, the run, and overrides.
INLINE = """
import sys
from pathlib import Path
from tuner.job.load import load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.search.protocol import Callback

job, run = map(Path, sys.argv[1:3])
options = {"callback": Callback(), "say": lambda _: None}
if run.exists():
    resume_run(run, InlineBackend(), **options)
else:
    run_job(*load_job(job, sys.argv[3:]), run, InlineBackend(), **options)
"""


def start_inline(job: Path, run: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start or continue a run without Ray."""
    words = [sys.executable, "-c", INLINE, str(job), str(run), *overrides]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def kill_worker_of_command() -> None:
    """Kill the worker that runs a command now."""
    worker = next(p for p in commands_running()[0].parents() if p in workers())
    worker.send_signal(signal.SIGKILL)


def check_whole(run: Path, before: Mapping[int, object]) -> None:
    """Check that all trials ended, none was repeated, and only the killed worker's failed."""
    records, after = run_records(run), finished_trials(run)
    assert len(records) == len(after) == TRIALS
    assert {trial: after[trial] for trial in before} == before
    failed = [record.reason or "" for record in records if record.state == "failed"]
    assert len(failed) == 1 and "its process ended by SIGKILL" in failed[0]


@pytest.mark.parametrize("with_ray", [False, True])
def test_killed_driver_and_killed_worker(
    tint_job: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launches: Launches,
    with_ray: bool,
) -> None:
    """Killing the driver repeats no trial, killing a worker fails one, and nothing is left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run, left = tmp_path / "run", Left()
    overrides = [f"stylizer={{command: {SLOW}}}", f"search.trials={TRIALS}", "finals.count=0"]
    if with_ray:
        options = [word for override in overrides for word in ("--set", override)]
        first = launches.start("launch", tint_job, "--run-dir", run, *options)
    else:
        first = start_inline(tint_job, run, *overrides)
    wait_until(first, "two trials", lambda: len(finished_trials(run)) >= 2)
    wait_until(first, "a running command", commands_running)
    first.kill()
    first.communicate()
    wait_for("all processes and folders gone", left.nothing)
    before = finished_trials(run)
    second = launches.start("resume", run) if with_ray else start_inline(tint_job, run)
    wait_until(second, "a running command", commands_running)
    kill_worker_of_command()
    _, stderr = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, stderr
    check_whole(run, before)
    wait_for("all processes and folders gone", left.nothing)


def test_a_run_on_ray_stops_bad_trials_early(
    tint_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Ray, two processes of a stylizer run trials with rungs, and all of them end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run, left = tmp_path / "run", Left()
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
    wait_for("all processes and folders gone", left.nothing)
