"""The table of `nst-tuner suggest`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.terminal.tables import settings_text
from tuner.transfer.short_runs import Tested, said_of


def suggestions_table(tested: Sequence[Tested], size_px: int) -> RenderableType:
    """Suggestions, what they should reach, and which pairs, tuned at ``size_px``, say so."""
    table = Table()
    table.add_column("", justify="right")
    table.add_column("settings", overflow="fold")
    table.add_column("steps", justify="right")
    table.add_column("lpips, of the\nuntouched content's", justify="right")
    tried = any(run is not None for *_, run in tested)
    if tried:
        table.add_column("edges\nkept", justify="right")
        table.add_column("style\ndistance", justify="right")
    for place, (one, _, run) in enumerate(tested, 1):
        cells: list[RenderableType] = [
            str(place),
            Text(settings_text(one.params)),
            str(one.steps),
            f"{one.share:.0%}",
        ]
        if run is not None:
            cells += [f"{run.edges:.0%}", f"{run.style:.0%}"]
        table.add_row(*cells)
    like = ", ".join(f"{name} {weight:.0%}" for name, weight in tested[0][0].like)
    said = f"Most like: {like}. Tuned at {size_px} px: at others expect less, and tune."
    return Group(table, Text(said), Text(said_of(tested)))
