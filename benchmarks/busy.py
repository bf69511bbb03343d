"""Share of their time that engines spend on advancing lanes while trials report very often.

Command: ``python -m benchmarks.busy``. Trials report at evenly spaced steps, so often that the work
between two reports takes 0.5 or 0.1 s of an engine's time. Each report needs a decision of Ray
Tune, the study and the driver, which use the same cores as the engines. Engines would be idle
during these decisions if lanes did not run ahead.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    Pair,
    QuickOption,
    Row,
    Section,
    err,
    pairs_from,
    publish,
    run,
    square,
)
from benchmarks.support.runs import Timeline, on_ray, scratch_search, workload_of
from search_spaces import CATALOGUE
from tuner.search.halving import Halving
from tuner.study.records import EngineStats
from tuner.study.study import load_records

#: Number of trials that run at the same time, on all engines together.
TRIALS_AT_A_TIME = 16
#: Goals: seconds between two reports of a trial -> share of time spent on advancing lanes.
GOALS = {0.5: 0.9, 0.1: 0.7}
#: Approximate duration of a measurement in seconds.
SECONDS, QUICK_SECONDS = 60.0, 15.0
CALIBRATION_STEPS = 60
#: A fast metric, since scoring shares the core of an engine; LPIPS would take as long as a chunk.
METRIC = "rmse"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvenHalving(Halving):
    """A rung after every ``min_steps`` steps; no trial is stopped."""

    def rungs(self, trial: int, max_steps: int) -> tuple[int, ...]:
        """Return the multiples of ``min_steps`` up to ``max_steps``."""
        return tuple(range(self.min_steps, max_steps + 1, self.min_steps))


def main(
    size_px: Annotated[int, typer.Option(help="longer side; small, so that chunks are short")] = 32,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Measure the share of their time that engines spend on advancing lanes."""
    (whole,) = pairs_from(None, count=1)
    # A square image, since the minimum size concerns the shorter side.
    pair = dataclasses.replace(whole, content_3HW=square(whole.content_3HW, 4 * size_px))
    seconds = QUICK_SECONDS if quick else SECONDS
    err.print("calibration")
    first = _run(pair, size_px, every=CALIBRATION_STEPS, steps=CALIBRATION_STEPS)
    engines = len(first)
    step_s = turn_s(first) * sum(s.chunks for s in first) * (TRIALS_AT_A_TIME / engines)
    step_s /= sum(s.lane_steps for s in first)
    rows: list[Row] = []
    goals = []
    for chunk_s, goal in GOALS.items():
        err.print(f"chunks of {chunk_s} s")
        every = max(1, round(chunk_s / step_s))
        steps = every * max(4, round(seconds / (every * step_s)))
        engine_stats = _run(pair, size_px, every=every, steps=steps)
        alive_s = sum(stats.alive_s for stats in engine_stats)
        busy = sum(stats.advancing_s for stats in engine_stats) / alive_s
        rows.append(
            {
                "chunk asked for, s": chunk_s,
                "steps of a chunk": every,
                "chunk, s": turn_s(engine_stats),
                "reports": TRIALS_AT_A_TIME * (steps // every),
                "reports/s": TRIALS_AT_A_TIME * (steps // every) / (alive_s / engines),
                "busy": busy,
            }
        )
        goals.append(Goal(name=f"busy at chunks of {chunk_s} s", value=busy, goal=goal))
    publish(
        "Busy engines",
        f"{TRIALS_AT_A_TIME} thin trials on {engines} engine(s) at {size_px} px, each reporting"
        f" its {METRIC} after every chunk and waiting for a decision. `busy` is the share of an"
        " engine's time, since its first trial, that it spends on advancing lanes; `chunk` is how"
        " long lanes advance without interruption.",
        [Section(title="Share of time", rows=rows)],
        goals=goals,
        json_file=json_file,
    )


def turn_s(stats: list[EngineStats]) -> float:
    """Return the mean seconds of one turn of a batch."""
    return sum(s.advancing_s for s in stats) / sum(s.chunks for s in stats)


def _run(pair: Pair, size_px: int, *, every: int, steps: int) -> list[EngineStats]:
    """Run a job with reports every ``every`` steps; return the statistics of its engines."""
    engines = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        folder.mkdir()
        with scratch_search(
            CATALOGUE["gram"],
            Timeline(),
            trials=TRIALS_AT_A_TIME,
            steps=(every, steps),
            size_px=size_px,
            lanes=max(1, TRIALS_AT_A_TIME // engines),
            sampler="random",
            rule="none",
            objective=METRIC,
            folder=folder,
        ) as (search, job):
            even = {**vars(search._planner.halving), "min_steps": every}
            search._planner.halving = EvenHalving(**even)
            workload = dataclasses.replace(workload_of(pair, size_px), metrics=(METRIC,))
            on_ray(search, job, workload)
        _, notes = load_records(folder)
        return [EngineStats(**stats) for stats in notes["engines"]]


if __name__ == "__main__":
    run(main)
