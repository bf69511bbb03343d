"""Pictures in the terminal: as sixels or by kitty's protocol where it knows them, else blocks."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.results.preset_runs import preset_run
from tuner.results.results import Results
from tuner.results.thumbnails import thumbnail

_COLUMNS = 3
_MOST_CELLS = 44
#: Pixels to draw from; terminals have some ten by cell.
_SIZE_PX = 480


def can_draw() -> bool:
    """Whether standard output is a terminal that says how large it is."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def pictures_of(results: Results, top: int, width: int) -> RenderableType:
    """Photo and reference of the first pair beside the best trials and the best preset.

    Args:
        results: of the run.
        top: how many trials.
        width: of the terminal, in cells.
    """
    # It says with a traceback that a terminal does not tell the size of its cells, which is common.
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)
    # Asks the terminal what it can do when it is imported, so not before somebody wants pictures.
    from textual_image.renderable import Image

    cells = min(_MOST_CELLS, width // _COLUMNS - 2)
    table = Table.grid(padding=(0, 2, 1, 0))
    row: list[RenderableType] = []
    for caption, path in _pictures(results, top):
        picture = thumbnail(path, _SIZE_PX)
        cell = Table.grid()
        cell.add_row(
            Image(picture, width=cells, height="auto")
            if picture
            else Text("(no picture)", style="dim")
        )
        cell.add_row(Text(caption, style="bold"))
        row.append(cell)
        if len(row) == _COLUMNS:
            table.add_row(*row)
            row = []
    if row:
        table.add_row(*row)
    return table


def _pictures(results: Results, top: int) -> Iterator[tuple[str, Path]]:
    folder, name = results.run.path, results.goals.first.name
    pair = results.job.pairs[0]
    yield "the photo", folder / pair.content
    yield "the reference", folder / pair.reference_file
    ranked = results.ranked()
    preset = results.best_preset()
    chosen = list(ranked[:top])
    if preset and preset not in chosen:
        chosen.append(preset)
    for found in chosen:
        what = found.record.preset or f"trial {found.record.trial}"
        caption = f"{ranked.index(found) + 1}. {what}, {name} {results.score(found):.4g}"
        if found.record.preset:
            caption += f" ({preset_run(found.record, results.score(found)).ran})"
        yield caption, folder / results.run.image(found.record.trial, 0)
