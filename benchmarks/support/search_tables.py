"""Tables and the plot of `benchmarks.search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.support.common import Row
from benchmarks.support.simulate import SearchTrace
from benchmarks.support.simulated_searches import (
    BUDGETS,
    GRID_S,
    WayResults,
)
from tuner.job.spec import Rule, SamplerName


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All results of `benchmarks.search`.

    Attributes:
        traces: searches by ours, stock Ray Tune and random search, by pair and seed.
        table: results by sampler and rule.
        tpe: results by settings of TPE.
        ladders: results by first rung and reduction factor.
        scale: one row per number of workers.
    """

    traces: Mapping[tuple[str, int], dict[str, SearchTrace]]
    table: Mapping[tuple[SamplerName, Rule], WayResults]
    tpe: Mapping[str, WayResults]
    ladders: Mapping[tuple[int, int], WayResults]
    scale: Sequence[Row]


def budget_rows(traces: Mapping[Any, dict[str, SearchTrace]]) -> list[Row]:
    """Return one row per budget, which is the number of steps that stock Ray Tune took."""
    rows: list[Row] = []
    for trials in BUDGETS:
        stock = [c[f"stock {trials}"] for c in traces.values()]
        spent = [trace.events[-1].steps for trace in stock]
        theirs = [trace.best_by(np.inf) for trace in stock]
        ours = [c["ours"].best_by(s) for c, s in zip(traces.values(), spent, strict=True)]
        random = [c["random, full"].best_by(s) for c, s in zip(traces.values(), spent, strict=True)]
        until = [c["ours"].steps_until(t) for c, t in zip(traces.values(), theirs, strict=True)]
        # The last improvement of stock Ray Tune came before its end, which is known only
        # afterwards.
        last_gain = [trace.steps_until(t) for trace, t in zip(stock, theirs, strict=True)]
        rows.append(
            {
                "stock trials": trials,
                "steps": round(median(spent)),
                **_spread("ours", ours),
                **_spread("stock", theirs),
                **_spread("random, full", random),
                "steps to equal stock, share of its": _median_ratio(until, spent),
                "of those to its last gain": _median_ratio(until, last_gain),
            }
        )
    return rows


def pair_rows(
    traces: Mapping[tuple[str, int], dict[str, SearchTrace]], names: Sequence[str]
) -> list[Row]:
    """Return one row of medians per pair."""
    rows = []
    for name in names:
        pair_traces = {case: of_case for case, of_case in traces.items() if case[0] == name}
        row: Row = {
            "pair": name,
            "steps to random's score, share": median(map(share_of_random, pair_traces.values())),
        }
        for budget in budget_rows(pair_traces):
            row[f"ahead of stock {budget['stock trials']}"] = budget["stock"] - budget["ours"]
        rows.append(row)
    return rows


def share_of_random(traces: dict[str, SearchTrace]) -> float:
    """Return the steps of ours to the score of the random search, as a share of its steps."""
    random = traces["random, full"]
    return traces["ours"].steps_until(random.best_by(np.inf)) / random.events[-1].steps


def _median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def _spread(name: str, values: Sequence[float]) -> Row:
    return {name: median(values), f"{name} quartiles": _quartiles(values)}


def _quartiles(values: Sequence[float]) -> str:
    low, _, high = quantiles(values, n=4)
    return f"{low:.3f} - {high:.3f}"


def way_rows(names: Sequence[str], ways: Mapping[Any, WayResults], default: Any) -> list[Row]:
    """Return one row per kind of search, compared with ours."""
    rows: list[Row] = []
    for key, way in ways.items():
        behind, error = way.behind(ways[default])
        rows.append(
            {
                **dict(zip(names, key if len(names) > 1 else [key], strict=True)),
                "courses": len(way.late_C),
                "early": median(way.early_C),
                "late": median(way.late_C),
                "late, quartiles": _quartiles(way.late_C),
                "behind ours": f"{behind:.3f} ± {error:.3f}",
            }
        )
    return rows


def draw(results: Measured, default: tuple[SamplerName, Rule], path: Path) -> None:
    """Plot the best share over steps (median, quartiles) and the efficiency of workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (rivals, samplers), (rules, scale) = figure.subplots(2, 2)
    names = {
        "random, full": "random, no stopping",
        f"stock {BUDGETS[-1]}": "stock OptunaSearch + ASHA",
        "ours": "ours",
    }
    every = results.traces.values()
    _lines(
        rivals,
        {
            label: np.array([[c[name].best_by(s) for s in GRID_S] for c in every])
            for name, label in names.items()
        },
        spread=True,
    )
    sampler, rule = default
    _lines(samplers, {s: way.grid_CS for (s, r), way in results.table.items() if r == rule})
    _lines(rules, {r: way.grid_CS for (s, r), way in results.table.items() if s == sampler})
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
    rows = [row for row in results.scale if row["sampler"] == "random"]
    scale.plot([r["workers"] for r in rows], [r["efficiency"] for r in rows], marker="o")
    scale.axhline(0.85, color="grey", linestyle=":")
    scale.set(
        title="Workers",
        xscale="log",
        xlabel="workers",
        ylabel="share of ideal",
        ylim=(0, 1.05),
    )
    figure.savefig(path, dpi=80)


def _lines(axes: Any, curves: Mapping[str, np.ndarray], *, spread: bool = False) -> None:
    for label, curves_CS in curves.items():
        low_S, middle_S, high_S = np.quantile(curves_CS, [0.25, 0.5, 0.75], axis=0)
        (line,) = axes.plot(GRID_S, middle_S, label=label)
        if spread:
            axes.fill_between(GRID_S, low_S, high_S, color=line.get_color(), alpha=0.15)
