"""Launches that are killed and resumed again and again, for minutes: `scripts/test --faults`."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.tuner.helpers import noisy_space
from tests.tuner.processes import (
    Launches,
    assert_no_traceback,
    cluster_with_head,
    count_logged,
    finished_trials,
    has_message,
    log_events,
    run_records,
    set_options,
)
from tuner.cluster.limits import RAY_DID_NOT_START
from tuner.results.results import Results, load_results
from tuner.study.records import TrialRecord

pytestmark = pytest.mark.faults

#: Number of killed launches, and how many of them must have had a running trial with a report.
KILLS, HITS = 50, 25
#: In the run whose decisions are compared: kills at each kind of moment, how many of these must
#: have had a running trial, and kills during the finals.
KILLS_PER_MOMENT, HITS_OF_MOMENTS, KILLS_OF_FINALS = 5, 20, 4
#: Seconds until a launch is running, and until it is over, on a machine that is busy.
STARTS_WITHIN_S, ENDS_WITHIN_S = 300, 3600
#: The processes of a run end with its driver; Ray needs some seconds to notice.
GONE_WITHIN_S = 60
#: Environment variable that marks all processes that a test starts.
MARK = "NST_TUNER_TEST_RUN"
#: The last log messages before a launch is killed.
MOMENTS = ("is up", "reported", "is paused", "is scheduled", "ended", "saved its lanes")


def marked_processes(mark: str) -> list[psutil.Process]:
    """Return all running processes whose environment has this mark."""
    marked = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                marked.append(process)
        except psutil.Error:
            continue
    return marked


class WatchedLaunch:
    """A launch whose log is watched, to kill it at a chosen moment.

    Args:
        process: the launch.
        folder: its run directory.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path):
        self._process, self._folder = process, folder
        self._before = len(log_events(folder))

    def starts(self) -> bool:
        """Wait until an engine is up; return False if the machine is too busy to start Ray."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while self._process.poll() is None and not self._count(has_message("is up")):
            assert time.monotonic() < deadline, "no engine starts"
            time.sleep(0.05)
        if self._process.poll() is None:
            return True
        _, stderr = self._process.communicate()
        assert RAY_DID_NOT_START in stderr, stderr
        assert_no_traceback(stderr)
        return False

    def wait_for(self, is_wanted: Callable[[Mapping[str, Any]], bool], times: int = 1) -> None:
        """Wait until this launch has logged so many events of the wanted kind."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while self._count(is_wanted) < times:
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline, "nothing happens"
            time.sleep(0.05)

    def _count(self, is_wanted: Callable[[Mapping[str, Any]], bool]) -> int:
        return sum(map(is_wanted, log_events(self._folder)[self._before :]))

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self._process.poll() is None, self._process.communicate()
        self._process.kill()
        self._process.wait()


def unfinished_trials(folder: Path) -> list[TrialRecord]:
    """Return the trials that a killed launch left unfinished, running or paused."""
    return [record for record in run_records(folder) if record.state == "running"]


def start_or_resume(
    launches: Launches, folder: Path, job_file: Path, options: list[str], *address: object
) -> WatchedLaunch:
    """Launch a run, or resume it if it has begun."""
    if (folder / "study.journal").exists():
        return WatchedLaunch(launches.start("resume", folder, *address), folder)
    command = ["launch", job_file, "--run-dir", folder, *options, *address]
    return WatchedLaunch(launches.start(*command), folder)


def completes(launches: Launches, *arguments: object) -> None:
    """Run a command to its end and assert that it succeeds without a traceback."""
    process = launches.start(*arguments)
    _, stderr = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0, stderr
    assert_no_traceback(stderr)


