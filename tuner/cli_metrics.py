"""The command about metrics: list them, or check them on one's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from nst_core.errors import InputError
from tuner.console import JsonOption, WeightsOption, example, out, say

if TYPE_CHECKING:  # it brings torch, which listing the metrics does without
    from tuner.evaluate import Pair

app = typer.Typer(rich_markup_mode="rich")


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
    from nst_core.metric_names import METRICS, weights_of
    from tuner.metric_check import check_json, judge_of_all, rank
    from tuner.metric_tables import rankings_table
    from tuner.results_json import dump
    from tuner.weightsfiles import WeightsFiles

    pairs, of_job = _pairs(job, files, size_px)
    source = WeightsFiles(weights or (), say, of_job)
    source.check_used(weights_of(METRICS))
    rankings = rank(pairs, judge_of_all(source, source.available, say))
    if json:
        print(dump(check_json(rankings, pairs)))  # noqa: T201
    else:
        out.print(rankings_table(rankings))


def _list(json: bool) -> None:
    from nst_core.metric_names import METRICS
    from tuner.metric_tables import metrics_table
    from tuner.results_json import dump

    if json:
        listed = {name: {"direction": m.direction, **vars(m)} for name, m in METRICS.items()}
        print(dump(listed))  # noqa: T201
    else:
        out.print(metrics_table())


def _pairs(
    job: Path | None, files: tuple[Path | None, Path | None, Path | None], size_px: int | None
) -> tuple[list[Pair], list[str]]:
    """The pairs to look at, and the weights files that a job names."""
    from tuner.metric_check import pair_of_files, pairs_of_job

    content, style, reference = files
    if job is not None and not any(files):
        return pairs_of_job(job, size_px, say)
    if job is None and content and style and reference:
        return [pair_of_files(content, style, reference, size_px)], []
    raise InputError("expected either a job file or all of --content, --style and --reference")
