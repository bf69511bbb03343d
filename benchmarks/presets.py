"""Every built-in preset on the same pictures: how near the reference it comes, and how long.

``python -m benchmarks.presets --write docs/presets.md`` writes the table of the documents.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.common import (
    JsonOption,
    Pair,
    PairsOption,
    QuickOption,
    Row,
    WeightsOption,
    err,
    machine,
    markdown_table,
    pairs_from,
    progress,
    random_weights,
    run,
    show,
)
from nst_core.built_in import BUILT_IN, runnable
from nst_core.config import StyleConfig
from nst_core.images import resize, to_uint8
from nst_core.metrics import Judge
from nst_core.presets import Preset
from nst_core.stylization import Step, default_device, stylize
from nst_core.weights import Weights
from tuner.weightsfiles import WeightsFiles

#: Steps of a quick run, and of a network that has nothing but random weights.
FEW_STEPS = 20


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = 128,
    quick: QuickOption = False,
    as_json: JsonOption = False,
    weights: WeightsOption = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="also write the document")
    ] = None,
) -> None:
    """Run every built-in preset, score it against the references, and print a row for each."""
    files = WeightsFiles(weights or (), err.print)
    judge = Judge.load(files, default_device())
    rows: list[Row] = []
    for each in pairs_from(pair, count=1):
        rows.append(_content_row(each, size_px, judge))
        for preset in BUILT_IN.values():
            rows.append(_row(each, preset, size_px, judge, files, quick=quick))
    mechanics = [
        _mechanics_row(preset, size_px)
        for preset in BUILT_IN.values()
        if not files.available(preset.config.extractor)
    ]
    show({"presets": rows, "random weights": mechanics}, as_json=as_json)
    if write:
        write.write_text(to_markdown(rows, mechanics, size_px), encoding="utf-8")
        err.print(f"wrote {write}")


def _content_row(pair: Pair, size_px: int, judge: Judge) -> Row:
    reference_3HW = pair.reference(size_px)
    content = to_uint8(resize(pair.content_3HW, *reference_3HW.shape[1:]))
    scores = judge.score(content, to_uint8(reference_3HW))
    return {"pair": pair.name, "preset": "(untouched content)", **scores}


def _row(
    pair: Pair, preset: Preset, size_px: int, judge: Judge, files: WeightsFiles, *, quick: bool
) -> Row:
    changed, note = runnable(preset, files.available, half=default_device().type == "cuda")
    config = changed.config.replace(size_px=size_px)
    if quick:
        config = config.stopped_at(min(config.steps, FEW_STEPS))
    last = _last_step(preset.name, config, pair, files)
    size = tuple(last.image_3HW.shape[1:])
    reference_3HW = resize(pair.reference(size_px), *size)
    return {
        "pair": pair.name,
        "preset": preset.name,
        "network": config.extractor,
        "steps": last.step,
        **judge.score(to_uint8(last.image_3HW), to_uint8(reference_3HW)),
        "seconds": last.seconds,
        "outcome": last.outcome.value,
        "note": note or "",
    }


def _last_step(
    label: str, config: StyleConfig, pair: Pair, weights: Callable[[str], Weights]
) -> Step:
    with progress() as bar:
        task = bar.add_task(f"{pair.name}: {label}", total=config.steps)
        styles = [(pair.style_3HW, 1.0)]
        for step in stylize(config, pair.content_3HW, styles, weights=weights, every=20):
            bar.update(task, completed=step.step)
    return step


def _mechanics_row(preset: Preset, size_px: int) -> Row:
    """The preset's own network, whose weights are not here, with random ones: does it run?"""
    (pair,) = pairs_from(None, count=1)
    config = preset.config.replace(size_px=size_px, precision="float32").stopped_at(FEW_STEPS)
    label = f"{preset.name} (random weights)"
    last = _last_step(label, config, pair, random_weights)
    return {
        "preset": preset.name,
        "network": f"{config.extractor}, random weights",
        "steps": last.step,
        "seconds": last.seconds,
        "outcome": last.outcome.value,
    }


def to_markdown(rows: list[Row], mechanics: list[Row], size_px: int) -> str:
    """The document: a table for each pair, and one of what ran with random weights."""
    where = machine()
    parts = [
        "# The built-in presets, measured\n",
        f"Written by `python -m benchmarks.presets --write docs/presets.md` on {where['processor']}"
        f" with torch {where['torch']}; every preset with all of its own steps, {size_px} px,"
        " against a reference by another engine. LPIPS says how it looks (lower is nearer); SSIM,"
        " PSNR and RMSE prefer the untouched content, which is why its row is there.\n",
    ]
    headings = {
        "preset": "preset",
        "network": "network",
        "steps": "steps",
        "lpips": "LPIPS ↓",
        "ssim": "SSIM ↑",
        "psnr": "PSNR ↑",
        "rmse": "RMSE ↓",
        "seconds": "seconds",
    }
    for name in dict.fromkeys(row["pair"] for row in rows):
        own = [row for row in rows if row["pair"] == name]
        parts.append(f"## {name}\n\n{markdown_table(own, headings)}")
    notes = {row["preset"]: row["note"] for row in rows if row.get("note")}
    if notes:
        lines = "".join(f"- {preset}: {note}.\n" for preset, note in notes.items())
        parts.append(f"## What ran otherwise than published\n\n{lines}")
    if mechanics:
        keys = ("preset", "network", "steps", "seconds", "outcome")
        table = markdown_table(mechanics, {key: key for key in keys})
        parts.append(
            "## Networks without weights here\n\nThese run with random weights, which shows that"
            f" they run and says nothing about pictures.\n\n{table}"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    run(main)