@pytest.mark.timeout(14400)
def test_a_run_killed_at_random_moments_ends_like_an_unbroken_one(
    job_file: Path, tmp_path: Path, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed 50 times at any moment and resumed has the same scores as an unbroken run.

    No finished trial is lost or repeated, and no process stays behind.
    """
    # With one lane per engine, random draws and no halving, the result of a trial does not depend
    # on when it ran.
    options = set_options(
        *("search.trials=300", "search.sampler=random", "halving.max_steps=18"),
        *("halving.rule=none", "resources.lanes=1"),
    )
    completes(launches, "launch", job_file, "--run-dir", tmp_path / "whole", *options)
    monkeypatch.setenv(MARK, str(tmp_path))
    folder, rng = tmp_path / "broken", random.Random(0)
    before: dict[int, object] = {}
    kills = hits = 0
    while kills < KILLS:
        launch = start_or_resume(launches, folder, job_file, options)
        if kills % 5:
            if not launch.starts():
                continue
            launch.wait_for(has_message("reported"), rng.randrange(12))
            time.sleep(rng.uniform(0, 0.3))
        else:  # every fifth launch is killed while it starts
            time.sleep(rng.uniform(0.5, 9))
        launch.kill()
        kills += 1
        hits += any(record.rungs for record in unfinished_trials(folder))
        after = finished_trials(folder)
        assert before.items() <= after.items()
        before = dict(after)
    assert hits >= HITS
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := marked_processes(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left
    completes(launches, "resume", folder)
    assert count_logged(folder, "resumed from its saved lanes") >= HITS
    expected, results = finished_trials(tmp_path / "whole"), finished_trials(folder)
    assert sorted(results) == sorted(expected)
    for trial, (state, scores) in expected.items():
        assert results[trial][0] == state
        assert results[trial][1] == pytest.approx(scores, rel=1e-4)


@pytest.mark.timeout(14400)
def test_a_run_killed_at_its_decisions_decides_the_same(
    job_file: Path, tmp_path: Path, launches: Launches
) -> None:
    """A run killed at its decisions and in its finals makes the same decisions as an unbroken run.

    With one lane in total, reports come in the same order, so all decisions must be the same.
    """
    # With random draws, as many trials are paused late in the run as early.
    trials = 200
    options = set_options(
        *(f"search.trials={trials}", "search.sampler=random", "search.presets=false"),
        "halving.max_steps=54",
        *("resources.lanes=1", "finals={count: 2, seeds: 3}", noisy_space(tmp_path)),
    )
    whole, folder, rng = tmp_path / "whole", tmp_path / "broken", random.Random(0)
    with cluster_with_head(1) as cluster:
        address = ("--address", cluster.address)
        completes(launches, "launch", job_file, "--run-dir", whole, *options, *address)
        options += set_options(f"search.replay={whole}")
        moments = [*MOMENTS] * KILLS_PER_MOMENT
        rng.shuffle(moments)
        hits = 0
        for moment in moments:
            launch = start_or_resume(launches, folder, job_file, options, *address)
            launch.wait_for(has_message("is up"))
            launch.wait_for(has_message(moment), rng.randrange(1, 4) if moment != "is up" else 1)
            time.sleep(rng.uniform(0, 0.2))
            launch.kill()
            hits += left_a_running_trial(folder)
        assert hits >= HITS_OF_MOMENTS
        for _ in range(KILLS_OF_FINALS):
            launch = start_or_resume(launches, folder, job_file, options, *address)
            launch.wait_for(lambda event: event.get("trial", 0) >= trials)
            time.sleep(rng.uniform(0, 1))
            launch.kill()
            assert all(record.final_of is not None for record in unfinished_trials(folder))
        completes(launches, "resume", folder, *address)
    assert count_logged(folder, "resumed from its saved lanes") >= KILLS_PER_MOMENT
    assert_same_run(load_results(folder), load_results(whole))


def left_a_running_trial(folder: Path) -> bool:
    """Return whether a killed launch left a trial that was running on its engine, not paused."""
    last_message: dict[int, str] = {}
    for event in log_events(folder):
        if "trial" in event:
            last_message[event["trial"]] = event["message"]
    unfinished = unfinished_trials(folder)
    return any(
        not last_message.get(record.trial, "").endswith("is paused") for record in unfinished
    )


def assert_same_run(results: Results, expected: Results) -> None:
    """Assert that all decisions and scores of two runs are the same."""
    assert {record.state for record in expected.records} >= {"complete", "pruned"}
    assert sum(record.final_of is not None for record in expected.records) == 6
    assert len(results.records) == len(expected.records)
    for record, same in zip(results.records, expected.records, strict=True):
        assert decisions(record) == decisions(same)
        scores = {steps: rung.objective for steps, rung in same.rungs.items()}
        found = {steps: rung.objective for steps, rung in record.rungs.items()}
        assert found == pytest.approx(scores, rel=1e-4)
    best, expected_best = results.ranked()[0], expected.ranked()[0]
    assert (best.record.trial, best.steps) == (expected_best.record.trial, expected_best.steps)
    assert results.score(best) == pytest.approx(expected.score(expected_best), rel=1e-4)


def decisions(record: TrialRecord) -> tuple[object, ...]:
    """Return everything that the search decided about a trial."""
    params = dict(record.params)
    return (record.trial, record.state, record.reason, record.final_of, params, list(record.rungs))
