"""Search on recorded curves: the same decisions as in a run, on a virtual clock.

Scores are shares: 0 is the best score recorded for a pair, 1 that of the untouched content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    progress,
    publish,
    run,
)
from benchmarks.courses import (
    BUDGETS,
    COLD_TRIALS,
    EARLY,
    GRID_S,
    LATE,
    RANDOM_TRIALS,
    REDUCTION,
    STEPS,
    WORKERS,
    Found,
    compare,
    courses,
    scaling,
    suggestion_row,
    warm_against_cold,
)
from tuner.curves import SHIPPED, load_curves
from tuner.halving import RULES, Rule
from tuner.job import SamplerName
from tuner.simulate import Course

SEEDS, QUICK_SEEDS = 20, 3
SCALE_WORKERS = (1, 4, 16, 64, 256, 1000)
SCALE_TRIALS, QUICK_SCALE_TRIALS = 10_000, 1_000
SAMPLERS: tuple[SamplerName, ...] = ("tpe", "random", "sobol", "cmaes", "nsga2", "gp")
QUICK_SAMPLERS: tuple[SamplerName, ...] = ("tpe", "random")
#: A Gaussian process takes a minute for a course in which the others take a second.
GP_COURSES = 16
#: What a job does if it says nothing else.
DEFAULT: tuple[SamplerName, Rule] = ("tpe", "promote")


def _best_quarter(trials: int) -> int:
    """How many trials TPE counts as good: more than Optuna's tenth."""
    return min(-(-trials // 4), 25)


#: Other settings of TPE, each one step from ours.
TPE_SETTINGS: dict[str, dict[str, Any]] = {
    "ours": {},
    "no groups": {"group": False},
    "each parameter alone": {"group": False, "multivariate": False},
    "no constant liar": {"constant_liar": False},
    "4 random trials first": {"n_startup_trials": 4},
    "16 random trials first": {"n_startup_trials": 16},
    "8 candidates": {"n_ei_candidates": 8},
    "96 candidates": {"n_ei_candidates": 96},
    "the best quarter is good": {"gamma": _best_quarter},
}
#: First rungs and reductions.
LADDERS = ((5, 3), (10, 2), (10, 3), (10, 4), (30, 3))


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = SHIPPED,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    plot: Annotated[Path | None, typer.Option(help="also draw the courses, .png or .svg")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare ways to search, and measure how searching scales."""
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    recorded = load_curves(curves)
    names = list(recorded.pairs)[:2] if quick else list(recorded.pairs)
    found = measure(curves, names, count, quick=quick)
    if plot:
        draw(found, plot)
    publish(
        "Search",
        f"{len(names)} pairs x {count} seeds, space `{recorded.space.name}` without its starts,"
        f" rungs from {STEPS[0]} to {STEPS[1]} steps, {WORKERS} workers; shares of the way from"
        " the best recorded score (0) to the untouched content (1).",
        [
            Section(title="For the steps of stock Ray Tune", rows=budget_rows(found.courses)),
            Section(title="Pair by pair", rows=pair_rows(found.courses, names)),
            Section(
                title="Sampler and rule",
                text=f"Medians, early and late: at the steps of {EARLY // STEPS[1]} and"
                f" {LATE // STEPS[1]} full trials. Behind the default: mean over budgets between"
                f" {round(GRID_S[0])} and {LATE} steps, with its standard error over the courses.",
                rows=way_rows(("sampler", "rule"), found.table, DEFAULT),
            ),
            Section(
                title="Settings of TPE",
                rows=way_rows(("TPE",), found.tpe, "ours"),
            ),
            Section(
                title="Rungs",
                rows=way_rows(("first rung", "reduction"), found.ladders, (STEPS[0], REDUCTION)),
            ),
            Section(
                title="Suggestions, leaving the pair out",
                text="Shares that the settings reach which `nst-tuner suggest` names.",
                rows=[suggestion_row(recorded, name) for name in names],
            ),
            Section(
                title="Warm starts, leaving the pair out",
                text=f"Medians of searches with {COLD_TRIALS} trials. Trials until the share that"
                f" the cold one ends with; {2 * COLD_TRIALS} stands for never.",
                rows=warm_rows(found.warm),
            ),
            Section(title="Workers", text=f"{found.scale_trials} trials.", rows=found.scale),
        ],
        goals=goals_of(found),
        json_file=json_file,
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured.

    Attributes:
        courses: of ours, stock and random, by pair and seed.
        table: by sampler and rule.
        tpe: by settings of TPE.
        ladders: by first rung and reduction.
        warm: best shares by trials, warm and cold, of each seed, by pair.
        scale: of numbers of workers.
        scale_trials: of these runs.
    """

    courses: Mapping[tuple[str, int], dict[str, Course]]
    table: Mapping[tuple[SamplerName, Rule], Found]
    tpe: Mapping[str, Found]
    ladders: Mapping[tuple[int, int], Found]
    warm: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]
    scale: Sequence[Row]
    scale_trials: int


def measure(curves: Path, names: Sequence[str], seeds: int, *, quick: bool) -> Measured:
    """Everything, on all cores."""
    cases = [(name, seed) for seed in range(seeds) for name in names]
    ways = [(s, r) for s in (QUICK_SAMPLERS if quick else SAMPLERS) for r in RULES]
    trials = QUICK_SCALE_TRIALS if quick else SCALE_TRIALS
    scale = [(w, "random") for w in SCALE_WORKERS] + ([] if quick else [(256, "tpe")])

    def of_way(sampler: str, rule: str) -> tuple[Any, ...]:
        fewer = cases[:GP_COURSES] if sampler == "gp" else cases
        return curves, fewer, {"sampler": sampler, "rule": rule}

    with (
        progress() as bar,
        ProcessPoolExecutor(initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):

        def each(
            title: str, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
        ) -> list[Any]:
            done = pool.map(task, *zip(*arguments, strict=True), chunksize=1)
            return list(bar.track(done, total=len(arguments), description=title))

        ours = each("ours, stock and random", compare, [(curves, *case) for case in cases])
        table = each("samplers and rules", courses, [of_way(*way) for way in ways])
        tpe = each(
            "settings of TPE", courses, [(curves, cases, {}, one) for one in TPE_SETTINGS.values()]
        )
        ladders = each(
            "rungs",
            courses,
            [(curves, cases, {"first": first, "reduction": r}) for first, r in LADDERS],
        )
        warm = each("warm starts", warm_against_cold, [(curves, *case) for case in cases])
        return Measured(
            courses=dict(zip(cases, ours, strict=True)),
            table=dict(zip(ways, table, strict=True)),
            tpe=dict(zip(TPE_SETTINGS, tpe, strict=True)),
            ladders=dict(zip(LADDERS, ladders, strict=True)),
            warm={
                name: [w for w, (pair, _) in zip(warm, cases, strict=True) if pair == name]
                for name in names
            },
            scale=each("workers", scaling, [(curves, names[0], w, trials, s) for w, s in scale]),
            scale_trials=trials,
        )


def goals_of(found: Measured) -> list[Goal]:
    """What was to be reached."""
    default = found.table[DEFAULT]
    others = [default.behind(one) for way, one in found.table.items() if way != DEFAULT]
    upto = [row["efficiency"] for row in found.scale if row["workers"] <= 256]
    rows = budget_rows(found.courses)
    return [
        Goal(
            name=f"steps to the score of {RANDOM_TRIALS} full random trials, share of theirs",
            value=median(map(_share_of_random, found.courses.values())),
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
            name="trials to the cold score, warm",
            value=median(
                row["trials, warm"] / row["trials, cold"] for row in warm_rows(found.warm)
            ),
            goal=0.5,
            at_most=True,
        ),
        Goal(name="least efficiency up to 256 workers", value=min(upto), goal=0.85),
        Goal(
            name="the default behind another sampler or rule, beyond twice the standard error",
            value=max(behind - 2 * error for behind, error in others),
            goal=0,
            at_most=True,
        ),
    ]


# --- rows -----------------------------------------------------------------------------------------


def budget_rows(found: Mapping[Any, dict[str, Course]]) -> list[Row]:
    """One for each budget: what stock took."""
    rows: list[Row] = []
    for trials in BUDGETS:
        stock = [c[f"stock {trials}"] for c in found.values()]
        spent = [course.events[-1].steps for course in stock]
        theirs = [course.best_by(np.inf) for course in stock]
        ours = [c["ours"].best_by(s) for c, s in zip(found.values(), spent, strict=True)]
        random = [c["random, full"].best_by(s) for c, s in zip(found.values(), spent, strict=True)]
        until = [c["ours"].steps_until(t) for c, t in zip(found.values(), theirs, strict=True)]
        # Stock's last improvement came earlier than its end, which only hindsight knows.
        there = [one.steps_until(t) for one, t in zip(stock, theirs, strict=True)]
        rows.append(
            {
                "stock trials": trials,
                "steps": round(median(spent)),
                **_spread("ours", ours),
                **_spread("stock", theirs),
                **_spread("random, full", random),
                "steps to equal stock, share of its": _median_ratio(until, spent),
                "of those to its last gain": _median_ratio(until, there),
            }
        )
    return rows


def pair_rows(
    found: Mapping[tuple[str, int], dict[str, Course]], names: Sequence[str]
) -> list[Row]:
    """One for each pair: its medians."""
    rows = []
    for name in names:
        mine = {case: courses for case, courses in found.items() if case[0] == name}
        row: Row = {
            "pair": name,
            "steps to random's score, share": median(map(_share_of_random, mine.values())),
        }
        for budget in budget_rows(mine):
            row[f"ahead of stock {budget['stock trials']}"] = budget["stock"] - budget["ours"]
        rows.append(row)
    return rows


def _share_of_random(found: dict[str, Course]) -> float:
    random = found["random, full"]
    return found["ours"].steps_until(random.best_by(np.inf)) / random.events[-1].steps


def _median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def _spread(name: str, values: Sequence[float]) -> Row:
    return {name: median(values), f"{name} quartiles": _quartiles(values)}


def _quartiles(values: Sequence[float]) -> str:
    low, _, high = quantiles(values, n=4)
    return f"{low:.3f} - {high:.3f}"


def way_rows(names: Sequence[str], found: Mapping[Any, Found], default: Any) -> list[Row]:
    """One for each way to search, next to the default."""
    rows: list[Row] = []
    for key, one in found.items():
        behind, error = one.behind(found[default])
        rows.append(
            {
                **dict(zip(names, key if len(names) > 1 else [key], strict=True)),
                "courses": len(one.late_C),
                "early": median(one.early_C),
                "late": median(one.late_C),
                "late, quartiles": _quartiles(one.late_C),
                "behind the default": f"{behind:.3f} ± {error:.3f}",
            }
        )
    return rows


def warm_rows(found: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]) -> list[Row]:
    """One for each pair: trials until the median course is as good as the cold one at its end."""
    rows: list[Row] = []
    for name, of_seeds in found.items():
        warm_K, cold_K = np.median(np.array(of_seeds), 0)
        goal = cold_K[-1]
        rows.append(
            {
                "pair": name,
                "share, cold": float(goal),
                "share, warm": float(warm_K[-1]),
                "trials, cold": _trials_until(cold_K, goal),
                "trials, warm": _trials_until(warm_K, goal),
            }
        )
    return rows


def _trials_until(best_K: np.ndarray, goal: float) -> int:
    """Twice as many as there were if it was never reached."""
    there = np.nonzero(best_K <= goal)[0]
    return int(there[0]) + 1 if len(there) else 2 * len(best_K)


# --- picture --------------------------------------------------------------------------------------


def draw(found: Measured, path: Path) -> None:
    """Best share by steps, median and quartiles: rivals, samplers, rules; efficiency by workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (rivals, samplers), (rules, scale) = figure.subplots(2, 2)
    names = {
        "random, full": "random, no stopping",
        f"stock {BUDGETS[-1]}": "stock OptunaSearch + ASHA",
        "ours": "ours",
    }
    every = found.courses.values()
    _lines(
        rivals,
        {
            label: np.array([[c[name].best_by(s) for s in GRID_S] for c in every])
            for name, label in names.items()
        },
        spread=True,
    )
    sampler, rule = DEFAULT
    _lines(samplers, {s: one.grid_CS for (s, r), one in found.table.items() if r == rule})
    _lines(rules, {r: one.grid_CS for (s, r), one in found.table.items() if s == sampler})
    for axes, title in (
        (rivals, "against others"),
        (samplers, f"samplers with {rule}"),
        (rules, f"rules with {sampler}"),
    ):
        axes.set(
            title=title, xscale="log", xlabel="steps of all trials", ylabel="0 = best recorded"
        )
        axes.legend()
    shown = [row for row in found.scale if row["sampler"] == "random"]
    scale.plot([r["workers"] for r in shown], [r["efficiency"] for r in shown], marker="o")
    scale.axhline(0.85, color="grey", linestyle=":")
    scale.set(
        title=f"{found.scale_trials} trials",
        xscale="log",
        xlabel="workers",
        ylabel="share of ideal",
        ylim=(0, 1.05),
    )
    figure.savefig(path, dpi=80)


def _lines(axes: Any, found: Mapping[str, np.ndarray], *, spread: bool = False) -> None:
    for label, found_CS in found.items():
        low_S, middle_S, high_S = np.quantile(found_CS, [0.25, 0.5, 0.75], axis=0)
        (line,) = axes.plot(GRID_S, middle_S, label=label)
        if spread:
            axes.fill_between(GRID_S, low_S, high_S, color=line.get_color(), alpha=0.15)


if __name__ == "__main__":
    run(main)
