"""Tables and the picture of `benchmarks.search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.support.common import Row
from benchmarks.support.courses import (
    BUDGETS,
    COLD_FULL,
    COLD_TRIALS,
    GRID_S,
    STEPS,
    WARM_GRID_S,
    Found,
    Warm,
)
from benchmarks.support.simulate import Course
from tuner.job.spec import Rule, SamplerName


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured.

    Attributes:
        courses: of ours, stock and random, by pair and seed.
        table: by sampler and rule.
        tpe: by settings of TPE.
        ladders: by first rung and reduction.
        knows: by whether it is known which parameters matter.
        warm: warm and cold searches of each seed, by pair.
        scale: of numbers of workers.
    """

    courses: Mapping[tuple[str, int], dict[str, Course]]
    table: Mapping[tuple[SamplerName, Rule], Found]
    tpe: Mapping[str, Found]
    ladders: Mapping[tuple[int, int], Found]
    knows: Mapping[bool, Found]
    warm: Mapping[str, Sequence[Warm]]
    scale: Sequence[Row]


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
            "steps to random's score, share": median(map(share_of_random, mine.values())),
        }
        for budget in budget_rows(mine):
            row[f"ahead of stock {budget['stock trials']}"] = budget["stock"] - budget["ours"]
        rows.append(row)
    return rows


def share_of_random(found: dict[str, Course]) -> float:
    """Of the steps of the full random trials, what ours takes to their score."""
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


def warm_rows(found: Mapping[str, Sequence[Warm]]) -> list[Row]:
    """One for each pair: a cold start, and a warm one with half its trials or its score."""
    rows: list[Row] = []
    for name, of_seeds in found.items():
        row: Row = {"pair": name}
        for index, count in enumerate(COLD_TRIALS):
            row[f"cold, {count} trials"] = median(one.cold_T[index] for one in of_seeds)
            row[f"warm, {count // 2}"] = median(one.warm_T[index] for one in of_seeds)
        for count in COLD_FULL:
            steps = count * STEPS[1]
            row[f"steps to {steps} cold ones' score"] = warm_share(of_seeds, count)
            row[f"to {steps} by settings alone"] = warm_share(of_seeds, count, "settings_S")
        rows.append(row)
    return rows


def warm_behind(of_seeds: Sequence[Warm], count: int) -> float:
    """How far a warm search of half the trials is behind a cold one of so many; medians."""
    index = COLD_TRIALS.index(count)
    warm = median(float(one.warm_T[index]) for one in of_seeds)
    return warm - median(float(one.cold_T[index]) for one in of_seeds)


def warm_share(of_seeds: Sequence[Warm], full: int, how: str = "warm_S") -> float:
    """Steps to what a cold search has after those of full trials, as a share of a cold one's.

    Of median courses. Search by search the cold one would set the goal at the very trial that was
    lucky, and two searches of one kind would not come out at 1.
    """
    warm_S = np.median([getattr(one, how) for one in of_seeds], 0)
    cold_S = np.median([one.cold_S for one in of_seeds], 0)
    goal = cold_S[int(np.searchsorted(WARM_GRID_S, full * STEPS[1]))]
    return _steps_until(warm_S, goal) / _steps_until(cold_S, goal)


def _steps_until(best_S: np.ndarray, goal: float) -> float:
    """Steps until a score; twice as many as there were if it was never reached."""
    there = np.nonzero(best_S <= goal)[0]
    return float(WARM_GRID_S[there[0]] if len(there) else 2 * WARM_GRID_S[-1])


def draw(found: Measured, default: tuple[SamplerName, Rule], path: Path) -> None:
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
    sampler, rule = default
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
        axes.set_xticks([300, 600, 1200, 2400], ["300", "600", "1,200", "2,400"])
        axes.minorticks_off()
        axes.legend()
    shown = [row for row in found.scale if row["sampler"] == "random"]
    scale.plot([r["workers"] for r in shown], [r["efficiency"] for r in shown], marker="o")
    scale.axhline(0.85, color="grey", linestyle=":")
    scale.set(
        title="Workers",
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
