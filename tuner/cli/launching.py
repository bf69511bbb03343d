"""Commands that start, continue, follow or fetch a run: launch, attach, fetch, resume, demo."""

from __future__ import annotations

import io
import mimetypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nst_core.errors import InputError
from nst_core.files import write_atomic, writing
from tuner.cli.arguments import refuse_options
from tuner.cli.new_job import (
    ContentOption,
    MinutesOption,
    ReferenceOption,
    StylesOption,
    asked_pictures,
    proposed,
)
from tuner.terminal.console import (
    AddressOption,
    RunArgument,
    TrustOption,
    err,
    example,
    out,
    say,
)

if TYPE_CHECKING:
    from search_spaces import Space
    from tuner.job.spec import JobSpec

app = typer.Typer(rich_markup_mode="rich")


@app.command(epilog=example("launch job.yaml --run-dir runs/cafe --set search.trials=24"))
def launch(
    job: Annotated[
        Path | None,
        typer.Argument(
            metavar="JOB.yaml",
            help="the job file: pictures, what to search, and the budget; or name three pictures"
            " with --content, --style and --reference",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="a new folder that will hold the run; default: runs/ and the name of the job",
        ),
    ] = None,
    content: ContentOption = None,
    style: StylesOption = None,
    reference: ReferenceOption = None,
    minutes: MinutesOption = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR",
            help="HOST:PORT of the head of a running Ray cluster, or `auto`; with --submit the URL"
            " of its dashboard; default: start Ray on this machine",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change a key of the job; repeatable"),
    ] = None,
    trust: TrustOption = False,
    submit: Annotated[
        bool,
        typer.Option(
            "--submit", help="run the job on the cluster's head, and show its output here"
        ),
    ] = False,
) -> None:
    """Start a run: search for the best settings of a job, on this machine or on a Ray cluster.

    Without a job file, name the pictures: the space, size and budget then suit this machine.
    """
    from tuner.study.lock import check_unused

    if submit and run_dir is None:
        raise InputError("--submit: expected --run-dir with a folder on the cluster's head")
    if run_dir and not submit:  # with --submit the run directory is on the cluster's head
        check_unused(run_dir)
    from tuner.study.preflight_checks import check_runs_of
    from tuner.study.run_dir import RunDir, free_run_dir
    from tuner.stylizers.trust import names_stylizer, require_trust

    if run_dir and not submit:
        RunDir(run_dir).check_new()
    spec, space = _job(job, set_ or (), content, style, reference, minutes)
    if spec.stylizer is not None:
        require_trust(
            spec.stylizer.to_plain(), str(job), trusted=trust or names_stylizer(set_ or ())
        )
    elif trust:
        raise InputError("--trust: the job has no `stylizer`, so there is no code to trust")
    if not submit:
        check_runs_of(spec)
    if run_dir is None:
        run_dir = free_run_dir(Path("runs"), spec.name)
        say(f"run directory: {run_dir}")
    if not submit:
        _launch(spec, space, run_dir, address)
        return
    from tuner.cluster.submit import submit as submit_job

    if address is None:
        raise InputError("--submit: expected --address with the URL of the cluster's dashboard")
    job_id = submit_job(spec, run_dir, address)
    say(f"submitted as {job_id}; to follow it again:")
    say(f"  nst-tuner attach {job_id} --address {address}")
    _follow(job_id, address)


def _job(
    job: Path | None,
    changes: Sequence[str],
    content: Path | None,
    styles: list[Path] | None,
    reference: Path | None,
    minutes: float | None,
) -> tuple[JobSpec, Space]:
    """Return the job of a job file, or the job that suits three pictures and this machine."""
    pictures = {"--content": content, "--style": styles, "--reference": reference}
    pictures["--minutes"] = minutes  # type: ignore[assignment]
    if job is not None:
        refuse_options(pictures, f"the job file {job} says this; leave out one of them")
        if (mimetypes.guess_type(job.name)[0] or "").startswith("image/"):
            raise InputError(
                f"{job}: is a picture; expected a job file, or pictures by --content, --style and"
                " --reference"
            )
        from tuner.job.load import load_job

        return load_job(job, changes)
    if not any(pictures.values()):
        raise InputError(
            "no job: expected a job file, or --content, --style and --reference; `nst-tuner init`"
            " asks for the pictures and writes a job file"
        )
    chosen = asked_pictures(content, styles or (), reference)
    chosen.sizes()
    return proposed(chosen, minutes, changes).spec(changes)


@app.command(epilog=example("attach raysubmit_ab12 --address http://127.0.0.1:8265"))
def attach(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="the job ID that `launch --submit` printed")
    ],
    address: Annotated[
        str,
        typer.Option(
            metavar="URL", help="URL of the cluster's dashboard, such as http://127.0.0.1:8265"
        ),
    ],
) -> None:
    """Show the output of a run that `launch --submit` started.

    Ctrl-C ends this command only; the run continues.
    """
    _follow(job_id, address)


