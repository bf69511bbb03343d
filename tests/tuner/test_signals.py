"""SIGTERM, SIGHUP and SIGKILL: exit codes, saved work, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.tuner.processes import (
    CLI,
    PATIENCE_S,
    Launches,
    assert_no_traceback,
    count_reports,
    engine_processes,
    run_records,
    set_options,
    wait_for_reports,
    wait_until,
)
from tuner.search import interrupt
from tuner.search.interrupt import Interrupt, exit_code, interruptible

#: Trials so long that none ends before the signal, or at the rung after it.
LONG = set_options("halving.max_steps=5000", "halving.rule=none")


def test_sigterm_lets_trials_reach_a_rung(
    job_file: Path, tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM lets trials reach a rung in the grace time, saves them, and ends with code 143."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "120")
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    wait_for_reports(folder, process, 1)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, stderr
    assert_no_traceback(stderr)
    assert "SIGTERM: stopping at the next rung of each trial" in stderr
    assert "nst-tuner resume" in stderr.splitlines()[-1]
    running = [record for record in run_records(folder) if record.state == "running"]
    assert running
    for record in running:
        assert record.rungs and (folder / f"trials/{record.trial:04d}/lanes.safetensors").is_file()
    assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1]


def test_sighup_without_grace_time_stops_at_once(
    job_file: Path, tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed terminal ends a launch with code 129, at once if the grace time is 0."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "0")
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    wait_for_reports(folder, process, 1)
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 129, stderr
    assert_no_traceback(stderr)
    assert "nst-tuner resume" in stderr and count_reports(folder)


def test_a_signal_to_the_process_group_ends_a_launch_in_order(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the whole process group gets SIGTERM, Ray's processes do not end before the launch."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "1")
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*CLI, "launch", str(job_file), "--run-dir", str(folder), *LONG],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_reports(folder, process, 1)
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, stderr
    assert "nst-tuner resume" in stderr and "core_worker" not in stderr
    assert_no_traceback(stderr)
    assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1]


@pytest.mark.parametrize("words", ["starting the engines", ""])
def test_sigterm_before_the_engines_are_up(
    words: str, job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """SIGTERM while a launch prepares or starts engines ends it with 143 and says what to do."""
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    assert process.stderr
    begun = process.stderr.readline() if words else ""
    while words and words not in begun:
        begun += process.stderr.readline()
    if not words:
        wait_until(process, "lock", (folder / ".lock").exists)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, stderr
    assert_no_traceback(stderr)
    assert "nst-tuner resume" in stderr or "launch it again" in stderr


def test_sigkill_leaves_no_process_behind(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """The engines and Ray's processes end when their launch is killed."""
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    wait_for_reports(folder, process, 1)
    started = psutil.Process(process.pid).children(recursive=True)
    assert engine_processes(process)
    process.kill()
    process.wait()
    assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1]


def test_an_interrupted_stylization_leaves_no_file(
    pictures: Path, tmp_path: Path, launches: Launches
) -> None:
    """SIGTERM ends `stylize` with code 143 and one line, and leaves no half-written file."""
    inputs = ["--content", pictures / "content.png", "--style", pictures / "style.png"]
    process = launches.start(
        "stylize", *inputs, "--out", tmp_path / "o.png", "--set", "steps=10000"
    )
    time.sleep(8)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, stderr
    assert stderr.strip().endswith("error: interrupted")
    assert_no_traceback(stderr)
    assert not [file for file in tmp_path.iterdir() if "o.png" in file.name]


def test_nohup_is_respected(pictures: Path, tmp_path: Path) -> None:
    """A command that starts with SIGHUP ignored, as `nohup` does, continues to ignore it."""
    inputs = ["--content", str(pictures / "content.png"), "--style", str(pictures / "style.png")]
    options = ["--set", "steps=3", "--size-px", "64", "--out", str(tmp_path / "o.png")]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a process inherits
    process = subprocess.Popen([*CLI, "stylize", *inputs, *options], stderr=subprocess.PIPE)
    signal.signal(signal.SIGHUP, before)
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
    assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    assert (tmp_path / "o.png").is_file()


def test_the_first_signal_winds_up_and_the_second_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signal sets a time limit, unless it is Ctrl-C; the second stops at once."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "50")
    lines: list[str] = []
    interrupt_ = Interrupt()
    with interruptible(interrupt_, lines.append):
        signal.raise_signal(signal.SIGINT)
        assert interrupt_.stopping and interrupt_.until_s is None and exit_code() == 130
        interrupt_.check()
    interrupt_ = Interrupt()
    with interruptible(interrupt_, lines.append):
        signal.raise_signal(signal.SIGTERM)
        assert interrupt_.stopping and interrupt_.until_s and 0 < interrupt_.within_s(60) <= 50
        assert exit_code() == 143
        interrupt_.check()
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            interrupt_.check()
    assert len(lines) == 2 and "SIGTERM" in lines[1]


def test_an_invalid_grace_time_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the grace time in the environment is not a number, the default applies."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "soon")
    assert interrupt.grace_s() == interrupt.GRACE_S
