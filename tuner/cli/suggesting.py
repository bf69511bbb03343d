"""The command that suggests configurations for a new pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from tuner.terminal.console import ForceOption, JsonOption, err, example, out, say

if TYPE_CHECKING:
    from torch import Tensor

    from nst_core.config import StyleConfig
    from tuner.transfer.short_runs import ShortRun, Tested
    from tuner.transfer.suggest import Suggestion

app = typer.Typer(rich_markup_mode="rich")


@app.command(epilog=example("suggest --content photo.jpg --style art.jpg --out first.json"))
def suggest(
    content: Annotated[Path, typer.Option(metavar="C", help="the picture to stylize")],
    style: Annotated[Path, typer.Option(metavar="S", help="the style image")],
    size_px: Annotated[int, typer.Option(help="longer side of the result")] = 256,
    top: Annotated[int, typer.Option(min=1, max=20, help="how many")] = 3,
    run_dir: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="DIR", help="also learn from a run; repeatable"),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="P.json", help="write the first as a preset")
    ] = None,
    force: ForceOption = False,
    tried: Annotated[
        bool,
        typer.Option("--try/--no-try", help="try each on these pictures, small, before ranking it"),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Settings worth trying first, from pairs that were tuned and are most like this one."""
    from tuner.study.early_checks import check_run, check_sources

    check_sources(content, [str(style)])
    for folder in run_dir or ():
        check_run(folder)
    from nst_core.images.tensors import load_image
    from nst_core.losses.inputs import LossInputs
    from nst_core.output_files import check_text_output
    from nst_core.presets.preset import Preset
    from tuner.results.as_json import dump
    from tuner.terminal.suggest_table import suggestions_table
    from tuner.transfer.curves import load_curves
    from tuner.transfer.short_runs import SPARE
    from tuner.transfer.suggest import experience_of_run, experiences_of
    from tuner.transfer.suggest import suggest as suggestions

    if out_file:
        check_text_output(
            "--out", out_file, [content, style, *(run_dir or ())], force=force, say=say
        )
    pictures = load_image(content), load_image(style)
    materials = LossInputs.at_size(pictures[0], [(pictures[1], 1.0)], size_px)
    curves = load_curves()
    known = experiences_of(curves)
    known += [experience_of_run(folder, curves.space) for folder in run_dir or ()]
    count = top + SPARE if tried else top
    found = suggestions(materials, known, curves.space, curves.kernel, top=count)
    built = [(s, curves.space.build(s.params, size_px=size_px, steps=s.steps)) for s in found]
    tested = _tested(*pictures, built, top) if tried else [(*one, None) for one in built]
    if out_file:
        best, config, run = tested[0]
        provenance: dict[str, Any] = {
            "kind": "suggested",
            "expected_share": best.share,
            "like": dict(best.like),
            "params": dict(best.params),
            "tried": vars(run) if run else None,
        }
        Preset(
            name="suggested",
            description=f"suggested: lpips about {best.share:.0%} of the untouched content's",
            config=config,
            provenance=provenance,
        ).save(out_file)
        say(f"wrote {out_file}")
    if json:
        rows = [
            {
                **vars(s),
                "like": dict(s.like),
                "config": c.to_dict(),
                "tried": {**vars(r), "recognizable": r.recognizable} if r else None,
            }
            for s, c, r in tested
        ]
        print(dump({"suggestions": rows}))  # noqa: T201
    else:
        out.print(suggestions_table(tested, curves.size_px))


def _tested(
    content_3HW: Tensor,
    style_3HW: Tensor,
    built: Sequence[tuple[Suggestion, StyleConfig]],
    top: int,
) -> Sequence[Tested]:
    """Suggestions tried on the pictures, with a progress bar; untried where that cannot be done."""
    from nst_core.errors import WeightsError
    from nst_core.networks.weights import get_weights
    from tuner.transfer.short_runs import ShortRuns, recognizable_first

    try:
        runs = ShortRuns(content_3HW, style_3HW, lambda name: get_weights(name, say=say))
    except WeightsError as error:
        say(f"the suggestions are not tried on these pictures: {error}")
        return [(*one, None) for one in built[:top]]
    with Progress(console=err) as progress:
        task = progress.add_task("trying suggestions", total=None)

        def run(config: StyleConfig) -> ShortRun:
            progress.reset(task, total=config.steps)
            return runs(config, lambda step: progress.update(task, completed=step))

        return recognizable_first(built, run, top)
