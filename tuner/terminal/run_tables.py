"""Tables of a run: best trials, finals, trade-off, and progress."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import mean

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.job.objective import COSTS
from tuner.results import verdict as run_verdict
from tuner.results.as_json import status_json
from tuner.results.preset_runs import PresetRun, best_preset_run, full_runs, preset_run
from tuner.results.results import Results
from tuner.results.rung_ranking import rung_correlations
from tuner.results.runs import RunSummary
from tuner.results.trial_result import TrialResult
from tuner.search.finals import SEARCH_SEED
from tuner.terminal.metric_tables import metric_heading, metrics_in, narrow_table, score_columns
from tuner.terminal.tables import settings_text

#: Number of score and comparison columns that fit into a terminal of 80 characters.
_MAX_COLUMNS = 8
_COST_HEADINGS = {"seconds_per_image": "s per\nimage", "vram_gb": "GB"}

#: Shown for finalists of runs of older versions, which repeated a start without noise only once.
_ONE_RUN = "deterministic: one run"
_TONES = {"good": "green", "warning": "yellow", "bad": "bold red"}
_RUN_STYLES = {"finished": "green", "running": "cyan", "paused": "yellow", "damaged": "bold red"}
_STATE_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}


def best_table(results: Results, top: int) -> RenderableType:
    """Return the best configurations, presets and baselines to compare with, and a verdict.

    Args:
        results: of the run.
        top: number of configurations.
    """
    goals = results.goals
    ranked = results.ranked()
    costs = [cost for cost in COSTS if cost in goals.measures]
    metrics = metrics_in([*results.baselines.values(), *(result.rung.scores for result in ranked)])
    metrics = _fitting(metrics, goals.measures, _MAX_COLUMNS - len(costs) - 1)
    table = narrow_table(f"{results.job.name}: best by {goals.label}")
    has_room = len(metrics) + len(costs) + 2 <= _MAX_COLUMNS
    compared = best_preset_run(results) if has_room else None
    headings = [metric_heading(metric, goals) for metric in metrics]
    headings += [_COST_HEADINGS[cost] for cost in costs]
    headings.append("vs\ncontent")
    if compared:
        headings.append("\n".join(f"vs {compared.short_role}".rsplit(" ", 1)))
    for heading in ("#", "trial", "steps", *headings):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = ranked[:top]
    presets, remarks = _presets_to_compare(results, shown)
    for section in (shown, presets):
        for result in section:
            rank = str(ranked.index(result) + 1) if result in ranked else "–"
            table.add_row(*_trial_row(results, metrics, result, rank, compared))
        table.add_section()
    for name, scores in results.baselines.items():
        change = "" if name == "content" else _percent(_gain_of(results, scores))
        label = Text(name.split("_")[0], style="italic")
        table.add_row("", label, "", *score_columns(metrics, scores), *[""] * len(costs), change)
    if results.baselines.keys() - {"content", "style"}:
        remarks.append("blurred, grey: the reference itself, blurred and without color")
    if compared:
        remarks.append(f"vs {compared.short_role}: {compared}")
    shown = [*shown, *presets]
    parts: list[RenderableType] = [table, *(Text(line, style="dim") for line in remarks)]
    parts.append(_details(results, shown))
    if any(result.finals or result.failed for result in shown):
        parts.append(finals_table(results))
    if goals.pareto:
        parts.append(front_table(results))
    return Group(*parts, verdict(results))


def _presets_to_compare(
    results: Results, shown: Sequence[TrialResult]
) -> tuple[list[TrialResult], list[str]]:
    """Return presets that the table should show as well, and a remark that says why.

    These are the best preset, unless the table shows it already, and all presets that ran in full:
    the gain over them must always be visible.
    """
    best, ranked = results.best_preset(), results.ranked()
    presets, reasons = [], []
    if best and best not in shown:
        presets.append(best)
        what = preset_run(best.record, best.rung.objective).short_role
        reasons.append(f"the {what} (rank {ranked.index(best) + 1} of {len(ranked)})")
    in_full = [
        TrialResult.from_records(record, report, ()) for record, report in full_runs(results)
    ]
    if in_full:
        presets += in_full
        reasons.append("presets in full, which ran for more steps and have no rank")
    remarks = [f"below the trials, to compare with: {' and '.join(reasons)}"] if reasons else []
    return presets, remarks


def _fitting(metrics: Sequence[str], required: Collection[str], count: int) -> list[str]:
    """Return at most ``count`` of the metrics, those that the run requires among them."""
    optional = [metric for metric in reversed(metrics) if metric not in required]
    left_out = optional[: max(0, len(metrics) - count)]
    return [metric for metric in metrics if metric not in left_out]


def _gain_of(results: Results, scores: Mapping[str, float]) -> float:
    first = results.goals.first
    return results.gain(first.of(scores)) if first.known(scores) else math.nan


def finals_table(results: Results) -> RenderableType:
    """Return the finals: the best trials run again with other seeds, and on held-out pairs.

    Columns without any value are left out. If only trial and score are left, one line says why.
    """
    first = results.goals.first
    finalists = [result for result in results.ranked() if result.finals or result.failed]
    seeded = any(not _is_one_run(result) for result in finalists)
    columns: dict[str, list[str | Text]] = {
        "trial": [str(result.record.trial) for result in finalists],
        "search": [f"{result.rung.objective:.4f}" for result in finalists],
        "mean": [_score(results.score(f) if f.finals and seeded else None) for f in finalists],
        "± spread": [_score(result.spread) for result in finalists],
        "held out": [_score(results.held_out(result)) for result in finalists],
        "worst pair": [_worst_pair(results, result) for result in finalists],
        "seeds": [_seeds(result) for result in finalists],
    }
    columns = {name: cells for name, cells in columns.items() if any(map(str, cells))}
    if set(columns) == {"trial", "search", "seeds"} and not any(f.failed for f in finalists):
        trials = ", ".join(str(result.record.trial) for result in finalists)
        return Text(f"finals: trial {trials}: {_ONE_RUN}")
    table = narrow_table(f"finals: {first.label} of the best trials, run again")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    table.caption = _content_scores(results)
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _seeds(result: TrialResult) -> Text:
    """Return the number of final runs of a trial, and how many of them failed."""
    runs = result.failed + len(result.finals)
    if not result.failed:
        return Text(_ONE_RUN if _is_one_run(result) else str(runs))
    return Text(f"{result.failed} of {runs} failed", style="red")


def _is_one_run(result: TrialResult) -> bool:
    """Return whether the only final run repeated the search's seed; see `_ONE_RUN`."""
    return set(result.finals) == {SEARCH_SEED}


