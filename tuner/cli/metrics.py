"""The command ``metrics``: lists the metrics, checks them on pictures, or compares two of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from nst_core.errors import InputError
from nst_core.files import is_folder
from nst_core.metrics.registry import METRICS, ON_REQUEST, weights_of, with_default
from tuner.cli.arguments import refuse_options
from tuner.terminal.console import JsonOption, WeightsOption, err, example, out, print_json, say

if TYPE_CHECKING:  # imports torch, which the list of metrics does not need
    from tuner.apply.metric_check import CheckInput

app = typer.Typer(rich_markup_mode="rich")

#: Content, style and reference.
_Files = tuple[Path | None, Path | None, Path | None]

#: Columns of the progress bar: images scored, and the time left.
_COLUMNS: tuple[ProgressColumn, ...] = (
    TextColumn("{task.description}"),
    BarColumn(bar_width=24),
    MofNCompleteColumn(),
    TextColumn("images, time left"),
    TimeRemainingColumn(),
)


@app.command(epilog=example("metrics --content photo.jpg --style art.jpg --reference wish.png"))
def metrics(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="JOB.yaml|DIR",
            help="check the metrics on all pairs of this job; or compare lpips with stlpips on the"
            " pictures of this run",
        ),
    ] = None,
    content: Annotated[
        Path | None, typer.Option(metavar="C", help="check them on this content image")
    ] = None,
    style: Annotated[
        Path | None, typer.Option(metavar="S", help="the style image for --content")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="R", help="what the content image should become")
    ] = None,
    size_px: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=MIN_SIDE_PX,
            max=MAX_SIZE_PX,
            help=f"longer side at which pictures are compared, {MIN_SIDE_PX} to {MAX_SIZE_PX}"
            " pixels; default: the job's size, or 256",
        ),
    ] = None,
    all_: Annotated[
        bool,
        typer.Option("--all", help=f"also check metrics that take long: {', '.join(ON_REQUEST)}"),
    ] = False,
    json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """List the metrics, or check which of them suit your own pictures.

    The check finds metrics that prefer doing nothing: they score the untouched content image
    better than a slightly damaged copy of the reference, so a search by them finds nothing good.

    With a run directory, show which pictures of its trials lpips and stlpips order differently.
    """
    files = (content, style, reference)
    if source is not None and is_folder(source) and not any(files):
        reason = "is for a check on pairs, not for a run; leave it out"
        refuse_options({"--size-px": size_px, "--all": all_}, reason)
        _compare_run(source, weights or (), json=json)
        return
    if source is None and not any(files):
        refuse_options(
            {"--size-px": size_px, "--weights": weights},
            "is for a check on pictures; name a job file, or --content, --style and --reference",
        )
        _list(json)
        return
    _check_arguments(source, files, size_px)
    _check(source, files, size_px, weights or (), use_all=all_, json=json)


def _compare_run(run_dir: Path, weights: Sequence[str], *, json: bool) -> None:
    """Score the pictures of a run with a progress bar, and print where two metrics disagree."""
    from tuner.study.preflight_checks import check_run

    check_run(run_dir)
    with Progress(*_COLUMNS, console=err, transient=True) as progress:
        task = progress.add_task("loading torch", total=None)
        from tuner.apply.metric_disagreement import compare_run
        from tuner.terminal.metric_tables import disagreement_table

        comparison = compare_run(
            run_dir,
            weights,
            say,
            on_start=lambda total: progress.update(task, description="scoring", total=total),
            on_score=lambda: progress.advance(task),
        )
    if json:
        print_json(comparison.to_json())
    else:
        out.print(disagreement_table(comparison))


def _check(
    job: Path | None,
    files: _Files,
    size_px: int | None,
    weights: Sequence[str],
    *,
    use_all: bool,
    json: bool,
) -> None:
    """Check the metrics on pictures, with a progress bar, and print their rankings."""
    with Progress(*_COLUMNS, console=err, transient=True) as progress:
        task = progress.add_task("loading torch", total=None)
        from tuner.apply.metric_check import IMAGES, advice, check_json, rank, suite_of_available
        from tuner.apply.metric_disagreement import compare_rankings
        from tuner.apply.weights_files import WeightsFiles
        from tuner.terminal.metric_tables import disagreement_table, rankings_table

        pairs, of_job, asked = _pairs(job, files, size_px)
        files_of = WeightsFiles(weights, say, of_job)
        chosen = tuple(METRICS) if use_all else with_default(asked)
        files_of.check_used(weights_of(chosen))
        if left_out := [name for name in METRICS if name not in chosen]:
            say(f"{', '.join(left_out)}: not checked, to save time; --all checks all metrics")
        suite = suite_of_available(files_of, files_of.available, say, chosen)
        progress.update(task, description="scoring", total=IMAGES * len(pairs))
        rankings = rank(pairs, suite, lambda: progress.advance(task))
    comparison = compare_rankings(rankings)
    if json:
        compared = {"disagreement": comparison.to_json() if comparison else None}
        print_json({**check_json(rankings, pairs), **compared})
        return
    out.print(rankings_table(rankings, advice(rankings).reason))
    if comparison:
        out.print(disagreement_table(comparison))


def _list(json: bool) -> None:
    from tuner.terminal.metric_tables import metrics_table

    if json:
        print_json({name: {"direction": m.direction, **vars(m)} for name, m in METRICS.items()})
    else:
        out.print(metrics_table())


def _check_arguments(job: Path | None, files: _Files, size_px: int | None) -> None:
    """Check the job file or the pictures before torch is loaded.

    Raises:
        InputError: the arguments do not fit together, or a file cannot be used.
    """
    from tuner.job.load import load_job
    from tuner.study.preflight_checks import check_sources

    content, style, reference = files
    if job is not None and not any(files):
        load_job(job, [] if size_px is None else [f"size_px={size_px}"])
    elif job is None and content and style and reference:
        check_sources(content, [str(style)], reference)
    else:
        raise InputError("expected either a job file or all of --content, --style and --reference")


def _pairs(job: Path | None, files: _Files, size_px: int | None) -> CheckInput:
    """Return the pairs to check, with the weights files and the metrics that the job names."""
    from tuner.apply.metric_check import CheckInput, pair_of_files, pairs_of_job

    content, style, reference = files
    if job is not None:
        return pairs_of_job(job, size_px, say)
    assert content and style and reference
    return CheckInput([pair_of_files(content, style, reference, size_px)])
