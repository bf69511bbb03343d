"""The command about metrics: list them, or check them on one's own pictures."""

from __future__ import annotations

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
from nst_core.metrics.registry import METRICS, weights_of, with_default
from tuner.terminal.console import JsonOption, WeightsOption, err, example, out, say

if TYPE_CHECKING:  # it brings torch, which listing the metrics does without
    from tuner.apply.metric_check import Checked

app = typer.Typer(rich_markup_mode="rich")

#: Of the bar: images scored, and how long the others take.
_COLUMNS: tuple[ProgressColumn, ...] = (
    TextColumn("{task.description}"),
    BarColumn(bar_width=24),
    MofNCompleteColumn(),
    TextColumn("images, left"),
    TimeRemainingColumn(),
)


@app.command(epilog=example("metrics --content photo.jpg --style art.jpg --reference wish.png"))
def metrics(
    job: Annotated[
        Path | None,
        typer.Argument(metavar="JOB.yaml", help="check them on all pairs of a job"),
    ] = None,
    content: Annotated[
        Path | None, typer.Option(metavar="C", help="check them on this photo,")
    ] = None,
    style: Annotated[Path | None, typer.Option(metavar="S", help="this style image,")] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="R", help="and what it should become")
    ] = None,
    size_px: Annotated[
        int | None,
        typer.Option(
            min=MIN_SIDE_PX, max=MAX_SIZE_PX, help="longer side; default: the job's, or 256"
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="also metrics that take long: dists")] = False,
    json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """List the metrics; or show which of them prefer doing nothing, on pictures of yours."""
    files = (content, style, reference)
    if job is None and not any(files):
        if given := [n for n, v in {"--size-px": size_px, "--weights": weights}.items() if v]:
            raise InputError(
                f"{', '.join(given)}: is for a check on pictures; name a job file, or --content,"
                " --style and --reference"
            )
        _list(json)
        return
    _check(job, files, size_px)
    with Progress(*_COLUMNS, console=err, transient=True) as progress:
        task = progress.add_task("loading torch", total=None)
        from tuner.apply.metric_check import IMAGES, advice, check_json, judge_of_all, rank
        from tuner.apply.weights_files import WeightsFiles
        from tuner.results.as_json import dump
        from tuner.terminal.metric_tables import rankings_table

        pairs, of_job, asked = _pairs(job, files, size_px)
        source = WeightsFiles(weights or (), say, of_job)
        chosen = tuple(METRICS) if all_ else with_default(asked)
        source.check_used(weights_of(chosen))
        if left_out := [name for name in METRICS if name not in chosen]:
            say(f"{', '.join(left_out)}: left out, as it takes most of the time; --all scores it")
        judge = judge_of_all(source, source.available, say, chosen)
        progress.update(task, description="scoring", total=IMAGES * len(pairs))
        rankings = rank(pairs, judge, lambda: progress.advance(task))
    if json:
        print(dump(check_json(rankings, pairs)))  # noqa: T201
    else:
        out.print(rankings_table(rankings, advice(rankings).reason))


def _list(json: bool) -> None:
    from tuner.results.as_json import dump
    from tuner.terminal.metric_tables import metrics_table

    if json:
        listed = {name: {"direction": m.direction, **vars(m)} for name, m in METRICS.items()}
        print(dump(listed))  # noqa: T201
    else:
        out.print(metrics_table())


_Files = tuple[Path | None, Path | None, Path | None]


def _check(job: Path | None, files: _Files, size_px: int | None) -> None:
    """Check what is named before torch is loaded.

    Raises:
        InputError: the options do not fit together, or a file cannot be used.
    """
    from nst_core.errors import InputError
    from tuner.job.load import load_job
    from tuner.study.early_checks import check_sources

    content, style, reference = files
    if job is not None and not any(files):
        load_job(job, [] if size_px is None else [f"size_px={size_px}"])
    elif job is None and content and style and reference:
        check_sources(content, [str(style)], reference)
    else:
        raise InputError("expected either a job file or all of --content, --style and --reference")


def _pairs(job: Path | None, files: _Files, size_px: int | None) -> Checked:
    """The pairs to look at, with the weights files and the measures that a job names."""
    from tuner.apply.metric_check import Checked, pair_of_files, pairs_of_job

    content, style, reference = files
    if job is not None:
        return pairs_of_job(job, size_px, say)
    assert content and style and reference
    return Checked([pair_of_files(content, style, reference, size_px)])
