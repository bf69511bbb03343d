"""Tables of what is built in: search spaces, presets, networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nst_core.networks.registry import NETWORKS, Network
from nst_core.presets.preset import Preset
from search_spaces import Choice, Parameter, Space, StylizerSpace

if TYPE_CHECKING:  # imports torch, which commands that only list must not load
    from nst_core.networks.layer_info import LayerInfo
    from tuner.run.new_job import Proposal


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as one line, ``key=value`` each, numbers with three digits."""
    return " ".join(f"{key}={_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):  # layer -> weight
        return f"({', '.join(f'{layer}:{weight:g}' for layer, weight in value.items())})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def spaces_table(spaces: Mapping[str, Space]) -> Table:
    """Return a table of all search spaces, with the number of their parameters."""
    table = Table()
    table.add_column("space", no_wrap=True)
    table.add_column("description")
    table.add_column("params", justify="right")
    for name, space in spaces.items():
        table.add_row(Text(name), Text(space.summary), str(len(space.params)))
    return table


def space_table(space: Space) -> RenderableType:
    """Return a search space: parameters with conditions, fixed settings, initial points, reason."""
    table = Table(title=Text(f"space {space.name}, version {space.version}"), title_justify="left")
    table.add_column("parameter", no_wrap=True)
    for heading in ("range", "when"):
        table.add_column(heading, overflow="fold")
    for name, parameter in space.params.items():
        table.add_row(Text(name), Text(parameter.describe()), Text(_when(space, parameter)))
    notes = Table.grid(padding=(0, 1))
    notes.add_column(justify="right", style="bold", no_wrap=True)
    notes.add_column(overflow="fold")
    notes.add_row("fixed", Text(settings_text(space.fixed) or "nothing"))
    if isinstance(space, StylizerSpace):
        notes.add_row("defaults", Text(settings_text(space.own_defaults) or "unknown"))
    for index, point in enumerate(space.initial_points, start=1):
        notes.add_row(f"initial point {index}", Text(settings_text(point)))
    notes.add_row("why", Text(space.why))
    return Group(table, notes)


def _when(space: Space, parameter: Parameter) -> str:
    """Return the condition under which a parameter is used; empty if always."""
    conditions = []
    for other, values in parameter.when.items():
        source = space.params[other]
        options = source.options if isinstance(source, Choice) else ()
        others = [option for option in options if option not in values]
        # The shorter way to say it: the values, or those that are excluded.
        excludes = 0 < len(others) < len(values)
        text = f"not {' or '.join(others)}" if excludes else " or ".join(values)
        conditions.append(f"{other} is {text}")
    return " and ".join(conditions)


def preset_table(preset: Preset) -> RenderableType:
    """Return a preset: its settings, its description and the published values it came from."""
    table = Table(title=Text(f"preset {preset.name}"), title_justify="left")
    table.add_column("setting")
    table.add_column("value", overflow="fold")
    for key, value in preset.config.to_dict().items():
        is_layers = isinstance(value, dict)  # layer -> weight
        text = ", ".join(f"{k} {v:g}" for k, v in value.items()) if is_layers else str(value)
        table.add_row(key, Text(text))
    published = preset.provenance.get("published", {})
    lines = [Text(f"{key}: {value}") for key, value in published.items()]
    return Group(table, Text(preset.description), *lines)


def networks_table(networks: Mapping[str, Sequence[LayerInfo]]) -> Table:
    """Return a table of all networks: their default layers for content and style, and the cost."""
    table = Table(caption="GFLOP: forward pass at 256x256 up to the deepest default layer")
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
    """Return a table of a network's layers: size, receptive field, cost and default use."""
    table = Table(title=network.name, title_justify="left")
    table.add_column("layer")
    for heading in ("channels", "stride", "sees px", "GFLOP up to here", "share"):
        table.add_column(heading, justify="right")
    table.add_column("default for")
    for info in layers:
        roles = ["content"] if info.layer == network.content_layer else []
        roles += ["style"] if info.layer in network.style_layers else []
        table.add_row(
            info.layer,
            *(str(info.channels), str(info.stride), str(info.receptive_field_px)),
            *(f"{info.gflop:.2f}", f"{info.gflop / layers[-1].gflop:.0%}", ", ".join(roles)),
        )
    return table


def proposal_table(proposal: Proposal) -> RenderableType:
    """Return what `nst-tuner init` understood: the pictures, the job and the expected time."""
    from tuner.run.new_job import minutes_text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    files, sizes = proposal.pictures.files, proposal.pictures.sizes()
    for role, file in files.items():
        table.add_row(role, Text(f"{file}  {sizes[role][0]}x{sizes[role][1]}"))
    job = proposal.job(None)
    table.add_row("results", f"{proposal.size_px} px, compared with the reference by LPIPS")
    table.add_row(
        "search",
        f"{proposal.trials} trials of up to {proposal.max_steps} steps in the space {job['space']}",
    )
    workers = f"{proposal.workers} at a time" if proposal.workers > 1 else "one at a time"
    table.add_row("machine", Text(f"{proposal.device}: {proposal.step_s:.2g} s a step, {workers}"))
    time = f"about {minutes_text(proposal.minutes)} with start and finals"
    if proposal.budget_minutes < math.inf:
        time += f"; the search itself ends after {minutes_text(proposal.budget_minutes)}"
    table.add_row("time", time)
    return table
