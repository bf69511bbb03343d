"""Tables for people, drawn with rich."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nst_core.metric_names import METRICS
from nst_core.networks import NETWORKS, Network
from nst_core.presets import Preset
from search_spaces import Params, Space
from tuner.objective import COSTS, Goals
from tuner.results import Found, Results

if TYPE_CHECKING:  # they bring torch, which `status` and `best` must not load
    from nst_core.network_info import LayerInfo
    from tuner.metric_check import Ranking

_FORMATS = {
    **{"lpips": "{:.4f}", "dists": "{:.4f}", "ssim": "{:.3f}", "psnr": "{:.2f}"},
    **{"rmse": "{:.4f}", "color": "{:.2f}", "edges": "{:.3f}"},
}
_STATE_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}
_ARROWS = {"maximize": "↑", "minimize": "↓"}


def _metrics_in(scores: Iterable[Mapping[str, float]]) -> list[str]:
    """The metrics that any of the scores has, in the order of `METRICS`."""
    found = {name for each in scores for name in each}
    return [name for name in METRICS if name in found]


def _score_columns(metrics: Sequence[str], scores: Mapping[str, float]) -> list[str]:
    """Scores as text, a dash where there is none."""
    return [_FORMATS[name].format(scores[name]) if name in scores else "–" for name in metrics]


def _heading(metric: str, goals: Goals | None = None) -> str:
    """A metric's name and below it the direction in which it improves; objectives starred."""
    objectives = goals.objectives if goals else ()
    starred = any(metric in objective.weights for objective in objectives)
    return f"{metric}\n{_ARROWS[METRICS[metric].direction]}{' *' if starred else ''}"


def _narrow_table(title: str | None = None, caption: str | None = None) -> Table:
    """A table that has room for every metric in a terminal of 80 columns."""
    return Table(
        title=Text(title) if title else None,
        caption=caption,
        box=box.HORIZONTALS,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
        title_justify="left",
        caption_justify="left",
    )


def best_table(results: Results, top: int) -> RenderableType:
    """The best configurations beside the baselines, and what each of them is."""
    goals = results.goals
    ranked = results.ranked()
    metrics = _metrics_in([*results.baselines.values(), *(found.rung.scores for found in ranked)])
    table = _narrow_table(f"{results.job.name}: best by {goals.name}")
    headings = [_heading(metric, goals) for metric in metrics]
    costs = [cost for cost in COSTS if cost in goals.measures]
    for heading in ("", "trial", "steps", *headings, *costs, "vs\ncontent"):
        table.add_column(heading, justify="right", no_wrap=True)
    preset = results.best_preset()
    shown = ranked[:top]
    if preset and preset not in shown:
        shown = [*shown, preset]  # so that what was gained over today's practice always shows
    for found in shown:
        table.add_row(*_trial_row(results, metrics, found, ranked.index(found) + 1))
    table.add_section()
    for name, scores in results.baselines.items():
        change = "" if name == "content" else _percent(_gain_of(results, scores))
        label = Text(name.split("_")[0] if "_" in name else name, style="italic")
        table.add_row("", label, "", *_score_columns(metrics, scores), *[""] * len(costs), change)
    parts: list[RenderableType] = [table, _details(shown)]
    if any(found.finals for found in shown):
        parts.append(finals_table(results))
    if goals.pareto:
        parts.append(front_table(results))
    return Group(*parts, verdict(results))


def _gain_of(results: Results, scores: Mapping[str, float]) -> float:
    first = results.goals.first
    return results.gain(first.of(scores)) if first.known(scores) else math.nan


