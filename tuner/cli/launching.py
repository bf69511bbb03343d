"""Commands that carry runs out: launch, attach, resume, fetch, demo."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nst_core.errors import InputError
from nst_core.files import write_atomic, writing
from tuner.terminal.console import AddressOption, RunArgument, err, example, out, say

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
    submit: Annotated[
        bool, typer.Option("--submit", help="run it on the cluster's head, and follow it from here")
    ] = False,
) -> None:
    """Run a job on this machine or on a cluster."""
    from tuner.study.lock import check_unused

    if not submit:  # else the folder is on the cluster's head
        check_unused(run_dir)
    from tuner.job.load import load_job
    from tuner.study.early_checks import check_runs_of
    from tuner.study.run_dir import RunDir

    if not submit:
        RunDir(run_dir).check_new()
    spec, space = load_job(job, set_ or ())
    if not submit:
        check_runs_of(spec)
        _launch(spec, space, run_dir, address)
        return
    from tuner.cluster.submit import submit as send

    if address is None:
        raise InputError("--submit: expected --address, of the cluster's dashboard")
    job_id = send(spec, run_dir, address)
    say(f"submitted as {job_id}; follow it again with:")
    say(f"  nst-tuner attach {job_id} --address {address}")
    _follow(job_id, address)


@app.command(epilog=example("attach raysubmit_ab12 --address http://127.0.0.1:8265"))
def attach(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="as `launch --submit` said it")],
    address: Annotated[str, typer.Option(metavar="URL", help="of the cluster's dashboard")],
) -> None:
    """Follow a submitted launch; Ctrl-C leaves it running."""
    _follow(job_id, address)


def _follow(job_id: str, address: str) -> None:
    from tuner.cluster.submit import follow

    def show(text: str) -> None:
        print(text, end="", flush=True)  # noqa: T201

    try:
        follow(job_id, address, show, say)
    except KeyboardInterrupt:
        say(f"left {job_id} running; `nst-tuner attach {job_id} --address {address}` follows it")


@app.command(epilog=example("fetch s3://bucket/runs/cafe runs/cafe"))
def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", help="what `storage:` of the job named")],
    run_dir: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder")],
) -> None:
    """Bring a run from its storage to this machine, to look at or to resume."""
    from tuner.run.mirror import fetch as bring

    names = bring(url, run_dir)
    say(f"{len(names)} files; go on with `nst-tuner resume {run_dir}`, or look: `best {run_dir}`")


def _launch(spec, space, run_dir: Path, address: str | None) -> None:  # type: ignore[no-untyped-def]
    from tuner.cluster.connection import check_address, ray_backend
    from tuner.terminal.progress import ProgressCallback

    check_address(address)
    with ProgressCallback(spec, err) as callback:
        callback.doing("loading torch and Ray")
        backend = ray_backend(address)
        from tuner.run.launch import run_job

        run_job(spec, space, run_dir, backend, callback=callback, say=callback.say)
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
    from tuner.study.lock import check_unused

    check_unused(run_dir)
    from tuner.cluster.connection import check_address, ray_backend
    from tuner.job.load import load_job
    from tuner.results.results import load_results
    from tuner.run.change_job import check_changes
    from tuner.terminal.progress import ProgressCallback

    if trials and any(a.partition("=")[0].strip() == "search.trials" for a in set_ or ()):
        raise InputError("--trials: sets search.trials, as --set does; give one of them")
    changes = [*(set_ or ()), *([f"search.trials={trials}"] if trials else [])]
    results = load_results(run_dir)
    # As it will be: the run's own file changes only once the launch holds the run.
    check_changes(run_dir, changes)
    spec, _ = load_job(results.run.job_file, changes)
    check_address(address)
    with ProgressCallback(spec, err, before=results.records) as callback:
        callback.doing("loading torch and Ray")
        backend = ray_backend(address)
        from tuner.run.launch import resume_run

        resume_run(run_dir, backend, callback=callback, say=callback.say, changes=changes)
    _show_result(run_dir)


def _show_result(run_dir: Path) -> None:
    from tuner.results.contact_sheet import run_sheet
    from tuner.results.results import load_results
    from tuner.terminal.run_tables import best_table

    results = load_results(run_dir)
    found = bool(results.ranked())
    if found:  # before anything is printed: output may be closed or full
        with writing(results.run.contact_sheet):
            picture = io.BytesIO()
            run_sheet(results).save(picture, "jpeg", quality=92)
            write_atomic(results.run.contact_sheet, picture.getvalue())
    out.print(best_table(results, top=5))
    if found:
        out.print(f"Look at [bold]{escape(str(results.run.contact_sheet))}[/], or at everything:")
        out.print(f"  nst-tuner report {results.run.path} --open", markup=False, soft_wrap=True)


@app.command(epilog=example("demo --out demo-run"))
def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="becomes the run directory")
    ] = Path("demo-run"),
) -> None:
    """Run the main job on a built-in pair: a photo, a painting, a reference."""
    import tempfile

    from tuner.study.lock import check_unused

    check_unused(out_dir)

    from rich.progress import Progress

    from nst_core.networks.weights import get_weights
    from tuner.job.load import load_job
    from tuner.study.run_dir import RunDir

    RunDir(out_dir).begin()
    with err.status("loading torch"):
        from nst_core.samples import REFERENCE_CONFIG
        from tuner.run.demo import write_demo_job

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
