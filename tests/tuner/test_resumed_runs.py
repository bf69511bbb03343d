"""Real runs on the inline backend that are interrupted and resumed."""

import contextlib
from pathlib import Path

import pytest

from nst_core.errors import RunInterruptedError
from tests.tuner.helpers import Recorder, launch_run, trial_summaries
from tuner.job.load import load_job
from tuner.results.as_json import status_json
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.study.records import RungRecord


class InterruptingCallback(Recorder):
    """A callback that interrupts the driver at a report.

    Args:
        reports: the number of the report, from 1.
    """

    def __init__(self, reports: int):
        super().__init__()
        self._left = reports

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        super().reported(trial, steps, rung)
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("reports", [3, 7])
def test_trials_continue_from_their_saved_lanes(
    job_file: Path, tmp_path: Path, reports: int
) -> None:
    """After an interruption a trial repeats at most the steps since its last rung."""
    overrides = ("search.presets=false", "resources.lanes=2", "halving.max_steps=18")
    job, space = load_job(job_file, overrides)
    for name in ("whole", "broken"):
        callback = InterruptingCallback(reports) if name == "broken" else Recorder()
        with contextlib.suppress(RunInterruptedError):
            run_job(job, space, tmp_path / name, InlineBackend(), callback=callback, say=print)
    assert list((tmp_path / "broken").glob("trials/*/lanes.safetensors"))
    resume_run(tmp_path / "broken", InlineBackend(), callback=Recorder(), say=print)
    whole, broken = (load_results(tmp_path / name) for name in ("whole", "broken"))
    assert [r.params for r in broken.records] == [r.params for r in whole.records]
    (stats,) = broken.engines  # of the second launch only: the first one could not save its own
    left = sum(max(r.rungs) for r in broken.records) - sum(
        max((s for t, s in callback.reached if t == r.trial), default=0) for r in broken.records
    )
    assert stats.lane_steps - stats.lane_steps_lost <= left + 2 * 12
    assert not list((tmp_path / "broken").glob("trials/*/lanes.safetensors"))


def test_a_trial_with_damaged_lanes_starts_again(job_file: Path, tmp_path: Path) -> None:
    """A trial whose saved lanes cannot be read runs again from its first step, with a note."""
    halving = ("halving.rule=none", "halving.max_steps=18")
    job, space = load_job(job_file, ["search.presets=false", "search.trials=3", *halving])
    callback = InterruptingCallback(5)
    with contextlib.suppress(RunInterruptedError):
        run_job(job, space, tmp_path / "a", InlineBackend(), callback=callback, say=print)
    (saved,) = (tmp_path / "a").glob("trials/*/lanes.safetensors")
    saved.write_bytes(saved.read_bytes()[:100])
    resume_run(tmp_path / "a", InlineBackend(), callback=Recorder(), say=print)
    results = load_results(tmp_path / "a")
    assert status_json(results)["finished"]
    (note,) = [r.note for r in results.records if r.note]
    assert note.startswith("its saved lanes could not be used, so the trial began again: ")


class InterruptingBackend:
    """A backend that is interrupted after some reports.

    Args:
        after: number of reports that the search still receives.
    """

    def __init__(self, after: int):
        self._after = after

    def run(self, search, workload, job) -> None:  # type: ignore[no-untyped-def]
        original, left = search.report, [self._after]

        def report(*arguments):  # type: ignore[no-untyped-def]
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(*arguments)

        search.report = report
        InlineBackend().run(search, workload, job)


def test_a_resumed_run_ends_like_an_unbroken_one(job_file: Path, tmp_path: Path) -> None:
    """An interrupted and resumed run has the same trials as a run without interruption."""
    launch_run(job_file, tmp_path / "whole", InlineBackend(), "resources.lanes=1")
    with pytest.raises(RunInterruptedError):
        launch_run(job_file, tmp_path / "broken", InterruptingBackend(7), "resources.lanes=1")
    assert load_results(tmp_path / "broken").counts()["running"] == 1
    resume_run(tmp_path / "broken", InlineBackend(), callback=Recorder(), say=print)
    assert trial_summaries(tmp_path / "broken") == trial_summaries(tmp_path / "whole")
