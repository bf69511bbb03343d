"""Tables of a run: the best, the finals, the trade-off, where it is."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from statistics import mean

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.job.objective import COSTS
from tuner.results import verdict as run_verdict
from tuner.results.as_json import status_json
from tuner.results.preset_runs import PresetRun, best_preset_run, full_runs, preset_run
from tuner.results.results import Results
from tuner.results.trial_result import TrialResult
from tuner.search.finals import SEARCH_SEED
from tuner.terminal.metric_tables import metric_heading, metrics_in, narrow_table, score_columns
from tuner.terminal.tables import settings_text

#: Columns of scores and comparisons for which a terminal of 80 columns has room.
_ROOM = 8
_COST_HEADINGS = {"seconds_per_image": "s per\nimage", "vram_gb": "GB"}

#: Of a finalist of an older run, which ran a start without noise again just as it was.
_ONE_RUN = "deterministic: one run"
_TONES = {"good": "green", "warning": "yellow", "bad": "bold red"}
_STATE_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}


def best_table(results: Results, top: int) -> RenderableType:
    """The best configurations beside the baselines, and what each of them is."""
    goals = results.goals
    ranked = results.ranked()
    costs = [cost for cost in COSTS if cost in goals.measures]
    metrics = metrics_in([*results.baselines.values(), *(found.rung.scores for found in ranked)])
    metrics = _that_fit(metrics, goals.measures, _ROOM - len(costs) - 1)
    table = narrow_table(f"{results.job.name}: best by {goals.name}")
    headings = [metric_heading(metric, goals) for metric in metrics]
    has_room = len(metrics) + len(costs) + 2 <= _ROOM
    compared = best_preset_run(results) if has_room else None
    against = ["vs\ncontent", *(["vs best\npreset"] if compared else [])]
    paid = [_COST_HEADINGS[cost] for cost in costs]
    for heading in ("#", "trial", "steps", *headings, *paid, *against):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = ranked[:top]
    beside, remarks = _presets_beside(results, shown)
    for found in shown:
        rank = str(ranked.index(found) + 1)
        table.add_row(*_trial_row(results, metrics, found, rank, compared))
    table.add_section()
    for found in beside:  # so that what was gained over today's practice always shows
        rank = str(ranked.index(found) + 1) if found in ranked else "–"
        table.add_row(*_trial_row(results, metrics, found, rank, compared))
    if beside:
        table.add_section()
    shown = [*shown, *beside]
    for name, scores in results.baselines.items():
        change = "" if name == "content" else _percent(_gain_of(results, scores))
        label = Text(name.split("_")[0] if "_" in name else name, style="italic")
        table.add_row("", label, "", *score_columns(metrics, scores), *[""] * len(costs), change)
    if compared:
        remarks.append(f"vs best preset: {compared}")
    parts: list[RenderableType] = [table, *(Text(line, style="dim") for line in remarks)]
    parts.append(_details(results, shown))
    if any(found.finals or found.failed for found in shown):
        parts.append(finals_table(results))
    if goals.pareto:
        parts.append(front_table(results))
    return Group(*parts, verdict(results))


def _presets_beside(
    results: Results, shown: Sequence[TrialResult]
) -> tuple[list[TrialResult], list[str]]:
    """The best preset and the presets in full, where the table lacks them, and why they follow."""
    preset, ranked = results.best_preset(), results.ranked()
    beside, said = [], []
    if preset and preset not in shown:
        beside.append(preset)
        said.append(f"the best preset (rank {ranked.index(preset) + 1} of {len(ranked)})")
    full = [TrialResult.from_records(record, best, ()) for record, best in full_runs(results)]
    if full:
        beside += full
        said.append("presets in full, which have more steps and no rank")
    lines = [f"below the trials, to compare with: {' and '.join(said)}"] if said else []
    return beside, lines


def _that_fit(metrics: Sequence[str], asked: Collection[str], room: int) -> list[str]:
    """As many metrics as there is room for, those that the run asks for among them."""
    spare = [metric for metric in reversed(metrics) if metric not in asked]
    left_out = spare[: max(0, len(metrics) - room)]
    return [metric for metric in metrics if metric not in left_out]


def _gain_of(results: Results, scores: Mapping[str, float]) -> float:
    first = results.goals.first
    return results.gain(first.of(scores)) if first.known(scores) else math.nan


def finals_table(results: Results) -> RenderableType:
    """The best trials run again with other seeds, and on pairs that the search never saw.

    Columns that would be empty are left out; where nothing else is left, one line says why.
    """
    first = results.goals.first
    finalists = [found for found in results.ranked() if found.finals or found.failed]
    seeded = any(not _ran_as_it_was(found) for found in finalists)
    columns: dict[str, list[str | Text]] = {
        "trial": [str(found.record.trial) for found in finalists],
        "search": [f"{found.rung.objective:.4f}" for found in finalists],
        "mean": [_score(results.score(f) if f.finals and seeded else None) for f in finalists],
        "± spread": [_score(found.spread) for found in finalists],
        "held out": [_score(results.held_out(found)) for found in finalists],
        "worst pair": [_worst_pair(results, found) for found in finalists],
        "seeds": [_seeds(found) for found in finalists],
    }
    left = {name: cells for name, cells in columns.items() if any(map(str, cells))}
    if set(left) == {"trial", "search", "seeds"} and not any(f.failed for f in finalists):
        trials = ", ".join(str(found.record.trial) for found in finalists)
        return Text(f"finals: trial {trials}: {_ONE_RUN}")
    table = narrow_table(f"finals: {first.name} of each, run again")
    for heading in left:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*left.values(), strict=True):
        table.add_row(*row)
    table.caption = _untouched(results)
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _seeds(found: TrialResult) -> Text:
    """How often it was run again, and whether that went well."""
    runs = found.failed + len(found.finals)
    if not found.failed:
        return Text(_ONE_RUN if _ran_as_it_was(found) else str(runs))
    return Text(f"{found.failed} of {runs} failed", style="red")


def _ran_as_it_was(found: TrialResult) -> bool:
    return set(found.finals) == {SEARCH_SEED}


def _untouched(results: Results) -> str:
    """What the untouched contents score, which held-out scores mean little without."""
    first = results.goals.first
    parts = []
    known = {"search": results.baselines, "held-out": results.held_out_baselines}
    for name, baselines in known.items():
        content = baselines.get("content", {})
        if content and first.known(content):
            parts.append(f"{first.of(content):.4f} ({name} pairs)")
    return f"untouched content: {', '.join(parts)}" if parts else ""


def _worst_pair(results: Results, found: TrialResult) -> str:
    """The pair of the search or of the held-out ones where the finals did worst."""
    first = results.goals.first
    runs = [
        [first.of(rung.on_pair(index)) for index in range(len(rung.pair_scores))]
        for rung in found.finals.values()
    ]
    means = [mean(values) for values in zip(*runs, strict=True)]
    if len(means) < 2:
        return ""
    worst = max(range(len(means)), key=lambda index: first.loss(means[index]))
    pairs = len(results.job.pairs)
    name = f"pair {worst}" if worst < pairs else f"held-out {worst - pairs}"
    return f"{name} {means[worst]:.4f}"


def front_table(results: Results) -> Table:
    """What can be had for what: the trials that no other beats in every objective."""
    objectives = results.goals.objectives
    table = Table(title="the trade-off", title_justify="left")
    for heading in ("trial", "steps", *(objective.name for objective in objectives)):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in results.front():
        values = [f"{objective.of(found.rung.scores):.4g}" for objective in objectives]
        table.add_row(str(found.record.trial), str(found.steps), *values)
    return table


def _trial_row(
    results: Results,
    metrics: Sequence[str],
    found: TrialResult,
    rank: str,
    compared: PresetRun | None,
) -> list[RenderableType]:
    score = results.score(found)
    against = [results.gain(score)]
    if compared is not None:
        against.append(results.change(score, compared.objective))
    return [
        rank,
        Text(str(found.record.trial), style=_STATE_STYLES[found.record.state]),
        str(found.steps),
        *score_columns(metrics, found.rung.scores),
        *(f"{found.rung.scores[c]:.3g}" for c in COSTS if c in results.goals.measures),
        *(Text(_percent(change), style=_change_style(change)) for change in against),
    ]


def _change_style(change: float) -> str:
    return "green" if change > 0 else "bold red" if round(change, 2) < 0 else ""


def _details(results: Results, shown: Sequence[TrialResult]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="bold")
    for found in shown:
        state = found.record.state
        what = _what(found)
        if broken := results.violated(found):
            what.append(f" breaks {' and '.join(broken)}", style="red")
        grid.add_row(str(found.record.trial), Text(state, style=_STATE_STYLES[state]), what)
    return grid


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:+.0%}" if round(share, 2) else "0%"


def _what(found: TrialResult) -> Text:
    record = found.record
    if record.full:
        return Text(f"preset {preset_run(record, found.rung.objective)}")
    if record.preset:
        return Text(f"preset {record.preset}" + (f" ({record.note})" if record.note else ""))
    return Text(settings_text(record.params))


def verdict(results: Results) -> Text:
    """Return the verdict of a run in one line; red if nothing was gained or a constraint fails."""
    sentences = [Text(text, style=_TONES[tone]) for text, tone in run_verdict.verdict(results)]
    return Text(" ").join(sentences)


def status_table(results: Results) -> RenderableType:
    """Where a run is."""
    status = status_json(results)
    table = Table(show_header=False, box=None)
    table.add_row("run", Text(results.job.name))
    table.add_row("trials", f"{status['done']} of {status['target']} done")
    states = ", ".join(f"{count} {state}" for state, count in status["states"].items() if count)
    table.add_row("states", states or "none yet")
    reasons = [r for r in results.records if r.state == "failed"]
    for record in reasons[:3]:
        table.add_row("failed", Text(f"trial {record.trial}: {record.reason}", style="red"))
    if engines := results.engines:
        alive_s = sum(stats.alive_s for stats in engines)
        busy = sum(stats.advancing_s for stats in engines) / max(alive_s, 1e-9)
        lost = sum(stats.lane_steps_lost for stats in engines)
        steps = sum(stats.lane_steps for stats in engines)
        table.add_row(
            "engines", f"busy {busy:.0%}; {steps} steps, {lost / max(steps, 1):.0%} ahead in vain"
        )
    if status["finished"]:
        table.add_row("over", Text(status["ended_because"]))
    elif user := results.run.user:
        table.add_row("running", Text(str(user)))
    else:
        folder = shlex.quote(str(results.run.path))
        table.add_row("go on", Text(f"nst-tuner resume {folder}"))
    return Group(table, verdict(results))
