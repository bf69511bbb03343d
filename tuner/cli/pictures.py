"""Commands about single pictures: stylize, reference, score."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nst_core.errors import InputError
from nst_core.images.encode import check_writable_image
from tuner.terminal import completion
from tuner.terminal.console import ForceOption, JsonOption, WeightsOption, err, example, out, say

app = typer.Typer(rich_markup_mode="rich")

StyleOption = Annotated[
    list[str],
    typer.Option(
        metavar="S[:WEIGHT][@MASK[@PART]]",
        help="a style image; repeatable to blend, or each with a mask of where it applies, and one"
        " of which part of it counts",
    ),
]


@app.command(epilog=example("stylize --content photo.jpg --style art.jpg -p cafe.json --out o.png"))
def stylize(
    content: Annotated[
        Path, typer.Option(metavar="C", help="a picture, a folder of pictures, or a video")
    ],
    style: StyleOption,
    out_file: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="O",
            help="the result; a folder for a folder; an earlier result of nst-tuner is replaced",
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="P",
            help="built-in name or file",
            autocompletion=completion.presets,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="set or override a setting; repeatable"),
    ] = None,
    size_px: Annotated[int | None, typer.Option(help="longer side of the result")] = None,
    seed: Annotated[
        int | None, typer.Option(help="seed of the noise; only for a start with noise")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(metavar="I", help="a picture to start from (init: image)")
    ] = None,
    every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="also save a frame every N steps")
    ] = None,
    gif: Annotated[
        Path | None, typer.Option(metavar="A.gif", help="also save an animation, .gif or .webp")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="L.png", help="also plot the losses, .png .svg .pdf")
    ] = None,
    bits: Annotated[int, typer.Option(help="8, or 16 for PNG and TIFF")] = 8,
    keep_alpha: Annotated[
        bool, typer.Option("--keep-alpha", help="give the result the content's transparency")
    ] = False,
    force: ForceOption = False,
    weights: WeightsOption = None,
) -> None:
    """Apply a preset, or settings given with --set, to a picture, a folder or a video."""
    from nst_core.files import is_folder
    from tuner.apply.picture import Outputs, Sources, apply_preset, preset_file, settings
    from tuner.job.style_arguments import parse_styles
    from tuner.study.early_checks import check_sources, is_video

    check_sources(content, style, start)
    assignments = list(set_ or ())
    if start:
        if inits := [a for a in assignments if a.partition("=")[0].strip() == "init"]:
            raise InputError(f"--start: sets init=image itself; leave out --set {inits[-1]}")
        assignments.append("init=image")
    chosen = settings(preset, assignments, size_px=size_px, seed=seed, say=say)
    if chosen.config.init == "image" and not start:
        raise InputError("init `image` starts from a given picture; name it with --start FILE")
    folder = is_folder(content)
    if folder or is_video(content):
        single = {"--start": start, "--every": every, "--gif": gif, "--plot": plot}
        single |= {"--bits": bits != 8, "--keep-alpha": keep_alpha}
        if given := [name for name, value in single.items() if value]:
            raise InputError(f"{', '.join(given)}: of a single picture only, not of {content}")
        named = parse_styles(style, chosen.config)
        styles = [argument.load() for argument in named]
        read = [*(file for argument in named for file in argument.files), preset_file(preset)]
        options: Any = {"weights": weights or (), "console": err, "say": say, "force": force}
        if folder:
            _folder(chosen, content, styles, out_file, {**options, "read": read})
        else:
            from tuner.apply.video import apply_to_video

            apply_to_video(chosen, content, styles, out_file, **options, read=[content, *read])
        return
    check_writable_image(out_file, bits=bits, alpha=keep_alpha)
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
    apply_preset(chosen, sources, outputs, console=err, say=say)


def _folder(preset, content: Path, styles, out: Path, options) -> None:  # type: ignore[no-untyped-def]
    from tuner.apply.folder import apply_to_many, check_all
    from tuner.apply.picture_files import pictures_in

    if os.path.exists(out) and not os.path.isdir(out):  # noqa: PTH110, PTH112
        raise InputError(f"--out {out}: is a file, expected a folder for the results")
    pictures, left_out = pictures_in(content, out)
    for line in left_out:
        say(line)
    options["read"] += [content / picture.name for picture in pictures]
    tally = apply_to_many(preset, pictures, styles, **options)
    omitted = f", {len(left_out)} left out" if left_out else ""
    say(f"{tally.done} done, {tally.kept} there already{omitted}, in {out}")
    check_all(tally)


@app.command(epilog=example("reference --content p.jpg --style a.jpg --from long-run --out r.png"))
def reference(
    content: Annotated[Path, typer.Option(metavar="C", help="the picture to stylize")],
    style: StyleOption,
    out_file: Annotated[Path, typer.Option("--out", metavar="R.png", help="the reference")],
    source: Annotated[
        str, typer.Option("--from", metavar="HOW", help="feed-forward, adain or long-run")
    ] = "feed-forward",
    size_px: Annotated[
        int | None, typer.Option(help="longer side; default: that of the content")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="of a long run only")] = None,
    encoder: Annotated[Path | None, typer.Option(metavar="E.pth", help="of adain")] = None,
    decoder: Annotated[Path | None, typer.Option(metavar="D.pth", help="of adain")] = None,
    force: ForceOption = False,
    weights: WeightsOption = None,
) -> None:
    """Make a reference to tune against, where nobody has made one by hand."""
    from tuner.apply.picture import Sources, save_reference
    from tuner.study.early_checks import check_sources

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
    image: Annotated[Path, typer.Argument(help="the picture to score")],
    reference: Annotated[Path, typer.Option(metavar="R", help="what it should look like")],
    content: Annotated[
        Path | None,
        typer.Option(metavar="C", help="the untouched content, for edges; it is scored as well"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="M",
            help="only this one; repeatable; default: all but dists",
            autocompletion=completion.metrics,
        ),
    ] = None,
    json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Metrics of one picture against a reference, compared at the picture's size."""
    from tuner.apply.score import check_metrics, score_image
    from tuner.results.as_json import dump
    from tuner.study.early_checks import check_sources
    from tuner.terminal.metric_tables import scores_table

    check_metrics(metric or (), content is not None)
    check_sources(image, (), reference, content)
    scores = score_image(
        image, reference, content, metrics=metric or (), weights=weights or (), say=say
    )
    if json:
        content_scores = {"content": scores["content"]} if content else {}
        print(dump({"scores": scores["image"], **content_scores}))  # noqa: T201
        return
    names = {"image": image.name, "content": f"untouched {content.name if content else ''}"}
    out.print(scores_table({names[key]: values for key, values in scores.items()}))
