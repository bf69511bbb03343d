"""Commands that work on pictures without a run: stylize, reference, score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nst_core.errors import InputError
from nst_core.images.encode import check_writable_image
from nst_core.metrics.registry import ON_REQUEST
from tuner.cli.arguments import refuse_options
from tuner.terminal import completion
from tuner.terminal.console import (
    ForceOption,
    JsonOption,
    TrustOption,
    WeightsOption,
    err,
    example,
    out,
    print_json,
    say,
)

if TYPE_CHECKING:
    from nst_core.presets.preset import Preset
    from tuner.apply.picture import Outputs, Sources

app = typer.Typer(rich_markup_mode="rich")

_STYLE = typer.Option(
    metavar="S[:WEIGHT][@MASK[@PART]]",
    help="a style image; repeatable, to blend styles by their WEIGHT. MASK: a picture that is"
    " white where the style applies; PART: one that is white where the style image counts",
)
StyleOption = Annotated[list[str], _STYLE]
StylesOption = Annotated[list[str] | None, _STYLE]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="P",
        help="the settings: name of a built-in preset, or a preset file",
        autocompletion=completion.presets,
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="change one setting, such as steps=300; repeatable. `nst-tuner presets NAME` lists"
        " the settings",
    ),
]
SizeOption = Annotated[
    int | None, typer.Option(metavar="PX", help="longer side of the result in pixels")
]
SeedOption = Annotated[
    int | None, typer.Option(help="seed of the noise; only for settings that start with noise")
]
StrengthOption = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="0.5 to 2: less or more style against content than the preset or the network has",
    ),
]
StartOption = Annotated[
    Path | None,
    typer.Option(metavar="I", help="start from this picture (the setting init: image)"),
]
EveryOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="also save a picture every N steps, beside the result"),
]
GifOption = Annotated[
    Path | None,
    typer.Option(metavar="A.gif", help="also save an animation of the steps, .gif or .webp"),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(metavar="L.png", help="also save a plot of the losses, .png, .svg or .pdf"),
]
BitsOption = Annotated[
    int, typer.Option(help="bits per color channel: 8, or 16 for PNG and TIFF files")
]
KeepAlphaOption = Annotated[
    bool, typer.Option("--keep-alpha", help="give the result the transparency of the content")
]


NetworkOption = Annotated[
    Path | None,
    typer.Option(
        metavar="N.onnx",
        help="stylize in one pass of a network that `nst-tuner distill` made, instead of --preset;"
        " --style then names one of its styles, and the result has the size of the content",
    ),
]


@app.command(epilog=example("stylize --content photo.jpg --style art.jpg -p cafe.json --out o.png"))
def stylize(
    content: Annotated[
        Path, typer.Option(metavar="C", help="a picture, a folder of pictures, or a video")
    ],
    out_file: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="O",
            help="the result: a picture, a folder or a video, as --content; an earlier result of"
            " nst-tuner is replaced",
        ),
    ],
    style: StylesOption = None,
    preset: PresetOption = None,
    network: NetworkOption = None,
    set_: SettingOption = None,
    size_px: SizeOption = None,
    strength: StrengthOption = None,
    seed: SeedOption = None,
    start: StartOption = None,
    every: EveryOption = None,
    gif: GifOption = None,
    plot: PlotOption = None,
    bits: BitsOption = 8,
    keep_alpha: KeepAlphaOption = False,
    force: ForceOption = False,
    weights: WeightsOption = None,
    trust: TrustOption = False,
) -> None:
    """Stylize a picture, a folder of pictures or a video, with a preset, --set or a network."""
    from nst_core.files import is_file, is_folder
    from nst_core.images.sizes import check_image
    from nst_core.presets.built_in import load_any_preset
    from nst_core.presets.preset import StylizerPreset
    from nst_core.presets.strength import weight_factor, with_strength
    from tuner.apply.picture import Outputs, Sources, apply_preset, preset_file, settings
    from tuner.cli.other_stylizers import stylize_by_other
    from tuner.study.preflight_checks import check_sources, is_video

    if network is not None:
        optimizing: dict[str, object] = {"--preset": preset, "--set": set_}
        optimizing["--seed"] = seed is not None
        optimizing |= {"--start": start, "--every": every, "--gif": gif, "--plot": plot}
        refuse_options(
            {**optimizing, "--weights": weights, "--trust": trust},
            "for optimizations only, and --network is one pass of a network; leave it out",
        )
        _stylize_by_network(
            *(network, content, out_file, style or ()),
            *(1.0 if strength is None else weight_factor(strength), size_px),
            bits=bits,
            keep_alpha=keep_alpha,
            force=force,
        )
        return
    if not style:
        raise InputError("no style image; name one with --style FILE, or a network with --network")
    check_sources(content, style, start)
    if preset and isinstance(other := load_any_preset(preset), StylizerPreset):
        ours: dict[str, object] = {"--start": start, "--every": every, "--gif": gif, "--plot": plot}
        ours |= {"--strength": strength, "--weights": weights}
        ours |= {"--bits": bits != 8, "--keep-alpha": keep_alpha}
        refuse_options(ours, f"for our engine only, but {preset} names another stylizer")
        options: dict[str, Any] = {"size_px": size_px, "seed": seed}
        stylize_by_other(other, preset, content, style, out_file, set_ or (), force, trust, options)
        return
    if trust:
        raise InputError("--trust: the preset names no code of its own; leave this option out")
    assignments = _with_start(set_ or (), start)
    chosen = settings(preset, assignments, size_px=size_px, seed=seed, say=say)
    if strength is not None:
        chosen = replace(chosen, config=with_strength(chosen.config, strength))
    if chosen.config.init == "image" and not start:
        raise InputError("init `image` starts from a given picture; name it with --start FILE")
    sources = Sources(
        content=content,
        styles=style,
        start=start,
        weights=weights or (),
        others=[preset_file(preset)],
    )
    outputs = Outputs(
        image=out_file,
        every=every,
        gif=gif,
        plot=plot,
        bits=bits,
        keep_alpha=keep_alpha,
        force=force,
    )
    if is_folder(content) or is_video(content):
        _stylize_several(chosen, sources, outputs)
        return
    check_writable_image(out_file, bits=bits, alpha=keep_alpha)
    if size_px is None and is_file(content):  # a pipe can be read only once
        preset_px, content_px = chosen.config.size_px, max(check_image(content))
        if content_px > 1.5 * preset_px:
            say(
                f"the result has {preset_px} px, the size of the preset; {content.name} has"
                f" {content_px} px: --size-px makes a larger one, with finer strokes"
            )
    apply_preset(chosen, sources, outputs, console=err, say=say)


def _with_start(assignments: Sequence[str], start: Path | None) -> list[str]:
    """Return the settings of --set, with ``init=image`` if there is a picture to start from."""
    if not start:
        return list(assignments)
    if inits := [a for a in assignments if a.partition("=")[0].strip() == "init"]:
        raise InputError(f"--start: sets init=image itself; leave out --set {inits[-1]}")
    return [*assignments, "init=image"]


def _stylize_by_network(
    network: Path,
    content: Path,
    out: Path,
    styles: Sequence[str],
    strength: float,
    size_px: int | None,
    *,
    bits: int,
    keep_alpha: bool,
    force: bool,
) -> None:
    """Stylize a picture, a folder or a video in one pass of a network."""
    from nst_core.files import is_folder
    from tuner.apply import network as networks
    from tuner.apply.several import make_several
    from tuner.study.preflight_checks import check_sources, is_video

    check_sources(content, ())
    chosen = networks.NetworkSettings.load(
        network, strength=strength, styles=styles, size_px=size_px
    )
    single = {"--bits": bits != 8, "--keep-alpha": keep_alpha}
    if not (is_folder(content) or is_video(content)):
        networks.apply_network(
            *(chosen, content, out),
            read=[network],
            bits=bits,
            keep_alpha=keep_alpha,
            force=force,
            say=say,
        )
        return
    refuse_options(single, f"for a single picture only, but {content} is none; leave it out")
    make_several(
        *(networks.network_work(chosen), content, out),
        read=[network],
        console=err,
        say=say,
        force=force,
    )


def _stylize_several(preset: Preset, sources: Sources, outputs: Outputs) -> None:
    """Stylize every picture of a folder, or every frame of a video."""
    from tuner.apply.folder import preset_work
    from tuner.apply.several import make_several
    from tuner.job.style_arguments import parse_styles

    content, out_path = sources.content, outputs.image
    single = {"--start": sources.start, "--every": outputs.every, "--gif": outputs.gif}
    single |= {"--plot": outputs.plot, "--bits": outputs.bits != 8}
    single |= {"--keep-alpha": outputs.keep_alpha}
    refuse_options(
        single, f"for a single picture only, but {content} is a folder or a video; leave it out"
    )
    arguments = parse_styles(sources.styles, preset.config)
    styles = [argument.load() for argument in arguments]
    read = [*(file for argument in arguments for file in argument.files), *sources.others]
    make_several(
        preset_work(preset, styles, weights=sources.weights, say=say),
        *(content, out_path),
        read=read,
        console=err,
        say=say,
        force=outputs.force,
    )


@app.command(epilog=example("reference --content p.jpg --style a.jpg --from long-run --out r.png"))
def reference(
    content: Annotated[Path, typer.Option(metavar="C", help="the picture to stylize")],
    style: StyleOption,
    out_file: Annotated[Path, typer.Option("--out", metavar="R.png", help="the new reference")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="HOW",
            help="how to make it: `feed-forward` (one pass of a network), `adain` (a network of"
            " your own, with --encoder and --decoder) or `long-run` (many steps of optimization)",
        ),
    ] = "feed-forward",
    size_px: Annotated[
        int | None,
        typer.Option(metavar="PX", help="longer side in pixels; default: the content's"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="number of steps; only for `long-run`")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(metavar="E.pth", help="weights of the encoder; only for `adain`")
    ] = None,
    decoder: Annotated[
        Path | None, typer.Option(metavar="D.pth", help="weights of the decoder; only for `adain`")
    ] = None,
    force: ForceOption = False,
    weights: WeightsOption = None,
) -> None:
    """Make a reference: a picture that shows the goal of a run, if you do not have one."""
    from tuner.apply.picture import Sources, save_reference
    from tuner.study.preflight_checks import check_sources

    check_sources(content, style)
    check_writable_image(out_file)
    save_reference(
        source,
        Sources(content=content, styles=style, weights=weights or ()),
        out_file,
        size_px=size_px,
        steps=steps,
        encoder=encoder,
        decoder=decoder,
        force=force,
        console=err,
        say=say,
    )


@app.command(epilog=example("score o.png --reference r.png --content c.jpg --json"))
def score(
    image: Annotated[Path, typer.Argument(metavar="PICTURE", help="the picture to score")],
    reference: Annotated[Path, typer.Option(metavar="R", help="what it should look like")],
    content: Annotated[
        Path | None,
        typer.Option(
            metavar="C",
            help="the content image: needed for the metric `edges`, and scored for comparison",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="M",
            help="compute this metric only; repeatable; default: all but those that take long:"
            f" {', '.join(ON_REQUEST)}",
            autocompletion=completion.metrics,
        ),
    ] = None,
    json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Score a picture against a reference, with every metric.

    The reference and the content are scaled to the size of the picture.
    """
    from tuner.apply.score import check_metrics, score_image
    from tuner.study.preflight_checks import check_sources
    from tuner.terminal.metric_tables import scores_table

    check_metrics(metric or (), content is not None)
    check_sources(image, (), reference, content)
    scores = score_image(
        image, reference, content, metrics=metric or (), weights=weights or (), say=say
    )
    if json:
        content_scores = {"content": scores["content"]} if content else {}
        print_json({"scores": scores["image"], **content_scores})
        return
    names = {"image": image.name, "content": f"untouched {content.name if content else ''}"}
    out.print(scores_table({names[key]: values for key, values in scores.items()}))
