"""Commands about runs: launch, resume, demo, status, best, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.console import AddressOption, JsonOption, RunArgument, err, example, out, say

app = typer.Typer(rich_markup_mode="rich")


@app.command(epilog=example("launch job.yaml --run-dir runs/cafe --set search.trials=24"))
def launch(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="a job file")],
    run_dir: Annotated[Path, typer.Option(metavar="DIR", help="becomes the run directory")],
    address: AddressOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="override a key of the job; repeatable"),
    ] = None,
) -> None:
    """Run a job on this machine or on a cluster."""
    from tuner.jobfile import load_job

    spec, space = load_job(job, set_ or ())
    _launch(spec, space, run_dir, address)


def _launch(spec, space, run_dir: Path, address: str | None) -> None:  # type: ignore[no-untyped-def]
    from tuner.connect import ray_backend
    from tuner.progress import ProgressWatcher
    from tuner.run import run_job

    backend = ray_backend(address)
    with ProgressWatcher(spec, err) as watcher:
        run_job(spec, space, run_dir, backend, watcher=watcher, say=watcher.say)
    _show_result(run_dir)


@app.command(epilog=example("resume runs/cafe --trials 200"))
def resume(
    run_dir: RunArgument,
    address: AddressOption = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="a new target; also of a run that is over")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change budget, finals or resources"),
    ] = None,
) -> None:
    """Go on to the job's target after any interruption, or to a new one."""
    from tuner.connect import ray_backend
    from tuner.extend import extend
    from tuner.progress import ProgressWatcher
    from tuner.results import load_results
    from tuner.run import resume_run

    changes = [*(set_ or ()), *([f"search.trials={trials}"] if trials else [])]
    if changes:
        extend(run_dir, changes)
    results = load_results(run_dir)
    backend = ray_backend(address)
    with ProgressWatcher(results.job, err, done=results.status_json()["done"]) as watcher:
        resume_run(run_dir, backend, watcher=watcher, say=watcher.say)
    _show_result(run_dir)


def _show_result(run_dir: Path) -> None:
    from tuner.results import load_results
    from tuner.run_tables import best_table
    from tuner.sheet import run_sheet

    results = load_results(run_dir)
    out.print(best_table(results, top=5))
    if results.ranked():
        run_sheet(results).save(results.run.contact_sheet, quality=92)
        out.print(f"Look at [bold]{results.run.contact_sheet}[/]")


@app.command(epilog=example("demo --out demo-run"))
def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="becomes the run directory")
    ] = Path("demo-run"),
) -> None:
    """Run the main job on a built-in pair: a photo, a painting, a reference."""
    import tempfile

    from rich.progress import Progress

    from nst_core.samples import REFERENCE_CONFIG
    from nst_core.weights import get_weights
    from tuner.demo import write_demo_job
    from tuner.jobfile import load_job
    from tuner.rundir import RunDir

    RunDir(out_dir).require_new()
    weights = {name: get_weights(name, say=say) for name in ("vgg16", "alexnet", "lpips-alex")}
    with tempfile.TemporaryDirectory() as folder:
        with Progress(console=err) as progress:
            task = progress.add_task("making the reference", total=REFERENCE_CONFIG.steps)
            job_file = write_demo_job(
                Path(folder),
                weights.__getitem__,
                lambda step: progress.update(task, completed=step.step),
            )
        spec, space = load_job(job_file)
        _launch(spec, space, out_dir, address=None)


@app.command(epilog=example("status runs/cafe"))
def status(run_dir: RunArgument, json: JsonOption = False) -> None:
    """Where a run is."""
    from tuner.results import dump, load_results

    results = load_results(run_dir)
    if json:
        print(dump(results.status_json()))  # noqa: T201
        return
    from tuner.run_tables import status_table

    out.print(status_table(results))


@app.command(epilog=example("best runs/cafe --top 3"))
def best(
    run_dir: RunArgument,
    top: Annotated[int | None, typer.Option(min=1, help="how many; all in JSON, else 10")] = None,
    json: JsonOption = False,
) -> None:
    """The best configurations beside the baselines."""
    from tuner.results import dump, load_results

    results = load_results(run_dir)
    if json:
        print(dump(results.best_json(top)))  # noqa: T201
        return
    from tuner.run_tables import best_table

    out.print(best_table(results, top or 10))


@app.command(epilog=example("export runs/cafe --out cafe.json"))
def export(
    run_dir: RunArgument,
    out_file: Annotated[
        Path, typer.Option("--out", metavar="PRESET.json", help="the file to write")
    ],
    trial: Annotated[int | None, typer.Option(min=0, help="which trial; default: the best")] = None,
) -> None:
    """Write the tuned preset with its provenance."""
    from tuner.results import load_results

    results = load_results(run_dir)
    preset = results.preset(trial)
    preset.save(out_file)
    if not results.beats_content(preset.provenance["score"]):
        err.print("This preset does NOT beat the untouched content.", style="bold red")
    say(f"wrote {out_file}: {preset.description}")
