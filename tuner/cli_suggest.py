"""The command that suggests configurations for a new pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.console import ForceOption, JsonOption, example, out, say

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
    json: JsonOption = False,
) -> None:
    """Settings worth trying first, from pairs that were tuned and are most like this one."""
    from tuner.light_checks import check_run, check_sources

    check_sources(content, [str(style)])
    for folder in run_dir or ():
        check_run(folder)
    from nst_core.images import load_image
    from nst_core.materials import Materials
    from nst_core.presets import Preset
    from tuner.curves import load_curves
    from tuner.outputs import check_text_output
    from tuner.results_json import dump
    from tuner.suggest import experience_of_run, experiences_of
    from tuner.suggest import suggest as suggestions
    from tuner.suggest_table import suggestions_table

    if out_file:
        check_text_output(
            "--out", out_file, [content, style, *(run_dir or ())], force=force, say=say
        )
    materials = Materials.at_size(load_image(content), [(load_image(style), 1.0)], size_px)
    curves = load_curves()
    known = experiences_of(curves)
    known += [experience_of_run(folder, curves.space) for folder in run_dir or ()]
    found = suggestions(materials, known, curves.space, curves.kernel, top=top)
    configs = [curves.space.build(s.params, size_px=size_px, steps=s.steps) for s in found]
    if out_file:
        best = found[0]
        provenance: dict[str, Any] = {
            "kind": "suggested",
            "expected_share": best.share,
            "like": dict(best.like),
            "params": dict(best.params),
        }
        Preset(
            name="suggested",
            description=f"suggested: lpips about {best.share:.0%} of the untouched content's",
            config=configs[0],
            provenance=provenance,
        ).save(out_file)
        say(f"wrote {out_file}")
    if json:
        rows = [
            {**vars(s), "like": dict(s.like), "config": c.to_dict()}
            for s, c in zip(found, configs, strict=True)
        ]
        print(dump({"suggestions": rows}))  # noqa: T201
    else:
        out.print(suggestions_table(found, curves.size_px))
