"""A real-time network against the optimization it replaces: loss, metrics, time of an image.

Command: ``python -m benchmarks.distill --photos photos``. It trains one network for some minutes
and measures it on photos that it has not seen. `benchmarks.support.package_photos` says where a
few hundred photos come from; without ``--photos``, the few photos of installed packages are used.

The losses of the loss network are those of the preset; metrics compare each picture with that of
the optimization at the preset's steps. The untouched photo is the baseline.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    WeightsOption,
    err,
    publish,
    run,
)
from nst_core.distill.photos import SAMPLES
from nst_core.distill.settings import NETWORKS, TrainingSettings
from nst_core.images.tensors import save_image
from nst_core.sample_pictures import sample_style
from tuner.distill.request import Request
from tuner.distill.train import distill

#: Sizes, minutes of training and steps; the quick form only shows that it works.
SIZE_PX, MINUTES = 96, 15.0
QUICK_SIZE_PX, QUICK_STEPS, QUICK_SETTINGS = 48, 4, ["steps=4"]
#: Settings without a preset: the best of a search of `benchmarks.live` (golden-gate, 128 px), to
#: three digits and as many steps as its result had.
SETTINGS = [
    *("style_weight=5.44", "style_layers={relu1_2: 0.99, relu2_2: 0.01}", "style_scale=0.851"),
    *("content_layers={relu1_2: 1}", "content_weight=1", "tv_weight=173", "init=mix"),
    *("init_noise=0.311", "lr=0.0252", "steps=45"),
]

#: Bounds: loss of the network relative to the optimization's and to the untouched
#: photo's, and how many times as fast it is.
MOST_LOSS, MOST_OF_UNTOUCHED, LEAST_SPEEDUP = 1.5, 0.5, 100.0


def main(
    quick: QuickOption = False,
    json_file: JsonOption = None,
    network: Annotated[str, typer.Option(help=" or ".join(NETWORKS))] = "mobile",
    preset: Annotated[list[str] | None, typer.Option(help="a preset; repeatable")] = None,
    style: Annotated[list[str] | None, typer.Option(help="a style image; repeatable")] = None,
    photos: Annotated[str, typer.Option(help="a folder of photos")] = SAMPLES,
    held_out: Annotated[Path | None, typer.Option(help="a folder of photos to measure on")] = None,
    size_px: Annotated[int, typer.Option(help="side of the training pictures")] = SIZE_PX,
    minutes: Annotated[float, typer.Option(help="minutes of training")] = MINUTES,
    batch: Annotated[int, typer.Option(help="pictures of a step")] = 2,
    out: Annotated[Path | None, typer.Option(help="keep the network as this .onnx file")] = None,
    weights: WeightsOption = None,
) -> None:
    """Train a network and print the table of its quality."""
    with tempfile.TemporaryDirectory() as folder:
        if not style:
            drawn = Path(folder) / "drawn.png"
            save_image(sample_style(), drawn)
            style = [str(drawn)]
        training = TrainingSettings(
            network=network,
            steps=QUICK_STEPS if quick else None,
            minutes=None if quick else minutes,
            batch=1 if quick else batch,
        )
        request = Request(
            presets=preset or [],
            styles=style,
            photos=photos,
            out=out or Path(folder) / "network.onnx",
            training=training,
            held_out=held_out,
            assignments=QUICK_SETTINGS if quick else [] if preset else SETTINGS,
            size_px=QUICK_SIZE_PX if quick else size_px,
            weights=weights or (),
            force=True,
        )
        quality = distill(request, console=err, say=lambda line: err.print(line, markup=False))
    _publish(quality, json_file)


def _publish(quality: dict[str, Any], json_file: Path | None) -> None:
    facts, rows = quality["facts"], quality["rows"]
    publish(
        "Real-time networks",
        f"A {facts['network']} network for {len(facts['styles'])} style(s), trained at"
        f" {facts['size_px']} px for {facts['training']['steps']} steps in"
        f" {facts['training']['seconds'] / 60:.0f} minutes on {facts['training']['photos']}"
        " photos.",
        [
            Section(title="Means over held-out photos", rows=quality["summary"]),
            Section(title="Each held-out photo", rows=rows),
        ],
        goals=goals(quality["summary"]),
        json_file=json_file,
    )


def goals(summary: list[Row]) -> list[Goal]:
    """Return the goals of each style from the means of `nst_core.distill.quality.summary`."""
    by_style: dict[str, dict[str, Row]] = {}
    for row in summary:
        by_style.setdefault(row["style"], {})[row["picture"]] = row
    return [
        goal
        for style, row in by_style.items()
        for goal in (
            Goal(
                name=f"{style}: loss / optimization",
                value=row["network"]["loss / optimization"],
                goal=MOST_LOSS,
                at_most=True,
            ),
            Goal(
                name=f"{style}: loss / untouched",
                value=row["network"]["loss / untouched"],
                goal=MOST_OF_UNTOUCHED,
                at_most=True,
            ),
            Goal(
                name=f"{style}: × faster",
                value=row["optimization"]["ms"] / row["network"]["ms"],
                goal=LEAST_SPEEDUP,
            ),
        )
    ]


if __name__ == "__main__":
    run(main)