def _follow(job_id: str, address: str) -> None:
    from tuner.cluster.submit import follow

    def show(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        follow(job_id, address, show, say)
    except KeyboardInterrupt:
        say(f"{job_id} continues; to follow it: nst-tuner attach {job_id} --address {address}")


@app.command(epilog=example("fetch s3://bucket/runs/cafe runs/cafe"))
def fetch(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="the storage of the run: `storage` in its job file")
    ],
    run_dir: Annotated[
        Path, typer.Argument(metavar="DIR", help="a new folder that will hold the copy")
    ],
) -> None:
    """Copy a run from its storage to this machine, to look at it or to resume it."""
    from tuner.run.mirror import fetch as fetch_run

    names = fetch_run(url, run_dir)
    say(f"{len(names)} files copied. To continue the run: nst-tuner resume {run_dir}")
    say(f"To look at it: nst-tuner best {run_dir}")


def _launch(spec: JobSpec, space: Space, run_dir: Path, address: str | None) -> None:
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
        int | None,
        typer.Option(
            metavar="N", min=1, help="new total number of trials; also extends a finished run"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="change the job's budget, finals, resources or storage; repeatable",
        ),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Continue a run that was interrupted, or extend a finished one."""
    from tuner.study.lock import check_unused

    check_unused(run_dir)
    from tuner.cluster.connection import check_address, ray_backend
    from tuner.job.load import load_job
    from tuner.results.results import load_results
    from tuner.run.change_job import check_changes
    from tuner.stylizers.trust import require_trust_of
    from tuner.terminal.progress import ProgressCallback

    if trials and any(a.partition("=")[0].strip() == "search.trials" for a in set_ or ()):
        raise InputError("--trials and --set search.trials mean the same; give one of them")
    changes = [*(set_ or ()), *([f"search.trials={trials}"] if trials else [])]
    results = load_results(run_dir)
    # The job with its changes, for the progress view. The run's own job file is changed later,
    # by `resume_run`, when this launch holds the run directory.
    check_changes(run_dir, changes)
    spec, _ = load_job(results.run.job_file, changes)
    require_trust_of(spec, results.run.job_file, trusted=trust)
    check_address(address)
    with ProgressCallback(spec, err, before=results.records) as callback:
        callback.doing("loading torch and Ray")
        backend = ray_backend(address)
        from tuner.run.launch import resume_run

        resume_run(run_dir, backend, callback=callback, say=callback.say, changes=changes)
    _show_result(run_dir)


def _show_result(run_dir: Path) -> None:
    """Write the contact sheet of a run and print its best trials."""
    from tuner.results.contact_sheet import run_sheet
    from tuner.results.results import load_results
    from tuner.terminal.run_tables import best_table

    results = load_results(run_dir)
    has_pictures = bool(results.ranked())
    if has_pictures:  # before anything is printed: standard output may be closed or full
        with writing(results.run.contact_sheet):
            sheet = io.BytesIO()
            run_sheet(results).save(sheet, "jpeg", quality=92)
            write_atomic(results.run.contact_sheet, sheet.getvalue())
    out.print(best_table(results, top=5))
    if has_pictures:
        out.print(f"Pictures: [bold]{escape(str(results.run.contact_sheet))}[/]. Full report:")
        out.print(f"  nst-tuner report {results.run.path} --open", markup=False, soft_wrap=True)


@app.command(epilog=example("demo --out demo-run"))
def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="a new folder that will hold the run")
    ] = Path("demo-run"),
) -> None:
    """Do a complete run on built-in pictures: a photo, a painting and a reference."""
    import tempfile

    from tuner.study.lock import check_unused

    check_unused(out_dir)

    from rich.progress import Progress

    from nst_core.networks.weights import get_weights
    from tuner.job.load import load_job
    from tuner.study.run_dir import RunDir

    RunDir(out_dir).begin()
    with err.status("loading torch"):
        from tuner.run.demo import REFERENCE_STEPS, reference_source, write_demo_job

    weights = {name: get_weights(name, say=say) for name in ("vgg16", "alexnet", "lpips-alex")}
    if (source := reference_source()) == "long-run":
        say(
            "the extra feed-forward is not installed: instead of its network, a long optimization"
            " makes the reference"
        )
    with tempfile.TemporaryDirectory() as folder:
        with Progress(console=err, disable=source != "long-run") as progress:
            task = progress.add_task("making the reference", total=REFERENCE_STEPS)
            job_file = write_demo_job(
                Path(folder),
                source,
                weights.__getitem__,
                lambda step: progress.update(task, completed=step.step),
            )
        spec, space = load_job(job_file)
        _launch(spec, space, out_dir, address=None)
    _show_page(out_dir)


def _show_page(run_dir: Path) -> None:
    """Write the page of a run; open it where there is a desktop, and say where it is."""
    import os
    import webbrowser

    from tuner.pages.report.page import write_report
    from tuner.results.results import load_results

    results = load_results(run_dir)
    with err.status("writing the page"), writing(results.run.report):
        write_report(results, results.run.report)
    say(f"the page: {results.run.report}")
    has_desktop = sys.platform == "darwin" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}
    if has_desktop and sys.stdout.isatty():
        webbrowser.open(results.run.report.resolve().as_uri())
