"""The command distill: from presets to a real-time network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nst_core.distill.settings import LEARNING_RATES, TrainingSettings
from nst_core.errors import InputError
from tuner.terminal import completion
from tuner.terminal.console import (
    ForceOption,
    JsonOption,
    WeightsOption,
    err,
    example,
    out,
    print_json,
    say,
)
from tuner.terminal.metric_tables import quality_table

app = typer.Typer(rich_markup_mode="rich")


@app.command(
    epilog=example("distill cafe.json --style art.jpg --photos photos --minutes 60 --out cafe.onnx")
)
def distill(
    style: Annotated[
        list[str],
        typer.Option(
            metavar="S",
            help="a style image; repeatable: each becomes a style of the network, by its file name",
        ),
    ],
    photos: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="a folder of photos to train on, or `samples` for the few photos that installed"
            " packages carry",
        ),
    ],
    out_file: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="N.onnx",
            help="the network; everything else goes into the folder N.onnx.training",
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET",
            help="name of a built-in preset, or a preset file; default: the default settings",
            autocompletion=completion.presets,
        ),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="P",
            help="a preset, as PRESET; repeatable: one for all styles, or one for each style",
            autocompletion=completion.presets,
        ),
    ] = None,
    network: Annotated[
        str,
        typer.Option(metavar="KIND", help="`mobile` (0.2 million parameters) or `small` (1.7)"),
    ] = "mobile",
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="end the training after this time")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="number of steps; default: 20,000, or what --minutes allow"),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="number of pictures of a step")] = 4,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="peak learning rate; default: "
            + ", ".join(f"{lr:g} ({kind})" for kind, lr in LEARNING_RATES.items()),
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of everything that is random")] = 0,
    augment: Annotated[
        bool, typer.Option("--augment/--no-augment", help="train on random crops and flips")
    ] = True,
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="measure the quality on the photos of this folder; default: some of --photos, on"
            " which the network is not trained",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change one setting of all presets"),
    ] = None,
    size_px: Annotated[
        int | None, typer.Option(metavar="PX", help="side of the pictures to train on")
    ] = None,
    json: JsonOption = False,
    force: ForceOption = False,
    weights: WeightsOption = None,
) -> None:
    """Train a network that stylizes in one pass, on the loss of a preset.

    The same command continues after an interruption. At the end, a page compares the network with
    the optimization.
    """
    presets = [*([preset] if preset else []), *(more or [])]
    if not presets and not set_:
        raise InputError(
            "nothing to distill: name a preset, or give settings with --set key=value"
            " (`nst-tuner presets` lists the built-in ones)"
        )
    training = TrainingSettings(
        network=network,
        steps=steps,
        minutes=minutes,
        batch=batch,
        lr=lr,
        seed=seed,
        augment=augment,
    )
    from tuner.distill.request import Request
    from tuner.distill.train import distill as train

    request = Request(
        presets=presets,
        styles=style,
        photos=photos,
        out=out_file,
        training=training,
        held_out=held_out,
        assignments=set_ or (),
        size_px=size_px,
        weights=weights or (),
        force=force,
    )
    quality = train(request, console=err, say=say)
    if json:
        print_json(quality)
    else:
        out.print(quality_table(quality["summary"]))
