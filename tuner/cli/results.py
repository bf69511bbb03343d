"""Commands that show the results of a run and export them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from nst_core.errors import InputError
from tuner.cli.arguments import refuse_options
from tuner.terminal import completion
from tuner.terminal.console import (
    ForceOption,
    JsonOption,
    RunArgument,
    err,
    example,
    out,
    print_json,
    say,
    warn,
)

app = typer.Typer(rich_markup_mode="rich")

PortOption = Annotated[
    int, typer.Option(metavar="PORT", min=0, max=65535, help="port of the page; 0: any free port")
]
OpenOption = Annotated[bool, typer.Option("--open", help="open the page in the browser")]
FormatOption = Annotated[
    Literal["preset", "script", "neural-style-pt", "command"],
    typer.Option(
        "--format",
        help="`preset`: a file for `nst-tuner stylize`; `script`: a Python script;"
        " `neural-style-pt`: a command for that program; `command`: that of your own stylizer,"
        " printed without --out",
    ),
]

TrialOption = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="number of the trial; default: the best")
]
StepsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="the trial after N steps, a number at which it reported; default: where it was best",
    ),
]


@app.command(epilog=example("status runs/cafe"))
def status(run_dir: RunArgument, json: JsonOption = False) -> None:
    """Show how far a run is: trials done and failed, and the best result so far."""
    from tuner.results.as_json import status_json
    from tuner.results.results import load_results

    results = load_results(run_dir)
    if json:
        print_json(status_json(results))
        return
    from tuner.terminal.run_tables import status_table

    out.print(status_table(results))


@app.command(epilog=example("ls runs"))
def ls(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="a folder with run directories")
    ] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """List the runs of a folder, with their state and their best result."""
    from tuner.results.runs import find_runs, runs_json, summarize

    runs = [summarize(path) for path in find_runs(folder)]
    if json:
        print_json(runs_json(runs))
        return
    from tuner.terminal.run_tables import runs_table

    out.print(runs_table(runs, folder))


@app.command(epilog=example("best runs/cafe --top 3"))
def best(
    run_dir: RunArgument,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="how many configurations; default: 10, with --json all"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the best configurations of a run, compared with presets and baselines."""
    from tuner.results.as_json import best_json
    from tuner.results.results import load_results

    results = load_results(run_dir)
    if json:
        print_json(best_json(results, top))
        return
    from tuner.terminal.run_tables import best_table

    out.print(best_table(results, top or 10))


@app.command(epilog=example("report runs/cafe --open"))
def report(
    run_dirs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN...",
            help="a run directory; several are compared side by side",
            autocompletion=completion.runs,
        ),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="R.html",
            help="the file to write; default: report.html in the run, for several"
            " comparison.html; with --site a folder",
        ),
    ] = None,
    open_: OpenOption = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="write no file, but serve a page on this machine that updates itself"
        ),
    ] = False,
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            metavar="FOLDER",
            help="write a static site of all runs of a folder into the folder of --out",
        ),
    ] = None,
    port: PortOption = 0,
    force: ForceOption = False,
) -> None:
    """Write an HTML page about one run or several: pictures, plots, scores, what to do next."""
    runs = run_dirs or []
    _refuse_beside("--serve" if serve else "", {"--out": out_file, "--force": force})
    if port and not serve:
        raise InputError("--port: is the port of --serve; add --serve, or leave --port out")
    if site is not None:
        _report_site(site, out_file, runs, {"--serve": serve, "--force": force}, open_)
    elif not runs:
        raise InputError("expected a run directory, several to compare, or --site FOLDER")
    elif serve:
        if len(runs) > 1:
            raise InputError("--serve: serves one run; name one run, or leave --serve out")
        from tuner.pages.report.live import LiveReport

        LiveReport(runs[0]).site(port).serve(say, show=open_)
    else:
        _write_report(runs, out_file, force=force, show=open_)


def _write_report(runs: list[Path], out_file: Path | None, *, force: bool, show: bool) -> None:
    """Write the report of a run, or the comparison of several."""
    import webbrowser

    from tuner.study.run_dir import RunDir

    for run in runs:  # before anything heavy is imported
        RunDir(run).require()
    from nst_core.files import writing
    from nst_core.output_files import check_text_output
    from tuner.pages.comparison.page import write_comparison
    from tuner.pages.report.page import write_report
    from tuner.results.results import load_results

    results = [load_results(run) for run in runs]
    own = results[0].run.report if len(runs) == 1 else None
    target = out_file or own or Path("comparison.html")
    # The report inside the run directory is our own file and is always replaced.
    if own is None or os.path.realpath(target) != os.path.realpath(own):
        check_text_output("--out", target, runs, force=force, say=say)
    with err.status("reading trials and pictures"), writing(target):
        size = write_report(results[0], target) if own else write_comparison(results, target)
    say(f"wrote {target} ({size / 1e6:.1f} MB)")
    if show:
        webbrowser.open(target.resolve().as_uri())


