"""Cost of decisions: trials per second, use of slots, ask and tell.

Command: ``python -m benchmarks.control``. A complete run is measured: Ray Tune, the searcher and
    the scheduler, trial processes, an engine actor, and the study on disk. Only the engine's work
    is replaced by a formula or a pause. The comparison is stock Ray Tune with OptunaSearch and ASHA
    on the same formula.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, redirect_stdout
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

from benchmarks.support.common import Goal, JsonOption, QuickOption, Row, Section, err, publish, run
from benchmarks.support.formula_engine import (
    LANES,
    MAX_STEPS,
    FormulaEngine,
    QuickSleepingEngine,
    SingleReportsEngine,
    SleepingEngine,
    TurnsEngine,
    objective,
)
from benchmarks.support.runs import Timeline, on_ray, scratch_search, steady_rate
from nst_core.config import StyleConfig
from nst_core.metrics.registry import METRICS
from search_spaces import CATALOGUE
from tuner.job.spec import JobSpec
from tuner.results.as_json import best_json, status_json
from tuner.results.results import Results
from tuner.search.search import Search
from tuner.study.records import Report
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records

#: Number of trials of a complete run.
TRIALS, QUICK_TRIALS = 400, 60
#: One engine per core, and about 16 trials at the same time on all engines together.
CORES = os.cpu_count() or 1
SLOTS = CORES * LANES
#: First and last rung of the trials whose reports are counted: 17 reports each, or 11.
REPORT_STEPS, QUICK_REPORT_STEPS = (1, 2**16), (1, 2**10)
#: How often each way to report is measured, in turn.
REPORT_RUNS, QUICK_REPORT_RUNS = 3, 1
#: Number of trials whose work is a pause.
SLEEPING_TRIALS, QUICK_SLEEPING_TRIALS = 96, 32
#: Numbers of trials in a study before ask and tell are measured, and number of measured trials.
ASKS, QUICK_ASKS = (1_000, 10_000), (200,)
ASKED = 100


def main(quick: QuickOption = False, json_file: JsonOption = None) -> None:
    """Measure the control plane against stock OptunaSearch and ASHA."""
    trials = QUICK_TRIALS if quick else TRIALS
    err.print("ours")
    ours = complete_run(trials, FormulaEngine, rungs=True)
    err.print("stock")
    theirs = stock(trials)
    err.print("slots")
    sleeping = QUICK_SLEEPING_TRIALS if quick else SLEEPING_TRIALS
    engine = QuickSleepingEngine if quick else SleepingEngine
    use = slot_use(complete_run(sleeping, engine, rungs=False), engine.TRIAL_S)
    rate = steady_rate(ours.ended_s.values(), SLOTS)
    asks = [ask_and_tell(n) for n in (QUICK_ASKS if quick else ASKS)]
    err.print("reports")
    reports = report_rates(quick=quick)
    rows: list[Row] = [
        {"way": "ours", "trials": trials, "trials/s": rate},
        {"way": "stock OptunaSearch + ASHA", "trials": trials, "trials/s": theirs},
    ]
    slots: list[Row] = [
        {"slots": SLOTS, "seconds of a trial": engine.TRIAL_S, "trials": sleeping, "use": use}
    ]
    publish(
        "The control plane",
        f"Trials whose work takes no time, {SLOTS} at a time; start-up left out.",
        [
            Section(title="Trials a second", rows=rows),
            Section(title="Reports a second, after all trials have begun", rows=reports),
            Section(title="Use of slots", rows=slots),
            Section(title="Ask and tell, as the study grows", rows=asks),
        ],
        goals=[
            Goal(name="trials/s", value=rate, goal=10),
            Goal(name="reports/s", value=reports[0]["reports/s"], goal=40),
            Goal(name="use of slots", value=use, goal=0.95),
            Goal(
                name=f"seconds for status and best at {asks[-1]['trials']} trials",
                value=asks[-1]["status and best, s"],
                goal=2,
                at_most=True,
            ),
            Goal(
                name=f"ask + tell p95 at {asks[0]['trials']} trials, ms",
                value=asks[0]["p95 ms"],
                goal=50,
                at_most=True,
            ),
        ],
        json_file=json_file,
    )


def complete_run(trials: int, engine: type, *, rungs: bool) -> Timeline:
    """Run a search on Ray with a given engine class; return when trials began and ended."""
    timeline = Timeline()
    with _search(trials, timeline, rungs=rungs) as (search, job):
        on_ray(search, job, engine=engine)
    return timeline


def _search(
    trials: int, callback: Timeline, *, rungs: bool, **options: Any
) -> AbstractContextManager[tuple[Search, JobSpec]]:
    steps = (10 if rungs else MAX_STEPS, MAX_STEPS)
    space = CATALOGUE["gram"]
    return scratch_search(space, callback, trials=trials, steps=steps, lanes=LANES, **options)


def report_rates(*, quick: bool) -> list[Row]:
    """Return the reports per second with and without the reports of a turn in one call.

    All trials run from the first to the last rung at the same time. Time counts from the moment at
    which every trial has reported once, so that no start of a process is in it. The two ways
    alternate, and each row is the median of its runs.
    """
    steps = QUICK_REPORT_STEPS if quick else REPORT_STEPS
    rates: dict[type, list[float]] = {TurnsEngine: [], SingleReportsEngine: []}
    for _ in range(QUICK_REPORT_RUNS if quick else REPORT_RUNS):
        for engine, found in rates.items():
            timeline = Timeline()
            options: Any = {"steps": steps, "reduction": 2, "rule": "none", "sampler": "random"}
            space = CATALOGUE["gram"]
            with scratch_search(space, timeline, trials=SLOTS, lanes=LANES, **options) as parts:
                on_ray(*parts, engine=engine)
            found.append(sustained_reports(timeline))
    ways = ("reports of a turn in one call", "each report in its own call")
    return [
        {"way": way, "trials": SLOTS, "reports/s": median(found)}
        for way, found in zip(ways, rates.values(), strict=True)
    ]


def sustained_reports(timeline: Timeline) -> float:
    """Return the reports per second from the first moment at which every trial has reported."""
    first: dict[int, float] = {}
    for report in timeline.reports:
        first.setdefault(report.trial, report.at_s)
    begin = max(first.values())
    later = [report.at_s for report in timeline.reports if report.at_s > begin]
    return len(later) / (max(later) - begin)


def slot_use(clock: Timeline, trial_s: float) -> float:
    """Return the share of slot time spent on trials, between the first end and the last start.

    Slots at the end of a run do not count: they are idle because no trial is left.
    """
    begin, end = min(clock.ended_s.values()), max(clock.began_s.values())
    worked_s = 0.0
    for ended in clock.ended_s.values():
        worked_s += max(0.0, min(ended, end) - max(ended - trial_s, begin))
    return worked_s / (SLOTS * (end - begin))


def ask_and_tell(trials: int) -> Row:
    """Measure a study with many trials.

    Returns:
        Milliseconds to plan and to report one more trial; seconds that the commands `status` and
        `best` need for their data; memory of the driver process.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _play(trials, Path(scratch), sampler="random")
        taken = _play(trials + ASKED, Path(scratch), sampler="gp")
        memory = psutil.Process().memory_info().rss
        started = time.perf_counter()
        _query(Path(scratch))
        query_s = time.perf_counter() - started
    return {
        "trials": trials,
        "median ms": 1000 * median(taken),
        "p95 ms": 1000 * quantiles(taken, n=20)[-1],
        "status and best, s": query_s,
        "driver, MB": memory / 1e6,
    }


