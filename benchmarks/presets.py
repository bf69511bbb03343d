"""Scores and times of every built-in preset on the same images.

Command: ``python -m benchmarks.presets``; its output is docs/measurements/presets.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from benchmarks.support.common import (
    JsonOption,
    Pair,
    PairsOption,
    QuickOption,
    Row,
    Section,
    WeightsOption,
    err,
    pairs_from,
    progress,
    publish,
    random_weights,
    run,
)
from nst_core.config import StyleConfig
from nst_core.images.tensors import resize, to_uint8
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import BUILT_IN, runnable
from nst_core.presets.preset import Preset
from nst_core.stylization import Step, default_device, stylize
from tuner.apply.weights_files import WeightsFiles

#: Number of steps in a quick run, and for networks with random weights.
FEW_STEPS = 20

SCORES = ("lpips", "ssim", "psnr", "rmse")
COLUMNS = ("preset", "network", "steps", *SCORES, "seconds")


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = 128,
    quick: QuickOption = False,
    json_file: JsonOption = None,
    weights: WeightsOption = None,
) -> None:
    """Run every built-in preset and score it against the references."""
    files = WeightsFiles(weights or (), err.print)
    suite = MetricSuite.load(files, default_device(), metrics=SCORES)
    rows: list[Row] = []
    for each in pairs_from(pair, count=1):
        rows.append(_content_row(each, size_px, suite))
        for preset in BUILT_IN.values():
            rows.append(_row(each, preset, size_px, suite, files, quick=quick))
    mechanics = [
        _mechanics_row(preset, size_px)
        for preset in BUILT_IN.values()
        if not files.available(preset.config.extractor)
    ]
    tables = [
        Section(title=name, columns=COLUMNS, rows=[row for row in rows if row["pair"] == name])
        for name in dict.fromkeys(row["pair"] for row in rows)
    ]
    notes = {row["preset"]: row["note"] for row in rows if row.get("note")}
    tables.append(
        Section(
            title="What ran otherwise than published",
            rows=[{"preset": preset, "how": note} for preset, note in notes.items()],
        )
    )
    tables.append(
        Section(
            title="Networks without weights here",
            text="These networks ran with random weights, which shows only that they run.",
            rows=mechanics,
        )
    )
    publish(
        "The built-in presets, measured",
        f"Every preset with {'a few' if quick else 'all'} of its own steps at {size_px} px, against"
        " a reference by another engine. LPIPS measures how similar they look (lower is closer);"
        " SSIM, PSNR and RMSE prefer the untouched content, whose scores are in the first row.",
        tables,
        json_file=json_file,
    )


def _content_row(pair: Pair, size_px: int, suite: MetricSuite) -> Row:
    reference_3HW = pair.reference(size_px)
    content = to_uint8(resize(pair.content_3HW, *reference_3HW.shape[1:]))
    scores = suite.score(content, to_uint8(reference_3HW))
    return {"pair": pair.name, "preset": "(untouched content)", **scores}


def _row(
    pair: Pair,
    preset: Preset,
    size_px: int,
    suite: MetricSuite,
    files: WeightsFiles,
    *,
    quick: bool,
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
        **suite.score(to_uint8(last.image_3HW), to_uint8(reference_3HW)),
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
    """Run a preset whose weights are not available with random weights, as a functional check."""
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


if __name__ == "__main__":
    run(main)
