"""Tables for people, drawn with rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nst_core.metric_names import METRICS
from nst_core.networks import NETWORKS, Network
from nst_core.presets import Preset
from search_spaces import Choice, Parameter, Space
from tuner.results import Found, Results

if TYPE_CHECKING:  # it brings torch, which `status` and `best` must not load
    from nst_core.network_info import LayerInfo

_FORMATS = {"lpips": "{:.4f}", "ssim": "{:.3f}", "psnr": "{:.2f}", "rmse": "{:.4f}"}
_STATE_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}
_ARROWS = {"maximize": "↑", "minimize": "↓"}


def score_columns(scores: Mapping[str, float]) -> list[str]:
    """Scores as text, in the order of `METRICS`."""
    return [_FORMATS[name].format(scores[name]) if name in scores else "–" for name in METRICS]


def _headings(objective: str) -> list[str]:
    """Metric names with the direction in which each improves; the objective starred."""
    return [
        f"{name} {_ARROWS[metric.direction]}{' *' if name == objective else ''}"
        for name, metric in METRICS.items()
    ]


def best_table(results: Results, top: int) -> RenderableType:
    """The best configurations beside the baselines, and what each of them is."""
    objective = results.job.objective
    table = Table(title=Text(f"{results.job.name}: best by {objective}"), title_justify="left")
    for heading in ("", "trial", "steps", *_headings(objective), "vs content"):
        table.add_column(heading, justify="right", no_wrap=True)
    ranked = results.ranked()
    preset = results.best_preset()
    shown = ranked[:top]
    if preset and preset not in shown:
        shown = [*shown, preset]  # so that what was gained over today's practice always shows
    for found in shown:
        table.add_row(*_trial_row(results, found, ranked.index(found) + 1))
    table.add_section()
    for name, scores in results.baselines.items():
        change = "" if name == "content" else _percent(results.gain(scores[objective]))
        label = Text(name.split("_")[0] if "_" in name else name, style="italic")
        table.add_row("", label, "", *score_columns(scores), change)
    return Group(table, _details(shown), verdict(results))


def _trial_row(results: Results, found: Found, rank: int) -> list[RenderableType]:
    gain = results.gain(found.rung.objective)
    return [
        str(rank),
        Text(str(found.record.trial), style=_STATE_STYLES[found.record.state]),
        str(found.steps),
        *score_columns(found.rung.scores),
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
    return f"{share:+.0%}"


def _what(found: Found) -> Text:
    record = found.record
    if record.preset:
        return Text(f"preset {record.preset}" + (f" ({record.note})" if record.note else ""))
    return Text(_settings(record.params))


def _settings(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):  # layers with weights
        return f"({', '.join(f'{layer}:{weight:g}' for layer, weight in value.items())})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def verdict(results: Results) -> Text:
    """What the run has gained, in one line; red where it has gained nothing."""
    ranked = results.ranked()
    objective = results.job.objective
    if not ranked:
        return Text("No trial has reported yet.", style="yellow")
    best = ranked[0]
    score = best.rung.objective
    if not results.beats_content(score):
        return Text(
            f"The best trial ({objective} {score:.4f}) does NOT beat the untouched content"
            f" ({results.baselines['content'][objective]:.4f}). Doing nothing would score better:"
            " try a wider space, more steps, or another objective.",
            style="bold red",
        )
    text = f"Best: trial {best.record.trial}, {objective} {score:.4f}, "
    text += f"{results.gain(score):.0%} better than the untouched content"
    preset = results.best_preset()
    if preset and not best.record.preset:
        base = preset.rung.objective
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
    if not status["finished"]:
        table.add_row("go on", f"nst-tuner resume {results.run.path}")
    return Group(table, verdict(results))


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Images by metric."""
    table = Table()
    table.add_column("image")
    for heading in _headings(""):
        table.add_column(heading, justify="right")
    for name, values in scores.items():
        table.add_row(Text(name), *score_columns(values))
    return table


def spaces_table(spaces: Mapping[str, Space]) -> Table:
    """Every space and what it is for."""
    table = Table()
    table.add_column("space", no_wrap=True)
    table.add_column("what it searches")
    table.add_column("params", justify="right")
    for name, space in spaces.items():
        table.add_row(Text(name), Text(space.summary), str(len(space.params)))
    return table


def space_table(space: Space) -> RenderableType:
    """A space's parameters with their conditions, what is fixed, starts, and why it is so."""
    table = Table(title=Text(f"space {space.name}"), title_justify="left")
    table.add_column("parameter", no_wrap=True)
    for heading in ("range", "when"):
        table.add_column(heading, overflow="fold")
    for name, parameter in space.params.items():
        table.add_row(Text(name), Text(parameter.describe()), Text(_when(space, parameter)))
    notes = Table.grid(padding=(0, 1))
    notes.add_column(justify="right", style="bold", no_wrap=True)
    notes.add_column(overflow="fold")
    notes.add_row("fixed", Text(_settings(space.fixed) or "nothing"))
    for index, start in enumerate(space.starts, start=1):
        notes.add_row(f"start {index}", Text(_settings(start)))
    notes.add_row("why", Text(space.why))
    return Group(table, notes)


def _when(space: Space, parameter: Parameter) -> str:
    """When a parameter has a meaning; empty if always."""
    conditions = []
    for other, values in parameter.when.items():
        source = space.params[other]
        options = source.options if isinstance(source, Choice) else ()
        others = [option for option in options if option not in values]
        few = f"not {' or '.join(others)}" if 0 < len(others) < len(values) else " or ".join(values)
        conditions.append(f"{other} is {few}")
    return " and ".join(conditions)


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