def _content_scores(results: Results) -> str:
    """Return the scores of the untouched contents: scores on held-out pairs need them."""
    first = results.goals.first
    parts = []
    by_pairs = {"search": results.baselines, "held-out": results.held_out_baselines}
    for name, baselines in by_pairs.items():
        content = baselines.get("content", {})
        if content and first.known(content):
            parts.append(f"{first.of(content):.4f} ({name} pairs)")
    return f"untouched content: {', '.join(parts)}" if parts else ""


def _worst_pair(results: Results, result: TrialResult) -> str:
    """Return the pair with the worst mean score in the finals; empty if there is only one."""
    first = results.goals.first
    runs = [
        [first.of(rung.on_pair(index)) for index in range(len(rung.pair_scores))]
        for rung in result.finals.values()
    ]
    means = [mean(values) for values in zip(*runs, strict=True)]
    if len(means) < 2:
        return ""
    worst = max(range(len(means)), key=lambda index: first.loss(means[index]))
    pairs = len(results.job.pairs)
    name = f"pair {worst}" if worst < pairs else f"held-out {worst - pairs}"
    return f"{name} {means[worst]:.4f}"


def front_table(results: Results) -> Table:
    """Return the Pareto front: trials that no other trial beats in every objective."""
    objectives = results.goals.objectives
    table = Table(title="trade-off (Pareto front)", title_justify="left")
    for heading in ("trial", "steps", *(objective.name for objective in objectives)):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results.front():
        values = [f"{objective.of(result.rung.scores):.4g}" for objective in objectives]
        table.add_row(str(result.record.trial), str(result.steps), *values)
    return table


