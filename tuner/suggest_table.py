"""The table of `nst-tuner suggest`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.suggest import Suggestion
from tuner.tables import settings_text


def suggestions_table(suggestions: Sequence[Suggestion], size_px: int) -> RenderableType:
    """What to try first, what it should reach, and which pairs, tuned at ``size_px``, say so."""
    table = Table()
    table.add_column("", justify="right")
    table.add_column("settings", overflow="fold")
    table.add_column("steps", justify="right")
    table.add_column("lpips, of the\nuntouched content's", justify="right")
    for place, one in enumerate(suggestions, 1):
        table.add_row(
            str(place), Text(settings_text(one.params)), str(one.steps), f"{one.share:.0%}"
        )
    like = ", ".join(f"{name} {weight:.0%}" for name, weight in suggestions[0].like)
    said = f"Most like: {like}. Tuned at {size_px} px: at others expect less, and tune."
    return Group(table, Text(said))
