"""Contact sheet: pictures in a grid with a label below each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tuner.job.spec import StyleImage
from tuner.results.preset_runs import best_preset_result, preset_run
from tuner.results.results import Results
from tuner.results.thumbnails import thumbnail

_CELL_PX = 224
_LINE_PX = 16
_MARGIN_PX = 8
#: Number of best trials on the sheet of a run.
_BEST = 3

#: A label and the picture above it; None leaves the place of the picture white.
Cell = tuple[str, Path | None]


def contact_sheet(cells: Sequence[Cell], columns: int, *, cell_px: int = _CELL_PX) -> Image.Image:
    """Return the pictures in a grid, row by row; labels may have several lines."""
    pictures = [_cell(path, cell_px) for _, path in cells]
    height = max(picture.height for picture in pictures)
    lines = max(2, *(label.count("\n") + 1 for label, _ in cells))
    pitch = (cell_px + _MARGIN_PX, height + lines * _LINE_PX + 2 + _MARGIN_PX)
    rows = -(-len(cells) // columns)
    size = (columns * pitch[0] + _MARGIN_PX, rows * pitch[1] + _MARGIN_PX)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for index, ((label, _), picture) in enumerate(zip(cells, pictures, strict=True)):
        left = _MARGIN_PX + (index % columns) * pitch[0]
        top = _MARGIN_PX + (index // columns) * pitch[1]
        sheet.paste(picture, (left, top + height - picture.height))
        draw.text((left, top + height + 2), label, fill="black", font=font)
    return sheet


def first_look(results: Results) -> Image.Image:
    """Return reference, best published preset and best trial in one row, for a README.

    Raises:
        RunError: no trial has reported a score.
    """
    best, preset = results.trial_result(), best_preset_result(results)
    first, pair = results.goals.first, results.job.pairs[0]
    cells: list[Cell] = [("your reference", results.run.path / pair.reference_file)]
    if preset and preset.record.trial != best.record.trial:
        ran = preset_run(preset.record, results.score(preset))
        label = f"{ran.role}: {ran.preset}" if ran.preset else ran.role
        label += f"\n{first.labeled(results.score(preset))}"
        cells.append((label, results.picture(preset, 0)))
    label = f"tuned\n{first.labeled(results.score(best))}"
    return contact_sheet([*cells, (label, results.picture(best, 0))], len(cells) + 1, cell_px=420)


def _cell(path: Path | None, cell_px: int) -> Image.Image:
    """Return a picture as wide as a cell, cropped at the bottom; gray if it cannot be read."""
    if path is None:
        return Image.new("RGB", (cell_px, 1), "white")
    picture = thumbnail(path, 4 * cell_px) or Image.new("RGB", (cell_px, cell_px), "#ccc")
    height = round(picture.height * cell_px / picture.width)
    scaled = picture.resize((cell_px, max(1, height)), Image.Resampling.LANCZOS)
    return scaled.crop((0, 0, cell_px, min(scaled.height, cell_px)))


def style_cells(
    folder: Path, styles: Sequence[StyleImage], blend: Sequence[float] | None, columns: int
) -> list[Cell]:
    """Return one cell for each style image of a pair; several show their share of the blend.

    Args:
        folder: folder that the paths of the style images are relative to.
        styles: the style images of the pair.
        blend: their weights in a configuration (`StyleConfig.style_blend`), or None to use the
            weights of the job.
        columns: number of cells to return; missing ones are empty.
    """
    weights = blend or [style.weight for style in styles]
    cells: list[Cell] = [("style", folder / styles[0].image)]
    if len(styles) > 1:
        shares = _shares(styles, weights)
        cells = [
            (f"style {number}\n{share}", folder / style.image)
            for number, (style, share) in enumerate(zip(styles, shares, strict=True), 1)
        ]
    return cells + [("", None)] * (columns - len(cells))


def _shares(styles: Sequence[StyleImage], weights: Sequence[float]) -> list[str]:
    """Return the share of each style image among those of its region, as text."""
    totals: dict[str | None, float] = {}
    for style, weight in zip(styles, weights, strict=True):
        totals[style.region] = totals.get(style.region, 0.0) + weight
    suffix = " of its region" if len(totals) > 1 else ""
    return [
        f"{weight / totals[style.region]:.0%}{suffix}"
        for style, weight in zip(styles, weights, strict=True)
    ]


def run_sheet(results: Results) -> Image.Image:
    """Return a sheet with one row per pair: content, styles, reference, presets, best trials.

    The best preset has a column of its own only if it is not among the best trials. Shares of
    several style images are those of the best trial.
    """
    objective = results.goals.first
    ranked = results.ranked()
    preset = best_preset_result(results)
    chosen = [("best" if i == 0 else f"no. {i + 1}", r) for i, r in enumerate(ranked[:_BEST])]
    if preset and preset.record.trial not in {result.record.trial for result in ranked[:_BEST]}:
        run = preset_run(preset.record, results.score(preset))
        chosen.insert(0, (run.short_role, preset))
    untouched = results.baselines["content"]
    baseline = objective.labeled(objective.of(untouched)) if objective.known(untouched) else ""
    blend = ranked[0].config.get("style_blend") if ranked else None
    styles = max(len(pair.style) for pair in results.job.pairs)
    cells: list[Cell] = []
    for index, pair in enumerate(results.job.pairs):
        cells.append((f"content\n{baseline}", results.run.path / pair.content))
        cells += style_cells(results.run.path, pair.style, blend, styles)
        cells.append(("reference", results.run.path / pair.reference_file))
        for title, result in chosen:
            label = f"{title}: {result.name}\n{objective.labeled(results.score(result))}"
            if result.record.preset:
                label += f"\n{preset_run(result.record, results.score(result)).ran}"
            cells.append((label, results.picture(result, index)))
    return contact_sheet(cells, columns=2 + styles + len(chosen))
