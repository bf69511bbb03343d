"""Hundreds of short trials with prunings, divergences and injected lacks of memory.

Whether every trial is accounted for, no lane is left behind, and memory stays flat. The trials are
real, on a real Ray; only the lack of memory is made up, by an error in the middle of a batch.
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
from benchmarks.support.lacking_engine import CENSUS, LACKING, SAMPLE_S, LackingEngine
from benchmarks.support.runs import Timeline, on_ray, scratch_search, workload_of
from search_spaces import CATALOGUE, Float, Space
from tuner.study.study import load_records

SIZE_PX = 48
TRIALS, QUICK_TRIALS = 500, 60
STEPS = (4, 36)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a soak came to.

    Attributes:
        states: trials by how they ended.
        reasons: failed trials by why, without the step.
        unaccounted: trials of which the study or the callback was not told that they ended.
        left: trials and lanes that the engines still held at their end.
        engine_growth: resident memory of an engine, last fifth over second fifth; the worst.
        driver_growth: the same of the driver.
        seconds: of it all.
    """

    states: Counter[str]
    reasons: Counter[str]
    unaccounted: int
    left: int
    engine_growth: float
    driver_growth: float
    seconds: float


def main(
    trials: Annotated[int | None, typer.Option(help="trials in all")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Soak an engine and a driver, and look at what is left."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    found = soak(trials)
    rows = [{"outcome": name, "trials": count} for name, count in sorted(found.states.items())]
    reasons = [{"reason": name, "trials": count} for name, count in found.reasons.most_common()]
    publish(
        "Soak",
        f"{trials} trials of {STEPS[0]} to {STEPS[1]} steps at {SIZE_PX} px in"
        f" {found.seconds:.0f} s; a turn of a batch ran out of memory in {LACKING:.0%} of cases,"
        " and learning rates were drawn up to where pictures explode.",
        [Section(title="Trials", rows=rows), Section(title="Failures", rows=reasons)],
        goals=[
            Goal(name="trials accounted for", value=trials - found.unaccounted, goal=trials),
            Goal(
                name="trials and lanes left in the engine", value=found.left, goal=0, at_most=True
            ),
            Goal(name="growth of the engine", value=found.engine_growth, goal=1.1, at_most=True),
            Goal(name="growth of the driver", value=found.driver_growth, goal=1.1, at_most=True),
        ],
        json_file=json_file,
    )


def soak(trials: int) -> Outcome:
    """Run so many trials and look at what is left."""
    (pair,) = pairs_from(None, count=1)
    timeline, memory = Timeline(), _Memory()
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
            on_ray(search, job, workload_of(pair, SIZE_PX), LackingEngine)
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
        left=sum(samples[-1]["trials"] + samples[-1]["lanes"] for samples in engines.values()),
        engine_growth=max(growth([s["rss"] for s in samples]) for samples in engines.values()),
        driver_growth=growth(memory.rss),
        seconds=time.perf_counter() - started,
    )


def explosive_space() -> Space:
    """The space `gram` with learning rates far beyond what any picture survives."""
    gram = CATALOGUE["gram"]
    params = {**gram.params, "lr": Float(low=0.005, high=1e3, log=True)}
    fixed = {**gram.fixed, "clamp": "save"}
    return Space(name="explosive", why="so that trials fail", params=params, fixed=fixed)


def growth(rss: Sequence[int]) -> float:
    """Last fifth over second fifth: the first one is start-up."""
    fifth = max(1, len(rss) // 5)
    return median(rss[-fifth:]) / median(rss[fifth : 2 * fifth])


class _Memory:
    """Samples this process's resident memory while it is entered."""

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
