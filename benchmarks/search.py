"""Comparison of samplers, rules and settings of a search, simulated on recorded curves.

Command: ``python -m benchmarks.search``. The decisions are those of a run, on a virtual clock.
    Scores are shares: 0 is the best recorded score of a pair, 1 is the score of the untouched
    content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    on_one_thread,
    progress,
    publish,
    run,
)
from benchmarks.support.curves import COMMITTED, load_curves
from benchmarks.support.runs import REDUCTION
from benchmarks.support.search_tables import (
    Measured,
    budget_rows,
    draw,
    pair_rows,
    share_of_random,
    way_rows,
)
from benchmarks.support.simulated_searches import (
    EARLY,
    GRID_S,
    LATE,
    RANDOM_TRIALS,
    STEPS,
    WORKERS,
    compare,
    scaling,
    traces,
)
from tuner.job.spec import RULES, Rule, SamplerName

SEEDS, QUICK_SEEDS = 20, 3
SCALE_WORKERS = (1, 4, 16, 64, 256, 1000)
SCALE_TRIALS, QUICK_SCALE_TRIALS = 10_000, 1_000
SAMPLERS: tuple[SamplerName, ...] = ("tpe", "random", "sobol", "cmaes", "nsga2")
QUICK_SAMPLERS: tuple[SamplerName, ...] = ("tpe", "random")
#: What others are compared with. The default sampler, a Gaussian process, takes a second for a draw
#: in the space of the recorded curves, so `benchmarks.live` alone measures it.
DEFAULT: tuple[SamplerName, Rule] = ("tpe", "promote")
#: Number of seeds of comparisons by pair and seed.
FEWER_SEEDS = 5
#: Number of trials for the time of a decision with samplers that take tens of milliseconds.
TIMED_TRIALS = 2_000
#: The same for the Gaussian process, which takes longer, and no longer after `MOST_TRIALS`.
TIMED_TRIALS_OF_GP = 300


#: Settings of TPE that differ from ours in one respect.
TPE_SETTINGS: dict[str, dict[str, Any]] = {
    "ours": {},
    "no groups": {"group": False},
    "each parameter alone": {"group": False, "multivariate": False},
    "no constant liar": {"constant_liar": False},
    "4 random trials first": {"n_startup_trials": 4},
    "16 random trials first": {"n_startup_trials": 16},
    "8 candidates": {"n_ei_candidates": 8},
    "96 candidates": {"n_ei_candidates": 96},
}
#: Pairs of first rung and reduction factor.
LADDERS = ((5, 2), (5, 3), (5, 4), (10, 3), (15, 3), (30, 3))


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = COMMITTED,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    plot: Annotated[Path | None, typer.Option(help="also draw a plot, .png or .svg")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare kinds of searches, and measure how they scale with workers."""
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    recorded = load_curves(curves)
    names = list(recorded.pairs)[:2] if quick else list(recorded.pairs)
    results = measure(curves, names, count, quick=quick)
    if plot:
        draw(results, DEFAULT, plot)
    publish(
        "Search",
        f"{len(names)} pairs x {count} seeds, space `{recorded.space.name}` without initial"
        f" points, rungs from {STEPS[0]} to {STEPS[1]} steps, {WORKERS} workers. Ours is"
        " TPE with promotion. Scores are shares: 0 is the best recorded score, 1"
        " that of the untouched content.",
        sections_of(results, names),
        goals=goals_of(results),
        json_file=json_file,
    )


def sections_of(results: Measured, names: Sequence[str]) -> list[Section]:
    """Return the tables of all results."""
    return [
        Section(title="For the steps of stock Ray Tune", rows=budget_rows(results.traces)),
        Section(title="Pair by pair", rows=pair_rows(results.traces, names)),
        Section(
            title="Sampler and rule",
            text=f"Medians, early and late: at the steps of {EARLY // STEPS[1]} and"
            f" {LATE // STEPS[1]} full trials. Behind ours: mean over budgets between"
            f" {round(GRID_S[0])} and {LATE} steps, with its standard error over the searches.",
            rows=way_rows(("sampler", "rule"), results.table, DEFAULT),
        ),
        Section(
            title="Settings of TPE",
            rows=way_rows(("TPE",), results.tpe, "ours"),
        ),
        Section(
            title="Rungs",
            rows=way_rows(("first rung", "reduction"), results.ladders, (STEPS[0], REDUCTION)),
        ),
        Section(title="Workers", rows=results.scale),
    ]