def _query(folder: Path) -> None:
    """Do the work of the commands `status` and `best`."""
    with _search(1, Timeline(), rungs=False) as (_, job):
        records, notes = load_records(folder)
        results = Results(run=RunDir(folder), job=job, records=records, notes=notes)
        status_json(results)
        best_json(results, 10)


def _play(trials: int, folder: Path, *, sampler: str) -> list[float]:
    """Fill a study up to ``trials`` trials; return the seconds of each new one."""
    taken: list[float] = []
    with _search(trials, Timeline(), rungs=False, sampler=sampler, folder=folder) as (search, _):
        while True:
            started = time.perf_counter()
            plan = search.next()
            if plan is None:
                return taken
            assert isinstance(plan.config, StyleConfig)
            scores = dict.fromkeys(METRICS, objective(plan.config, MAX_STEPS))
            report = Report(trial=plan.trial, steps=MAX_STEPS, scores=scores, pair_scores=[scores])
            search.report(report, lambda: [b""])
            taken.append(time.perf_counter() - started)


def stock(trials: int) -> float:
    """Return the trials per second of stock Ray Tune on the same formula, with as many slots."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    from tuner.cluster.connection import connected

    space = {
        "style_weight": tune.loguniform(1e-2, 1e4),
        "lr": tune.loguniform(1e-3, 0.3),
    }
    ends: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    with connected(None), tempfile.TemporaryDirectory() as scratch, redirect_stdout(None):
        search = ConcurrencyLimiter(OptunaSearch(metric="score", mode="min", seed=0), SLOTS)
        tuner = tune.Tuner(
            tune.with_resources(_formula_trial(), {"cpu": 0.001}),
            param_space=space,
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=ASHAScheduler(
                    time_attr="steps", metric="score", mode="min", max_t=MAX_STEPS, grace_period=10
                ),
                num_samples=trials,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[Ends()],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    return steady_rate(ends, SLOTS)


def _formula_trial() -> type:
    """Return a Trainable class; a function, since Ray needs settings before its import."""
    from ray import tune

    class FormulaTrial(tune.Trainable):
        """The formula as a stock Trainable with the same rungs."""

        def setup(self, config: dict[str, Any]) -> None:
            """Begin a trial."""
            self._style = StyleConfig(style_weight=config["style_weight"], lr=config["lr"])
            self._rungs = [10, 30, MAX_STEPS]

        def step(self) -> dict[str, Any]:
            """Report the next rung."""
            steps = self._rungs.pop(0)
            return {"score": objective(self._style, steps), "steps": steps, "done": not self._rungs}

        def reset_config(self, new_config: Mapping[str, Any]) -> bool:
            """Begin another trial in the same process."""
            self.setup(dict(new_config))
            return True

    return FormulaTrial


if __name__ == "__main__":
    run(main)