def finals_table(results: Results) -> Table:
    """The best trials run again with other seeds, and on pairs that the search never saw."""
    first = results.goals.first
    table = Table(title=f"finals: {first.name} of each, run again", title_justify="left")
    for heading in ("trial", "search", "mean", "± spread", "held out", "worst pair"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in results.ranked():
        if found.finals:
            spread = f"{stdev(found.seeds):.4f}" if len(found.seeds) > 1 else "–"
            held_out = results.held_out(found)
            table.add_row(
                str(found.record.trial),
                f"{found.rung.objective:.4f}",
                f"{mean(found.seeds):.4f}",
                spread,
                "–" if held_out is None else f"{held_out:.4f}",
                _worst_pair(results, found),
            )
    return table


def _worst_pair(results: Results, found: Found) -> str:
    """The pair of the search or of the held-out ones where the finals did worst."""
    first = results.goals.first
    runs = [[first.of(s) for s in rung.pair_scores] for rung in found.finals.values()]
    means = [mean(values) for values in zip(*runs, strict=True)]
    if len(means) < 2:
        return "–"
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
    results: Results, metrics: Sequence[str], found: Found, rank: int
) -> list[RenderableType]:
    gain = results.gain(results.score(found))
    return [
        str(rank),
        Text(str(found.record.trial), style=_STATE_STYLES[found.record.state]),
        str(found.steps),
        *_score_columns(metrics, found.rung.scores),
        *(f"{found.rung.scores[c]:.1f}" for c in COSTS if c in results.goals.measures),
        Text(_percent(gain), style="green" if gain > 0 else "bold red"),
    ]


def _details(shown: Sequence[Found]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="bold")
    for found in shown:
        state = found.record.state
        grid.add_row(str(found.record.trial), Text(state, style=_STATE_STYLES[state]), _what(found))
    return grid


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:+.0%}"


def _what(found: Found) -> Text:
    record = found.record
    if record.preset:
        return Text(f"preset {record.preset}" + (f" ({record.note})" if record.note else ""))
    return Text(_settings(record.params))


def _settings(params: Params) -> str:
    return " ".join(f"{key}={_value(value)}" for key, value in params.items())


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def verdict(results: Results) -> Text:
    """What the run has gained, in one line; red where it has gained nothing."""
    ranked = results.ranked()
    first = results.goals.first
    if not ranked:
        return Text("No trial has reported yet.", style="yellow")
    best = ranked[0]
    score, untouched = results.score(best), results.baselines["content"]
    if not first.known(untouched):
        return Text(f"Best: trial {best.record.trial}, {first.name} {score:.4g}.", style="green")
    if not results.beats_content(score):
        return Text(
            f"The best trial ({first.name} {score:.4f}) does NOT beat the untouched content"
            f" ({first.of(untouched):.4f}). Doing nothing would score better:"
            " try a wider space, more steps, or another objective.",
            style="bold red",
        )
    text = f"Best: trial {best.record.trial}, {first.name} {score:.4f}, "
    text += f"{results.gain(score):.0%} better than the untouched content"
    preset = results.best_preset()
    if preset and not best.record.preset:
        base = results.score(preset)
        change = abs(score - base) / abs(base) if base else 0.0
        text += f", {change:.0%} better than the best preset ({preset.record.preset})"
    return Text(text + ".", style="green")


