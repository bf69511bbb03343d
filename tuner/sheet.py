"""A contact sheet: labelled pictures side by side, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tuner.results import Results

_CELL_PX = 224
_LABEL_PX = 34
_MARGIN_PX = 8


def contact_sheet(cells: Sequence[tuple[str, Path]], columns: int) -> Image.Image:
    """Lay out pictures with a label each; a label may have two lines."""
    rows = -(-len(cells) // columns)
    width = columns * (_CELL_PX + _MARGIN_PX) + _MARGIN_PX
    cell_height = _CELL_PX + _LABEL_PX + _MARGIN_PX
    sheet = Image.new("RGB", (width, rows * cell_height + _MARGIN_PX), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for index, (label, path) in enumerate(cells):
        left = _MARGIN_PX + (index % columns) * (_CELL_PX + _MARGIN_PX)
        top = _MARGIN_PX + (index // columns) * cell_height
        with Image.open(path) as picture:
            thumbnail = _fit(picture.convert("RGB"))
        offset = (_CELL_PX - thumbnail.width) // 2
        sheet.paste(thumbnail, (left + offset, top + _CELL_PX - thumbnail.height))
        draw.text((left, top + _CELL_PX + 2), label, fill="black", font=font)
    return sheet


def _fit(picture: Image.Image) -> Image.Image:
    scale = _CELL_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def run_sheet(results: Results, top: int = 3) -> Image.Image:
    """One row per pair: content, style, reference, best baseline preset, and the best trials."""
    objective = results.job.objective
    ranked = results.ranked()
    preset = results.best_preset()
    chosen = [("best preset", preset)] if preset else []
    chosen += [("best" if i == 0 else f"no. {i + 1}", f) for i, f in enumerate(ranked[:top])]
    content_score = results.baselines["content"][objective]
    cells: list[tuple[str, Path]] = []
    for index, pair in enumerate(results.job.pairs):
        cells.append((f"content\n{objective} {content_score:.3f}", results.run.path / pair.content))
        cells.append(("style", results.run.path / pair.styles[0][0]))
        cells.append(("reference", results.run.path / pair.reference))
        for title, found in chosen:
            name = found.record.preset or f"trial {found.record.trial}"
            label = f"{title}: {name}\n{objective} {found.rung.objective:.3f}"
            cells.append((label, results.run.path / results.run.image(found.record.trial, index)))
    return contact_sheet(cells, columns=3 + len(chosen))