def _report_site(
    folder: Path, out: Path | None, runs: list[Path], others: Mapping[str, object], show: bool
) -> None:
    """Write a static site of all runs of a folder."""
    import webbrowser

    from nst_core.files import writing
    from tuner.pages.comparison.page import INDEX, write_run_site

    _refuse_beside("--site", others)
    if runs:
        raise InputError(f"{runs[0]}: --site finds the runs of its folder; leave this out")
    if out is None:
        raise InputError("--site: expected --out FOLDER, the folder that the site is written to")
    with writing(out):
        write_run_site(folder, out, say)
    if show:
        webbrowser.open((out / INDEX).resolve().as_uri())


@app.command(epilog=example("dashboard runs/cafe"))
def dashboard(run_dir: RunArgument, port: PortOption = 0, open_: OpenOption = False) -> None:
    """Serve Optuna's dashboard for a run, on this machine only; it cannot change the run."""
    from tuner.pages.dashboard import serve_dashboard

    serve_dashboard(run_dir, say, port=port, show=open_)


@app.command(epilog=example("prefer runs/cafe --open"))
def prefer(
    run_dir: RunArgument,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, max=50, help="compare the best N trials, 2 to 50; default: 8"
        ),
    ] = None,
    port: PortOption = 0,
    open_: OpenOption = False,
    result: Annotated[
        bool, typer.Option("--result", help="only show the result of earlier votes")
    ] = False,
    job: Annotated[
        Path | None,
        typer.Option(
            "--job",
            metavar="J.yaml",
            help="write a job file whose objective is learned from the votes",
        ),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Compare results by eye, two at a time: your votes rank them and show which metrics agree."""
    from tuner.study.lock import check_unused

    if not (result or json or job):  # new votes are written into the run directory
        check_unused(run_dir)
    from nst_core.output_files import check_text_output
    from tuner.pages.prefer.outcome import outcome_json, write_job
    from tuner.results.results import load_results
    from tuner.terminal.vote_tables import outcome_table

    outputs = {"--result": result, "--job": job, "--json": json}
    no_page = next((name for name, value in outputs.items() if value), "")
    _refuse_beside(no_page, {"--count": count is not None, "--port": port, "--open": open_})
    if force and not job:
        raise InputError("--force: replaces the file of --job; add --job, or leave --force out")
    if not no_page:
        from tuner.pages.prefer.page import Poll

        with load_results(run_dir).run.held("prefer"):
            Poll(load_results(run_dir), count or 8).site(port).serve(say, show=open_)
    results = load_results(run_dir)
    if job:
        check_text_output("--job", job, [run_dir], force=force, say=say)
        objective = write_job(results, job)
        say(f"wrote {job}: {', '.join(f'{name} {weight:g}' for name, weight in objective.items())}")
    if json:
        print_json(outcome_json(results))
    else:
        out.print(outcome_table(results))


@app.command(epilog=example("export runs/cafe --out cafe.json"))
def export(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="a run directory; with --pack several",
            autocompletion=completion.runs,
        ),
    ],
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="the file to write")
    ] = None,
    trial: TrialOption = None,
    steps: StepsOption = None,
    format_: FormatOption = "preset",
    size_px: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=1,
            help="longer side, in pixels, of what the script or command makes; default: as tuned",
        ),
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="write the best preset of every run into this folder, with a contact sheet",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Save the best configuration of a run: as a preset, a script, or for another program."""
    from tuner.study.preflight_checks import check_run

    for run_dir in run_dirs:
        check_run(run_dir)
    single: dict[str, object] = {"--out": out_file, "--trial": trial is not None, "--steps": steps}
    single |= {"--format": format_ != "preset", "--size-px": size_px, "--force": force}
    if pack is not None:
        _export_pack(run_dirs, pack, single)
        return
    from tuner.export.files import export_one

    if format_ == "command" and out_file is None and len(run_dirs) == 1:
        from tuner.export.stylizer_command import command_of
        from tuner.results.results import load_results

        results = load_results(run_dirs[0])
        refuse_options({"--size-px": size_px, "--force": force}, "needs --out FILE; add it")
        out.print(command_of(results, results.preset(trial, steps)), markup=False, soft_wrap=True)
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
        warn=warn,
    )


def _export_pack(run_dirs: list[Path], pack: Path, single: Mapping[str, object]) -> None:
    """Export the best preset of every run; ``single`` are the options that --pack refuses."""
    from nst_core.files import writing
    from tuner.export.files import export_pack

    refuse_options(single, "for a single configuration only, not for --pack; leave it out")
    with writing(pack):
        warnings = export_pack(run_dirs, pack, say)
    for warning in warnings:
        warn(warning)


def _refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Raise InputError if ``option`` is given (not empty) with others, which it ignores."""
    if option:
        refuse_options(others, f"changes nothing beside {option}; leave out one of them")
