"""Faults of launches on a real Ray cluster: interrupted, killed, suspended, and without storage."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.tuner.disks import SmallDisk
from tests.tuner.processes import (
    PATIENCE_S,
    Launches,
    assert_no_traceback,
    count_reports,
    finished_trials,
    run_records,
    set_options,
    wait_for_log,
    wait_for_reports,
    wait_for_trials,
    wait_until,
)
from tuner.results.results import load_results
from tuner.study.records import TrialRecord


def test_an_interrupted_and_killed_run_resumes(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """After Ctrl-C, and after SIGKILL, a run resumes to its target and loses no finished trial."""
    folder = tmp_path / "run"
    options = set_options("search.trials=1000", "halving.max_steps=12")  # too many to end by itself
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "nst-tuner resume" in stderr
    before = finished_trials(folder)

    process = launches.start("resume", folder)
    wait_for_trials(folder, process, len(before) + 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before |= finished_trials(folder)

    target = len(run_records(folder)) + 4
    process = launches.start("resume", folder, "--trials", target)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    after = finished_trials(folder)
    assert sorted(after) == list(range(target))
    assert {state for state, _ in after.values()} <= {"complete", "pruned"}
    assert before.items() <= after.items()


@pytest.mark.faults
def test_a_driver_that_was_suspended_blames_no_engine(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """A driver that was suspended for longer than an engine's deadline replaces no engine."""
    folder = tmp_path / "run"
    options = set_options(
        "search.trials=6", "halving.max_steps=60", "resources.engine_deadline_s=8"
    )
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
def test_a_run_survives_an_outage_of_its_storage(
    job_file: Path, tmp_path: Path, small_disk: SmallDisk, launches: Launches
) -> None:
    """While the storage cannot be written, the run continues, and in the end its copy is whole."""
    small_disk.remount("size=100m")
    folder, copy = tmp_path / "run", small_disk.path / "copy"
    # Too many trials to end by themselves, on any machine; Ctrl-C ends the run.
    options = set_options("search.trials=5000", "halving.max_steps=60", f"storage={copy}")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    small_disk.remount("ro")
    wait_for_log(folder, process, "copied later")
    before = finished_trials(folder)
    wait_for_trials(folder, process, len(before) + 4)
    small_disk.remount("rw")
    wait_for_log(folder, process, "is back")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_no_traceback(stderr)
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()


@pytest.mark.faults
def test_a_finished_run_waits_for_its_storage(
    job_file: Path, tmp_path: Path, small_disk: SmallDisk, launches: Launches
) -> None:
    """A finished run says that it waits for its storage, and succeeds when the copy is whole."""
    small_disk.remount("size=100m")
    folder, copy = tmp_path / "run", small_disk.path / "copy"
    options = set_options("search.trials=4", f"storage={copy}")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_trials(folder, process, 1)
    small_disk.remount("ro")
    wait_for_log(folder, process, "waiting up to 10 minutes for its storage")
    time.sleep(15)  # for another attempt, which fails
    assert process.poll() is None
    small_disk.remount("rw")
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert_no_traceback(stderr)
    assert (copy / "study.journal").read_bytes() == (folder / "study.journal").read_bytes()
    assert load_results(copy).counts() == load_results(folder).counts()


def test_one_ctrl_c_finishes_the_rungs_and_two_stop_now(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """Ctrl-C lets running trials reach a rung and saves their lanes; a second one stops at once."""
    folder = tmp_path / "run"
    # Trials so long that none ends before the signal, or at the rung after it.
    options = set_options("halving.max_steps=5000", "halving.rule=none")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    wait_for_reports(folder, process, 1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "stopping at the next rung of each trial" in stderr and "nst-tuner resume" in stderr
    running = [record for record in run_records(folder) if record.state == "running"]
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


def test_ctrl_c_while_a_launch_starts(job_file: Path, tmp_path: Path, launches: Launches) -> None:
    """Ctrl-C before any trial runs, once or twice, ends with one line and exit code 130."""
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
    """A second launch on a run directory is refused, names the first, and changes nothing."""
    folder = tmp_path / "run"
    options = set_options("search.trials=1000")  # too many to end in the meantime
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


@pytest.mark.faults
def test_commands_to_a_run_that_is_killed_again_and_again(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """Commands of `ctl` are carried out exactly once, whenever the launch around them is killed."""
    folder = tmp_path / "run"
    options = set_options("search.trials=1000", "search.presets=false", "halving.max_steps=12")
    process = launches.start("launch", job_file, "--run-dir", folder, *options)
    asked = ["try lr=0.3111", "try lr=0.3222", "more-like 0", "try lr=0.3333"]
    for number, command in enumerate(asked):
        wait_for_reports(folder, process, count_reports(folder) + 3)
        count = ["--count=2"] if "more-like" in command else []
        sent = launches.start("ctl", folder, *command.split(), *count, "--wait=0")
        assert sent.wait(PATIENCE_S) == 0, sent.communicate()
        time.sleep(0.7 * number)  # the command may be read, recorded or begun by now
        process.kill()
        process.wait()
        process = launches.start("resume", folder)
    wait_for_reports(folder, process, count_reports(folder) + 3)
    wait_until(process, "all trials begun", lambda: len(_asked_for(folder)) == 5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert_no_traceback(stderr)
    tries = sorted(r.params["lr"] for r in _asked_for(folder) if "try" in r.note)
    assert tries == [0.3111, 0.3222, 0.3333]
    assert len(_asked_for(folder)) == 5
    commands = load_results(folder).commands
    assert [record.command.name for record in commands] == ["try", "try", "more-like", "try"]


def _asked_for(folder: Path) -> list[TrialRecord]:
    return [record for record in run_records(folder) if record.asked_by]
