"""The command ``suggest``: settings for a new pair, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from tuner.terminal.console import ForceOption, JsonOption, err, example, out, print_json, say

if TYPE_CHECKING:
    from torch import Tensor

    from nst_core.config import StyleConfig
    from tuner.transfer.short_runs import ShortRun, Tested
    from tuner.transfer.suggest import Suggestion

app = typer.Typer(rich_markup_mode="rich")

TryOption = Annotated[
    bool,
    typer.Option(
        "--try/--no-try", help="try each suggestion on the two pictures first, at a small size"
    ),
]


@app.command(epilog=example("suggest --content photo.jpg --style art.jpg --out first.json"))
def suggest(
    content: Annotated[Path, typer.Option(metavar="C", help="the picture to stylize")],
    style: Annotated[Path, typer.Option(metavar="S", help="the style image")],
    size_px: Annotated[
        int, typer.Option(metavar="PX", help="longer side of the result in pixels")
    ] = 256,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, max=20, help="how many suggestions, 1 to 20")
    ] = 3,
    run_dir: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="DIR", help="also learn from this run; repeatable"),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="P.json", help="write the first suggestion as a preset"),
    ] = None,
    force: ForceOption = False,
    tried: TryOption = True,
    json: JsonOption = False,
) -> None:
    """Suggest settings for a new pair of pictures, without a run.

    They come from tuned pairs whose pictures are similar to these.
    """
    from tuner.study.preflight_checks import check_run, check_sources

    check_sources(content, [str(style)])
    for folder in run_dir or ():
        check_run(folder)
    from nst_core.images.tensors import load_image
    from nst_core.losses.inputs import LossInputs
    from nst_core.output_files import check_text_output
    from tuner.terminal.tables import suggestions_table
    from tuner.transfer.curves import load_curves
    from tuner.transfer.short_runs import SPARE
    from tuner.transfer.suggest import experience_of_run, experiences_of
    from tuner.transfer.suggest import suggest as suggestions

    if out_file:
        check_text_output(
            "--out", out_file, [content, style, *(run_dir or ())], force=force, say=say
        )
    pictures = load_image(content), load_image(style)
    inputs = LossInputs.at_size(pictures[0], [(pictures[1], 1.0)], size_px)
    curves = load_curves()
    known = experiences_of(curves)
    known += [experience_of_run(folder, curves.space) for folder in run_dir or ()]
    count = top + SPARE if tried else top
    suggested = suggestions(inputs, known, curves.space, curves.kernel, top=count)
    built = [(s, curves.space.build(s.params, size_px=size_px, steps=s.steps)) for s in suggested]
    tested = _tested(*pictures, built, top) if tried else [(*each, None) for each in built]
    if out_file:
        _save_preset(tested[0], out_file)
    if json:
        print_json({"suggestions": [_as_json(*each) for each in tested]})
    else:
        out.print(suggestions_table(tested, curves.size_px))


def _save_preset(tested: Tested, out_file: Path) -> None:
    """Write a suggestion as a preset file."""
    from nst_core.presets.preset import Preset

    suggestion, config, run = tested
    provenance: dict[str, Any] = {
        "kind": "suggested",
        "expected_share": suggestion.share,
        "like": dict(suggestion.like),
        "params": dict(suggestion.params),
        "tried": vars(run) if run else None,
    }
    share = f"{suggestion.share:.0%}"
    Preset(
        name="suggested",
        description=f"suggested; expected lpips: {share} of the untouched content's",
        config=config,
        provenance=provenance,
    ).save(out_file)
    say(f"wrote {out_file}")


def _as_json(suggestion: Suggestion, config: StyleConfig, run: ShortRun | None) -> dict[str, Any]:
    return {
        **vars(suggestion),
        "like": dict(suggestion.like),
        "config": config.to_dict(),
        "tried": {**vars(run), "recognizable": run.recognizable} if run else None,
    }


def _tested(
    content_3HW: Tensor,
    style_3HW: Tensor,
    built: Sequence[tuple[Suggestion, StyleConfig]],
    top: int,
) -> Sequence[Tested]:
    """Try suggestions on the pictures, with a progress bar; without weights, leave them untried.

    Args:
        content_3HW: the content image, RGB in [0, 1].
        style_3HW: the style image, RGB in [0, 1].
        built: suggestions with their configurations, the most promising first.
        top: number of suggestions to return.
    """
    from nst_core.errors import WeightsError
    from nst_core.networks.weights import get_weights
    from tuner.transfer.short_runs import ShortRuns, recognizable_first

    try:
        runs = ShortRuns(content_3HW, style_3HW, lambda name: get_weights(name, say=say))
    except WeightsError as error:
        say(f"the suggestions are not tried on these pictures: {error}")
        return [(*each, None) for each in built[:top]]
    with Progress(console=err) as progress:
        task = progress.add_task("trying suggestions", total=None)

        def run(config: StyleConfig) -> ShortRun:
            progress.reset(task, total=config.steps)
            return runs(config, lambda step: progress.update(task, completed=step))

        return recognizable_first(built, run, top)