def status_table(results: Results) -> RenderableType:
    """Where a run is."""
    status = results.status_json()
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
    else:
        table.add_row("go on", f"nst-tuner resume {results.run.path}")
    return Group(table, verdict(results))


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Images by metric."""
    metrics = _metrics_in(scores.values())
    table = _narrow_table()
    table.add_column("image", overflow="fold")
    for metric in metrics:
        table.add_column(_heading(metric), justify="right", no_wrap=True)
    for name, values in scores.items():
        table.add_row(Text(name), *_score_columns(metrics, values))
    return table


def metrics_table() -> Table:
    """Every metric, what it compares with and what it means."""
    table = Table()
    for heading in ("metric", "better", "against", "unit", "meaning"):
        table.add_column(heading, overflow="fold")
    for name, metric in METRICS.items():
        better = "higher" if metric.higher_is_better else "lower"
        table.add_row(name, better, metric.against, metric.unit, metric.meaning)
    return table


def rankings_table(rankings: Sequence[Ranking]) -> RenderableType:
    """By metric, the images from best to worst; the untouched content stands out."""
    table = _narrow_table(
        caption="content: untouched; style: stretched; the others: copies of the reference"
    )
    table.add_column("metric")
    for place in range(1, len(rankings[0].order) + 1):
        table.add_column(str(place), no_wrap=True)
    for ranking in rankings:
        cells = [_rank_cell(ranking, name) for name in ranking.order]
        table.add_row(_heading(ranking.metric), *cells, end_section=True)
    style = {True: "bold red", False: "yellow"}
    lines = [Text(r.warning, style[r.prefers_doing_nothing]) for r in rankings if r.warning]
    fine = [ranking.metric for ranking in rankings if not ranking.warning]
    if fine:
        lines.append(Text(f"{', '.join(fine)}: every copy beats the content.", style="green"))
    return Group(table, *lines)


def _rank_cell(ranking: Ranking, name: str) -> Text:
    label = name.removesuffix("_reference")
    score = _FORMATS[ranking.metric].format(ranking.scores[name])
    return Text(f"{label}\n{score}", style="bold reverse" if name == "content" else "")


def space_table(space: Space) -> RenderableType:
    """A space's parameters and why they are what they are."""
    table = Table(title=Text(f"space {space.name}"), title_justify="left")
    for heading in ("parameter", "range", "when"):
        table.add_column(heading, overflow="fold")
    for name, parameter in space.params.items():
        when = ", ".join(f"{key} = {'|'.join(values)}" for key, values in parameter.when.items())
        table.add_row(Text(name), Text(parameter.describe()), Text(when))
    for name, value in space.fixed.items():
        table.add_row(Text(name), Text(f"fixed: {value}"), "")
    starts = [Text(f"start: {_settings(start)}") for start in space.starts]
    return Group(table, Text(space.why), *starts)


def preset_table(preset: Preset) -> RenderableType:
    """A preset's settings and where it comes from."""
    table = Table(title=Text(f"preset {preset.name}"), title_justify="left")
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    for key, value in preset.config.to_dict().items():
        layers = isinstance(value, dict)
        shown = ", ".join(f"{k} {v:g}" for k, v in value.items()) if layers else value
        table.add_row(key, Text(str(shown)))
    published = preset.provenance.get("published", {})
    lines = [Text(f"{key}: {value}") for key, value in published.items()]
    return Group(table, Text(preset.description), *lines)


def networks_table(networks: Mapping[str, Sequence[LayerInfo]]) -> Table:
    """Every network: where it reads content and style by default, and what that costs."""
    table = Table(caption="GFLOP: forward, at 256x256, to the deepest layer read by default")
    for heading in ("network", "layers", "content", "style", "GFLOP"):
        table.add_column(
            heading, overflow="fold", justify="right" if heading == "GFLOP" else "left"
        )
    for name, layers in networks.items():
        network = NETWORKS[name]
        costs = {layer.layer: layer.gflop for layer in layers}
        deepest = network.deepest([network.content_layer, *network.style_layers])
        style = ", ".join(network.style_layers)
        table.add_row(
            *(name, str(len(layers)), network.content_layer, style, f"{costs[deepest]:.2f}")
        )
    return table


def layers_table(network: Network, layers: Sequence[LayerInfo]) -> Table:
    """A network's layers."""
    table = Table(title=network.name, title_justify="left")
    table.add_column("layer")
    for heading in ("channels", "stride", "sees px", "GFLOP to here", "share"):
        table.add_column(heading, justify="right")
    table.add_column("read by default")
    for info in layers:
        roles = ["content"] if info.layer == network.content_layer else []
        roles += ["style"] if info.layer in network.style_layers else []
        table.add_row(
            info.layer,
            *(str(info.channels), str(info.stride), str(info.receptive_field_px)),
            *(f"{info.gflop:.2f}", f"{info.gflop / layers[-1].gflop:.0%}", ", ".join(roles)),
        )
    return table
