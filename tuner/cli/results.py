"""Commands that look at runs and take results home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from nst_core.errors import InputError
from tuner.terminal import completion
from tuner.terminal.console import ForceOption, JsonOption, RunArgument, err, example, out, say

app = typer.Typer(rich_markup_mode="rich")

PortOption = Annotated[int, typer.Option(min=0, max=65535, help="default: a free one")]


@app.command(epilog=example("status runs/cafe"))
def status(run_dir: RunArgument, json: JsonOption = False) -> None:
    """Where a run is."""
    from tuner.results.as_json import dump, status_json
    from tuner.results.results import load_results

    results = load_results(run_dir)
    if json:
        print(dump(status_json(results)))  # noqa: T201
        return
    from tuner.terminal.run_tables import status_table

    out.print(status_table(results))


@app.command(epilog=example("best runs/cafe --top 3"))
def best(
    run_dir: RunArgument,
    top: Annotated[int | None, typer.Option(min=1, help="how many; all in JSON, else 10")] = None,
    json: JsonOption = False,
) -> None:
    """The best configurations beside the baselines."""
    from tuner.results.as_json import best_json, dump
    from tuner.results.results import load_results

    results = load_results(run_dir)
    if json:
        print(dump(best_json(results, top)))  # noqa: T201
        return
    from tuner.terminal.run_tables import best_table

    out.print(best_table(results, top or 10))


@app.command(epilog=example("report runs/cafe --open"))
def report(
    run_dir: RunArgument,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="R.html", help="the file to write; default: in the run"),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="on this machine only, up to date while the run goes on")
    ] = False,
    port: PortOption = 0,
    force: ForceOption = False,
) -> None:
    """One HTML page about a run: pictures, plots, scores, what to do next."""
    import webbrowser

    from nst_core.files import writing
    from tuner.results.results import load_results

    _refuse_beside("--serve", {"--out": serve and out_file, "--force": serve and force})
    if port and not serve:
        raise InputError("--port: is the port of --serve; add that, or leave it out")
    if serve:
        from tuner.pages.report.live import LiveReport

        LiveReport(run_dir).site(port).serve(say, show=open_)
        return
    from nst_core.output_files import check_text_output
    from tuner.pages.report.page import write_report

    results = load_results(run_dir)
    target = out_file or results.run.report
    # The page that is in the run is written for that, and anew each time.
    if os.path.realpath(target) != os.path.realpath(results.run.report):
        check_text_output("--out", target, [run_dir], force=force, say=say)
    with err.status("reading trials and pictures"), writing(target):
        size = write_report(results, target)
    say(f"wrote {target} ({size / 1e6:.1f} MB)")
    if open_:
        webbrowser.open(target.resolve().as_uri())


@app.command(epilog=example("dashboard runs/cafe"))
def dashboard(
    run_dir: RunArgument,
    port: PortOption = 0,
    open_: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
) -> None:
    """Optuna's dashboard on the run, on this machine only; it shows and changes nothing."""
    from tuner.pages.dashboard import serve_dashboard

    serve_dashboard(run_dir, say, port=port, show=open_)


@app.command(epilog=example("prefer runs/cafe --open"))
def prefer(
    run_dir: RunArgument,
    count: Annotated[
        int | None,
        typer.Option(min=2, max=50, help="how many of the best to compare; default: 8"),
    ] = None,
    port: PortOption = 0,
    open_: Annotated[bool, typer.Option("--open", help="show the page in the browser")] = False,
    result: Annotated[bool, typer.Option("--result", help="only what the votes say")] = False,
    job: Annotated[
        Path | None,
        typer.Option("--job", metavar="J.yaml", help="write a job that searches on by the votes"),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Choose between results by eye; the votes order them and say which metrics agree."""
    from tuner.study.lock import check_unused

    if not (result or json or job):  # votes are written into the run
        check_unused(run_dir)
    from nst_core.output_files import check_text_output
    from tuner.pages.prefer.outcome import outcome_json, write_job
    from tuner.results.as_json import dump
    from tuner.results.results import load_results
    from tuner.terminal.vote_tables import outcome_table

    told = next((n for n, v in {"--result": result, "--job": job, "--json": json}.items() if v), "")
    asks = {"--count": count is not None, "--port": port, "--open": open_}
    _refuse_beside(told, asks if told else {})
    if force and not job:
        raise InputError("--force: replaces the file of --job; add that, or leave it out")
    if not told:
        from tuner.pages.prefer.page import Poll

        with load_results(run_dir).run.held("prefer"):
            Poll(load_results(run_dir), count or 8).site(port).serve(say, show=open_)
    results = load_results(run_dir)
    if job:
        check_text_output("--job", job, [run_dir], force=force, say=say)
        objective = write_job(results, job)
        say(f"wrote {job}: {', '.join(f'{name} {weight:g}' for name, weight in objective.items())}")
    if json:
        print(dump(outcome_json(results)))  # noqa: T201
    else:
        out.print(outcome_table(results))


@app.command(epilog=example("export runs/cafe --out cafe.json"))
def export(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="a run directory; several for --pack",
            autocompletion=completion.runs,
        ),
    ],
    out_file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="to write")] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="which trial; default: the best")] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="after how many steps, where a trade-off has it there"),
    ] = None,
    format_: Annotated[
        Literal["preset", "script", "neural-style-pt", "pystiche"],
        typer.Option("--format", help="what to write; default: a preset"),
    ] = "preset",
    size_px: Annotated[
        int | None,
        typer.Option(
            min=1, help="longer side of what the script or command makes; default: as tuned"
        ),
    ] = None,
    pack: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a folder of presets with a contact sheet")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Take the best configuration home: a preset, a script, or the terms of another engine."""
    from nst_core.files import writing
    from tuner.study.early_checks import check_run

    for run_dir in run_dirs:
        check_run(run_dir)
    from tuner.export.files import export_one, export_pack

    if pack is not None:
        given = {
            "--out": out_file,
            "--trial": trial is not None,
            "--steps": steps,
            "--format": format_ != "preset",
            "--size-px": size_px,
            "--force": force,
        }
        if alone := [name for name, value in given.items() if value]:
            raise InputError(f"{', '.join(alone)}: of a single export only, not of --pack")
        with writing(pack):
            warnings = export_pack(run_dirs, pack, say)
        for warning in warnings:
            err.print(warning, style="bold red", markup=False)
        return
    export_one(
        run_dirs,
        out_file,
        trial=trial,
        steps=steps,
        kind=format_,
        size_px=size_px,
        force=force,
        say=say,
        warn=_warn,
    )


def _refuse_beside(option: str, others: Mapping[str, object]) -> None:
    if given := [name for name, value in others.items() if value]:
        raise InputError(
            f"{', '.join(given)}: changes nothing beside {option}; leave out one of them"
        )


def _warn(line: str) -> None:
    err.print(line, style="bold red", markup=False, highlight=False, soft_wrap=True)