def measure(curves: Path, names: Sequence[str], seeds: int, *, quick: bool) -> Measured:
    """Run all simulations on all cores."""
    cases = [(name, seed) for seed in range(seeds) for name in names]
    ways = [(s, r) for s in (QUICK_SAMPLERS if quick else SAMPLERS) for r in RULES]
    trials = QUICK_SCALE_TRIALS if quick else SCALE_TRIALS
    scale = [(w, trials, "random") for w in SCALE_WORKERS]
    scale += [] if quick else [(256, TIMED_TRIALS, "tpe"), (WORKERS, TIMED_TRIALS_OF_GP, "gp")]
    fewer = cases[: FEWER_SEEDS * len(names)]

    with (
        progress() as bar,
        ProcessPoolExecutor(initializer=on_one_thread) as pool,
    ):

        def each(
            title: str, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
        ) -> list[Any]:
            done = pool.map(task, *zip(*arguments, strict=True), chunksize=1)
            return list(bar.track(done, total=len(arguments), description=title))

        ours = each("ours, stock and random", compare, [(curves, *case) for case in cases])
        table = each(
            "samplers and rules",
            traces,
            [(curves, fewer, {"sampler": sampler, "rule": rule}) for sampler, rule in ways],
        )
        tpe = each(
            "settings of TPE",
            traces,
            [(curves, fewer, {"sampler": "tpe"}, settings) for settings in TPE_SETTINGS.values()],
        )
        ladders = each(
            "rungs",
            traces,
            [(curves, fewer, {"first": first, "reduction": r}) for first, r in LADDERS],
        )
        return Measured(
            traces=dict(zip(cases, ours, strict=True)),
            table=dict(zip(ways, table, strict=True)),
            tpe=dict(zip(TPE_SETTINGS, tpe, strict=True)),
            ladders=dict(zip(LADDERS, ladders, strict=True)),
            scale=each("workers", scaling, [(curves, names[0], *settings) for settings in scale]),
        )


def goals_of(results: Measured) -> list[Goal]:
    """Return the goals."""
    default_C = results.table[DEFAULT].late_C
    behind = [
        median(default_C[: len(way.late_C)]) - median(way.late_C) for way in results.table.values()
    ]
    rows = budget_rows(results.traces)
    return [
        Goal(
            name=f"steps to the score of {RANDOM_TRIALS} full random trials, share of theirs",
            value=median(map(share_of_random, results.traces.values())),
            goal=0.2,
            at_most=True,
        ),
        Goal(
            name="behind stock at any of its budgets, median share",
            value=max(row["ours"] - row["stock"] for row in rows),
            goal=0,
            at_most=True,
        ),
        Goal(
            name="steps to equal stock, share of its",
            value=max(row["steps to equal stock, share of its"] for row in rows),
            goal=0.75,
            at_most=True,
        ),
        Goal(
            name="least efficiency up to 256 workers",
            value=_least_efficiency(results.scale),
            goal=0.85,
        ),
        Goal(
            name="ours behind the best of sampler and rule, mean over budgets",
            value=abs(min(way.behind(results.table[DEFAULT])[0] for way in results.table.values())),
            goal=0.01,
            at_most=True,
        ),
        Goal(
            name="ours behind the best of sampler and rule, late, on the same courses",
            value=max(behind),
            goal=0.01,
            at_most=True,
        ),
    ]


def _least_efficiency(scale: Sequence[Row]) -> float:
    """Return the lowest efficiency of a random search with up to 256 workers."""
    return min(
        float(row["efficiency"])
        for row in scale
        if row["workers"] <= 256 and row["sampler"] == "random"
    )


if __name__ == "__main__":
    run(main)