def _trial_row(
    results: Results,
    metrics: Sequence[str],
    result: TrialResult,
    rank: str,
    compared: PresetRun | None,
) -> list[RenderableType]:
    score, first = results.score(result), results.goals.first
    scores = dict(result.rung.scores)
    if result.finals and first.name in scores:  # the mean of the finals, which ranks it
        scores[first.name] = score
    against = [results.gain(score)]
    if compared is not None:
        against.append(results.change(score, compared.objective))
    return [
        rank,
        Text(str(result.record.trial), style=_STATE_STYLES[result.record.state]),
        str(result.steps),
        *score_columns(metrics, scores),
        *(f"{result.rung.scores[c]:.3g}" for c in COSTS if c in results.goals.measures),
        *(Text(_percent(change), style=_change_style(change)) for change in against),
    ]


def _change_style(change: float) -> str:
    return "green" if change > 0 else "bold red" if round(change, 2) < 0 else ""


def _details(results: Results, shown: Sequence[TrialResult]) -> Table:
    """Return one line per trial: its state, its settings or preset, and the bounds it breaks."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="bold")
    for result in shown:
        state = result.record.state
        text = _settings(result)
        if broken := results.violated(result):
            text.append(f" breaks {' and '.join(broken)}", style="red")
        grid.add_row(str(result.record.trial), Text(state, style=_STATE_STYLES[state]), text)
    return grid


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:+.0%}" if round(share, 2) else "0%"


def _settings(result: TrialResult) -> Text:
    record = result.record
    if record.full:
        return Text(f"preset {preset_run(record, result.rung.objective)}")
    if record.preset:
        return Text(f"preset {record.preset}" + (f" ({record.note})" if record.note else ""))
    return Text(settings_text(record.params) + (f" ({record.note})" if record.note else ""))


def verdict(results: Results) -> Text:
    """Return the verdict of a run in one line; red if nothing was gained or a constraint fails."""
    sentences = [Text(text, style=_TONES[tone]) for text, tone in run_verdict.verdict(results)]
    return Text(" ").join(sentences)


def runs_table(runs: Sequence[RunSummary], folder: Path) -> RenderableType:
    """Return the runs of a folder, each with its state and its best result."""
    table = narrow_table("")
    for heading in ("run", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("trials", "px", "objective", "best", "vs\ncontent", "vs best\npreset"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        place = str(run.path.relative_to(folder)) if run.path != folder else str(folder)
        state = Text(run.state, style=_RUN_STYLES.get(run.state, ""))
        if run.problem:
            table.add_row(Text(place), state)
            continue
        gains = [
            _percent(math.nan if gain is None else gain) for gain in (run.vs_content, run.vs_preset)
        ]
        done, best = f"{run.done}/{run.trials}", _score(run.best)
        table.add_row(Text(place), state, done, str(run.size_px), run.objective, best, *gains)
    problems = [Text(run.problem, style="red") for run in runs if run.problem]
    return Group(table, *problems)


def status_table(results: Results) -> RenderableType:
    """Return the progress of a run: trials by state, failures, engines, how to continue."""
    status = status_json(results)
    table = Table(show_header=False, box=None)
    table.add_row("run", Text(results.job.name))
    table.add_row("space", Text(str(results.space)))
    table.add_row("trials", f"{status['done']} of {status['target']} done")
    states = ", ".join(f"{count} {state}" for state, count in status["states"].items() if count)
    table.add_row("states", states or "none yet")
    failed = [r for r in results.records if r.state == "failed"]
    for record in failed[:3]:
        table.add_row("failed", Text(f"trial {record.trial}: {record.reason}", style="red"))
    for rung in rung_correlations(results):
        table.add_row("ranking", f"rank correlation between {rung}")
    if engines := results.engines:
        alive_s = sum(stats.alive_s for stats in engines)
        busy = sum(stats.advancing_s for stats in engines) / max(alive_s, 1e-9)
        lost = sum(stats.lane_steps_lost for stats in engines)
        steps = sum(stats.lane_steps for stats in engines)
        wasted = lost / max(steps, 1)  # steps beyond a rung at which the trial then ended
        table.add_row("engines", f"busy {busy:.0%}; {steps:,} steps, {wasted:.0%} wasted")
    for command in results.commands[-3:]:
        table.add_row("ctl", Text(results.command_text(command)))
    if status["finished"]:
        table.add_row("finished", Text(status["ended_because"]))
    elif user := results.run.user:
        paused = "paused, " if status["paused"] else ""
        table.add_row("running", Text(f"{paused}{user}"))
    else:
        folder = shlex.quote(str(results.run.path))
        table.add_row("to continue", Text(f"nst-tuner resume {folder}"))
    return Group(table, verdict(results))
