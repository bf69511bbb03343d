"""Soak test: hundreds of short trials with pruning, divergence and injected out-of-memory errors.

Command: ``python -m benchmarks.soak``. The test checks that every trial ends, that engines hold no
lane at the end, and that memory does not grow. Trials run on Ray; only the out-of-memory errors are
artificial.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Section,
    pairs_from,
    publish,
    run,
)
from benchmarks.support.out_of_memory_engine import CENSUS, OOM_SHARE, SAMPLE_S, OutOfMemoryEngine
from benchmarks.support.runs import Timeline, on_ray, scratch_search, workload_of
from search_spaces import CATALOGUE, Float, Space
from tuner.study.study import load_records

SIZE_PX = 48
TRIALS, QUICK_TRIALS = 500, 60
STEPS = (4, 36)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of the soak test.

    Attributes:
        states: number of trials by final state.
        reasons: number of failed trials by reason, without the step.
        unaccounted: number of trials whose end the study or the callback missed.
        leftover: number of trials and lanes that engines still held at their end.
        engine_growth: `growth` of the resident memory of the engine that grew most.
        driver_growth: `growth` of the resident memory of the driver.
        seconds: duration.
    """

    states: Counter[str]
    reasons: Counter[str]
    unaccounted: int
    leftover: int
    engine_growth: float
    driver_growth: float
    seconds: float


def main(
    trials: Annotated[int | None, typer.Option(help="trials in all")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Run the soak test."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    outcome = soak(trials)
    rows = [{"outcome": name, "trials": count} for name, count in sorted(outcome.states.items())]
    reasons = [{"reason": name, "trials": count} for name, count in outcome.reasons.most_common()]
    publish(
        "Soak",
        f"{trials} trials of {STEPS[0]} to {STEPS[1]} steps at {SIZE_PX} px in"
        f" {outcome.seconds:.0f} s; {OOM_SHARE:.0%} of turns of batches ran out of"
        " memory, and some learning rates were large enough to make trials diverge.",
        [Section(title="Trials", rows=rows), Section(title="Failures", rows=reasons)],
        goals=[
            Goal(name="trials accounted for", value=trials - outcome.unaccounted, goal=trials),
            Goal(
                name="trials and lanes left in the engine",
                value=outcome.leftover,
                goal=0,
                at_most=True,
            ),
            Goal(name="growth of the engine", value=outcome.engine_growth, goal=1.1, at_most=True),
            Goal(name="growth of the driver", value=outcome.driver_growth, goal=1.1, at_most=True),
        ],
        json_file=json_file,
    )


def soak(trials: int) -> Outcome:
    """Run ``trials`` trials and return the outcome."""
    (pair,) = pairs_from(None, count=1)
    timeline, memory = Timeline(), _MemorySampler()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder, census = Path(scratch) / "run", Path(scratch) / "census.jsonl"
        folder.mkdir()
        os.environ[CENSUS] = str(census)
        with (
            scratch_search(
                explosive_space(),
                timeline,
                trials=trials,
                steps=STEPS,
                size_px=SIZE_PX,
                lanes=8,
                sampler="random",
                folder=folder,
            ) as (search, job),
            memory,
        ):
            on_ray(search, job, workload_of(pair, SIZE_PX), OutOfMemoryEngine)
        records, _ = load_records(folder)
        engines: dict[int, list[dict[str, int]]] = {}
        for line in census.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            engines.setdefault(sample["pid"], []).append(sample)
    states = Counter(record.state for record in records)
    over = {n for n in timeline.ended_s} & {r.trial for r in records if r.state != "running"}
    reasons = Counter(
        r.reason.split(": ", 1)[-1] for r in records if r.state == "failed" and r.reason
    )
    return Outcome(
        states=states,
        reasons=reasons,
        unaccounted=trials - len(over),
        leftover=sum(samples[-1]["trials"] + samples[-1]["lanes"] for samples in engines.values()),
        engine_growth=max(growth([s["rss"] for s in samples]) for samples in engines.values()),
        driver_growth=growth(memory.rss),
        seconds=time.perf_counter() - started,
    )


def explosive_space() -> Space:
    """Return the space `gram` with learning rates up to values at which every trial diverges."""
    gram = CATALOGUE["gram"]
    params = {**gram.params, "lr": Float(low=0.005, high=1e3, log=True)}
    fixed = {**gram.fixed, "clamp": "save"}
    return Space(name="explosive", why="so that trials fail", params=params, fixed=fixed)


def growth(rss: Sequence[int]) -> float:
    """Return the median of the last fifth over that of the second fifth; the first is startup."""
    fifth = max(1, len(rss) // 5)
    return median(rss[-fifth:]) / median(rss[fifth : 2 * fifth])


class _MemorySampler:
    """Context manager that samples the resident memory of this process."""

    def __init__(self) -> None:
        self.rss: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.rss.append(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    run(main)
