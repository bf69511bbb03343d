"""L-BFGS, Adam and AdamW against feed-forward references, like the report behind `lbfgs-resnet18`.

Command: ``python -m benchmarks.optimizers``; its output is docs/measurements/optimizers.md. The
    report compares
the optimizers by RMSE, PSNR and SSIM against outputs of a feed-forward network after 1000 steps. It
ranks L-BFGS first, AdamW second and Adam third, and finds 1500 and 2000 steps no better. Here the
same runs are scored after 1000, 1500 and 2000 steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import mean
from typing import Annotated

import typer
from torch import Tensor

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
    run,
)
from nst_core.config import StyleConfig
from nst_core.images.tensors import resize, to_uint8
from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import BASELINES, runnable
from nst_core.stylization import default_device
from tuner.apply.weights_files import WeightsFiles

STEPS = (1000, 1500, 2000)
QUICK_STEPS = (10, 15, 20)

#: The report's optimizers and learning rates, and its scores after 1000 steps.
OPTIMIZERS: Mapping[str, Mapping[str, object]] = {
    "lbfgs": {"optimizer": "lbfgs", "lr": 1.0},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
    "adam": {"optimizer": "adam", "lr": 0.1},
}
REPORTED: Mapping[str, Mapping[str, float]] = {
    "lbfgs": {"rmse": 0.01187, "psnr": 38.528, "ssim": 0.8864},
    "adamw": {"rmse": 0.01238, "psnr": 38.235, "ssim": 0.8801},
    "adam": {"rmse": 0.01270, "psnr": 38.001, "ssim": 0.8785},
}

#: Metrics, and whether a higher value is better.
SCORES = {"lpips": False, "ssim": True, "psnr": True, "rmse": False}


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = 96,
    quick: QuickOption = False,
    json_file: JsonOption = None,
    weights: WeightsOption = None,
) -> None:
    """Compare the report's optimizers after 1000, 1500 and 2000 steps."""
    files = WeightsFiles(weights or (), err.print)
    suite = MetricSuite.load(files, default_device(), metrics=SCORES)
    config, note = runnable(BASELINES["lbfgs-resnet18"], files.available)
    pairs = pairs_from(pair)
    references = [each.reference(size_px) for each in pairs]
    checkpoints = QUICK_STEPS if quick else STEPS
    rows: list[Row] = []
    for name, settings in OPTIMIZERS.items():
        lane = config.config.replace(size_px=size_px, steps=checkpoints[-1], **settings)
        for steps, images in _run(name, lane, pairs, checkpoints, files):
            row = {"optimizer": name, "steps": steps}
            rows.append({**row, **_scores(images, references, suite)})
    untouched = [
        resize(each.content_3HW, *goal.shape[1:])
        for each, goal in zip(pairs, references, strict=True)
    ]
    rows.append({"optimizer": "(untouched content)", **_scores(untouched, references, suite)})
    orders = compare_with_report(rows, checkpoints)
    extra = f" ({note[0].upper()}{note[1:]}.)" if note else ""
    publish(
        "Optimizers, compared as the lbfgs-resnet18 report did",
        f"{config.config.extractor}, {size_px} px, mean over"
        f" {', '.join(each.name for each in pairs)}; references by a feed-forward network.{extra}",
        [
            Section(title="Scores", rows=rows, columns=("optimizer", "steps", *SCORES)),
            Section(title="Orders, best first", rows=orders),
        ],
        json_file=json_file,
    )


def _run(
    name: str,
    config: StyleConfig,
    pairs: Sequence[Pair],
    checkpoints: Sequence[int],
    weights: Callable[[str], Weights],
) -> Iterator[tuple[int, list[Tensor]]]:
    """Yield each step count with the images of all pairs."""
    store = FeatureStore(weights, default_device())
    batches = []
    for each in pairs:
        batch = LaneBatch(store)
        styles = [(each.style_3HW, 1.0)]
        batch.add(each.name, config, LossInputs.at_size(each.content_3HW, styles, config.size_px))
        batches.append(batch)
    with progress() as bar:
        task = bar.add_task(name, total=checkpoints[-1] * len(batches))
        for checkpoint in checkpoints:
            for batch in batches:
                while (steps_left := checkpoint - batch.lanes[0].step) > 0:
                    losses = batch.advance(min(steps_left, 10))
                    (outcome,) = batch.outcomes(losses)
                    if outcome is not Outcome.RUNNING:
                        raise SystemExit(f"{name}: {outcome.value}")
                    bar.update(task, advance=min(steps_left, 10))
            yield checkpoint, [batch.picture(batch.lanes[0].key) for batch in batches]


def _scores(images: Sequence[Tensor], references: Sequence[Tensor], suite: MetricSuite) -> Row:
    scores = [
        suite.score(to_uint8(image), to_uint8(resize(goal, *image.shape[1:])))
        for image, goal in zip(images, references, strict=True)
    ]
    return {name: mean(score[name] for score in scores) for name in SCORES}


def compare_with_report(rows: Sequence[Row], checkpoints: Sequence[int]) -> list[Row]:
    """Return rankings by each metric at the first step count, and each optimizer's best count."""
    orders = []
    for metric, higher in SCORES.items():
        first = [row for row in rows if row.get("steps") == checkpoints[0]]
        here = [r["optimizer"] for r in sorted(first, key=lambda r: r[metric], reverse=higher)]
        reported = ""
        if metric in REPORTED["adam"]:
            ranked = sorted(REPORTED, key=lambda name: REPORTED[name][metric], reverse=higher)
            reported = " > ".join(ranked)
        best = {
            name: max(
                (row for row in rows if row["optimizer"] == name),
                key=lambda row: row[metric] if higher else -row[metric],
            )["steps"]
            for name in OPTIMIZERS
        }
        orders.append(
            {
                "metric": metric,
                "here": " > ".join(here),
                "report": reported,
                "agrees": reported == " > ".join(here) if reported else "",
                "best steps": ", ".join(f"{name} {steps}" for name, steps in best.items()),
            }
        )
    return orders


if __name__ == "__main__":
    run(main)
