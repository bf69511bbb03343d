"""Comparison data: what the page shows of each run, and the settings that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from tuner.job.objective import Objective
from tuner.pages.report.first_screen import objective_data
from tuner.pages.report.page_data import run_state
from tuner.pages.report.pair_data import picture_size
from tuner.pages.report.plain_numbers import rounded
from tuner.results.preset_runs import best_preset_result, preset_run
from tuner.results.results import Results
from tuner.results.settings_in_words import settings_in_words
from tuner.results.verdict import gain_over_content, headline

#: Maximum number of points of a curve.
CURVE_POINTS = 400


def comparison_data(
    runs: Sequence[Results], names: Sequence[str], links: Sequence[str | None]
) -> dict[str, Any]:
    """Return the data of the page.

    Args:
        runs: the results of each run.
        names: a name for each run, all different.
        links: address of the report of each run, or None.
    """
    described = [_run(*item) for item in zip(range(len(runs)), runs, names, links, strict=True)]
    facts = [_facts(results) for results in runs]
    return {
        "runs": described,
        "differing": _differing(facts),
        "objectives": [objective_data(results.goals.first) for results in runs],
    }


def _run(index: int, results: Results, name: str, link: str | None) -> dict[str, Any]:
    """Return a run; the keys of its pictures begin with ``index``."""
    ranked, preset = results.ranked(), best_preset_result(results)
    top, first = headline(results), results.goals.first
    best = ranked[0] if ranked else None
    pictures = [
        {"key": f"{index}-{role}", "name": role, "size": picture_size(path)}
        for role, path in results.input_files(0).items()
        if role in ("content", "reference")
    ]
    if preset and preset is not best:
        ran = preset_run(preset.record, results.score(preset))
        text = f"{ran.title}: {first.labeled(results.score(preset))}"
        size = picture_size(results.picture(preset, 0))
        pictures.append({"key": f"{index}-preset", "name": text, "size": size})
    if best:
        text = f"tuned: {best.name}, {first.labeled(results.score(best))}"
        size = picture_size(results.picture(best, 0))
        pictures.append({"key": f"{index}-best", "name": text, "size": size})
    return {
        "name": name,
        "link": link,
        "state": run_state(results),
        "headline": {**top._asdict(), "share": rounded(top.share)},
        "second": gain_over_content(results) if top.share is not None else None,
        "score": rounded(results.score(best)) if best else None,
        "pictures": pictures,
        "curve": _curve(results, first),
    }


def _curve(results: Results, first: Objective) -> list[tuple[int, float | None]]:
    """Return (steps of the search so far, best score so far), trial by trial."""
    searched = [r for r in results.records if r.final_of is None and r.rungs]
    steps = accumulate(max(record.rungs) for record in searched)
    scores = [
        first.loss(best[1].objective) if (best := record.best_rung(results.goals)) else float("inf")
        for record in searched
    ]
    curve = zip(steps, accumulate(scores, min), strict=True)
    points = [(at, rounded(first.loss(value))) for at, value in curve]
    if len(points) <= CURVE_POINTS:
        return points
    stride = -(-len(points) // CURVE_POINTS)
    return [*points[::stride], points[-1]]


def _facts(results: Results) -> dict[str, str]:
    """Return what can differ between two runs, by name: the job, the machine, what was found."""
    job, ranked = results.job, results.ranked()
    facts = {
        "Objective": results.goals.label,
        "Constraints": ", ".join(constraint.name for constraint in results.goals.constraints),
        "Search space": str(results.space),
        "Sampler": job.search.sampler,
        "Trials": f"{results.done:,} of {job.search.trials:,}",
        "Seed": str(job.search.seed),
        "Size of the search": f"{job.size_px} px",
        "Steps of a full run": f"{job.halving.max_steps:,}",
        "Early stopping": job.halving.rule,
        "Pairs": str(len(job.pairs)),
        "Hardware": "; ".join(results.hardware),
    }
    if ranked:
        facts |= {f"Found: {name}": text for name, text in settings_in_words(ranked[0].config)}
    return facts


def _differing(facts: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Return name -> value for each run, only where the values differ."""
    names = dict.fromkeys(name for each in facts for name in each)
    rows = [(name, [each.get(name, "") or "–" for each in facts]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]
