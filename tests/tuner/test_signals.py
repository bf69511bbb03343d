"""SIGTERM, SIGHUP and SIGKILL: how commands end, what is kept, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.tuner.processes import (
    CLI,
    PATIENCE_S,
    Launches,
    assert_calm,
    count_reports,
    engines_of,
    records,
    settings,
    wait_for_reports,
    wait_until,
)
from tuner.search import interrupt
from tuner.search.interrupt import Interrupt, exit_code, interruptible

#: Trials so long that none can be over before the signal, nor at the rung after it.
LONG = settings("halving.max_steps=5000", "halving.rule=none")


@pytest.fixture
def launches() -> Iterator[Launches]:
    """Ends what a test started."""
    with Launches() as made:
        yield made


def test_sigterm_saves_the_rungs_under_way(
    job_file: Path, tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM lets the rungs under way end within the grace time, with 143 and a line to go on."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "120")
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    wait_for_reports(folder, process, 1)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, stderr
    assert_calm(stderr)
    assert "SIGTERM: stopping at the next rung of each trial" in stderr
    assert "nst-tuner resume" in stderr.splitlines()[-1]
    running = [record for record in records(folder) if record.state == "running"]
    assert running
    for record in running:
        assert record.rungs and (folder / f"trials/{record.trial:04d}/lanes.safetensors").is_file()
    assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1]


def test_sighup_ends_when_the_grace_time_is_over(
    job_file: Path, tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed terminal ends a launch with 129; without time for the rungs it stops at once."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "0")
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    wait_for_reports(folder, process, 1)
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 129, stderr
    assert_calm(stderr)
    assert "nst-tuner resume" in stderr and count_reports(folder)


def test_a_signal_to_the_process_group(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`timeout` and shells signal a whole group: Ray's processes do not end before the launch."""
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
    assert_calm(stderr)
    assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1]


@pytest.mark.parametrize("words", ["starting the engines", ""])
def test_sigterm_before_the_engines_are_up(
    words: str, job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """While a launch prepares or starts its engines, it ends with 143 and says what to do."""
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
    assert_calm(stderr)
    assert "nst-tuner resume" in stderr or "launch it again" in stderr


def test_after_sigkill_nothing_stays_behind(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """The engines and Ray's processes end with a launch that is killed."""
    folder = tmp_path / "run"
    process = launches.start("launch", job_file, "--run-dir", folder, *LONG)
    wait_for_reports(folder, process, 1)
    started = psutil.Process(process.pid).children(recursive=True)
    assert engines_of(process)
    process.kill()
    process.wait()
    assert not psutil.wait_procs(started, timeout=PATIENCE_S)[1]


def test_a_stylization_leaves_no_half_picture(
    pictures: Path, tmp_path: Path, launches: Launches
) -> None:
    """SIGTERM ends other commands with 143 and one line, and nothing half-written."""
    inputs = ["--content", pictures / "content.png", "--style", pictures / "style.png"]
    process = launches.start(
        "stylize", *inputs, "--out", tmp_path / "o.png", "--set", "steps=10000"
    )
    time.sleep(8)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, stderr
    assert stderr.strip().endswith("error: interrupted")
    assert_calm(stderr)
    assert not [file for file in tmp_path.iterdir() if "o.png" in file.name]


def test_nohup_is_respected(pictures: Path, tmp_path: Path) -> None:
    """Where SIGHUP is ignored from the beginning, as by `nohup`, it goes on being ignored."""
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


def test_what_the_first_and_the_second_signal_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signal sets a limit, except for Ctrl-C; the second ends at once."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "50")
    said: list[str] = []
    asked = Interrupt()
    with interruptible(asked, said.append):
        signal.raise_signal(signal.SIGINT)
        assert asked.winding_up and asked.until_s is None and exit_code() == 130
        asked.check()
    asked = Interrupt()
    with interruptible(asked, said.append):
        signal.raise_signal(signal.SIGTERM)
        assert asked.winding_up and asked.until_s and 0 < asked.within_s(60) <= 50
        assert exit_code() == 143
        asked.check()
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            asked.check()
    assert len(said) == 2 and "SIGTERM" in said[1]


def test_an_odd_grace_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no number in the environment leaves the usual time."""
    monkeypatch.setenv("NST_TUNER_GRACE_S", "soon")
    assert interrupt.grace_s() == interrupt.GRACE_S
