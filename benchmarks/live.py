"""Comparison of search spaces and samplers on real images; `search` uses recorded curves.

Command: ``python -m benchmarks.live --way gram --way wide --way gram/stock --size 128``. Every step
    is computed. All searches end after the same number of steps, also those of stock Ray Tune,
    whose own classes decide. Each finished search is a line in a file; the same command runs only
    the missing ones, so it can be interrupted at any time. ``python -m benchmarks.live sheets``
    shows the best results of two ways side by side, and ``starts`` chooses initial points.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.support.common import JsonOption, PairsOption, QuickOption, err, publish
from benchmarks.support.common import run as run_command
from benchmarks.support.live_cases import Case, read_results
from benchmarks.support.live_pairs import (
    BUILT_IN,
    FEED_FORWARD,
    SOURCES,
    check_references,
    chosen_pairs,
)
from benchmarks.support.live_report import by_way, comparisons, goals, sections
from benchmarks.support.live_runs import LANES, Selection, is_current, run_missing
from benchmarks.support.live_sheets import KEY, write_sheets
from benchmarks.support.live_starts import initial_points, measure_all, winners
from benchmarks.support.live_starts import sections as starts_sections
from benchmarks.support.live_ways import parse_way
from nst_core.errors import InputError
from tuner.job.spec import HalvingSpec
from tuner.search.rungs import first_rung as auto_first_rung

WAYS = ("standard", "gram", "standard/tpe", "gram/stock")
QUICK_WAYS = ("gram", "gram/tpe", "gram/stock")
SEEDS = 3
SIZE_PX = 64
STEPS, QUICK_STEPS = 90, 15
FULL_TRIALS, QUICK_FULL_TRIALS = 16, 4
QUICK_FIRST_RUNG = 5
CASES = Path(__file__).parent / "results" / "live-cases.jsonl"

WayOption = Annotated[
    list[str] | None,
    typer.Option(
        "--way",
        metavar="SPACE[/VARIANT]",
        help="a search space, and a sampler, reduction-2, early-rung or stock; repeatable;"
        " the first one is what the others are compared with",
    ),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="what makes references: feed-forward, long-optimization or other-engine; repeatable",
    ),
]
SizeOption = Annotated[
    list[int] | None, typer.Option("--size", min=32, help="longer side in pixels; repeatable")
]
CasesOption = Annotated[
    Path | None, typer.Option("--cases", metavar="FILE", help="file of finished searches")
]

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    way: WayOption = None,
    pair: PairsOption = None,
    source: SourceOption = None,
    size: SizeOption = None,
    steps: Annotated[int | None, typer.Option(min=2, help="last rung")] = None,
    first_rung: Annotated[
        int | None,
        typer.Option(min=1, help="steps of the first rung; by default as `auto` in a job"),
    ] = None,
    full_trials: Annotated[
        int | None, typer.Option(min=1, help="budget, as steps of this many full trials")
    ] = None,
    starts: Annotated[
        bool, typer.Option("--starts/--no-starts", help="begin with the space's initial points")
    ] = True,
    seeds: Annotated[int | None, typer.Option(min=1, help="number of seeds")] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="first of the seeds")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes of one thread each")] = None,
    cases: CasesOption = None,
    report_only: Annotated[bool, typer.Option(help="only report what the file has")] = False,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare search spaces and samplers by the best LPIPS of their searches."""
    if context.invoked_subcommand:
        return
    last = steps or (QUICK_STEPS if quick else STEPS)
    first = first_rung or (
        QUICK_FIRST_RUNG if quick else auto_first_rung(HalvingSpec(max_steps=last))
    )
    if first > last:
        raise InputError(f"--first-rung {first}: expected at most --steps, which is {last}")
    selection = Selection(
        ways=[parse_way(text) for text in way or (QUICK_WAYS if quick else WAYS)],
        pairs=chosen_pairs(source or [FEED_FORWARD], pair or (BUILT_IN[:1] if quick else ())),
        sizes_px=size or [SIZE_PX],
        seeds=range(first_seed, first_seed + (seeds or (1 if quick else SEEDS))),
        steps=(first, last),
        full_trials=full_trials or (QUICK_FULL_TRIALS if quick else FULL_TRIALS),
        starts=starts,
    )
    check_references(selection.pairs, max(selection.sizes_px))
    given = _Given(
        ways=way,
        pairs=[chosen.name for chosen in selection.pairs] if pair else None,
        sources={chosen.source for chosen in selection.pairs} if source else None,
        sizes_px=size,
        steps=[selection.steps] if steps or first_rung else None,
        full_trials=[full_trials] if full_trials else None,
        seeds=selection.seeds if seeds else None,
    )
    with _file_of(cases, quick) as file:
        if not report_only:
            run_missing(selection, file, jobs or os.cpu_count() or 1)
        _report(file, given, json_file)


@app.command()
def sheets(
    way: WayOption = None,
    pair: PairsOption = None,
    source: SourceOption = None,
    size: SizeOption = None,
    cases: CasesOption = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder of the sheets")] = Path("sheets"),
    seed: Annotated[int | None, typer.Option(help="seed of the order; else random")] = None,
) -> None:
    """Write a picture for each pair and size: reference, and the best of two ways in random order.

    The file key.json names the way behind each number.
    """
    if len(way or ()) != 2:
        raise InputError(f"--way: expected it twice, with the two ways to compare, got {way or []}")
    first, second = (parse_way(text).name for text in way or ())
    results = [
        result
        for result in read_results(cases or CASES)
        if size is None or result.case.size_px in size
    ]
    pairs = chosen_pairs(source or SOURCES, pair or ())
    written = write_sheets(results, (first, second), pairs, out, random.Random(seed))
    typer.echo(f"{len(written)} sheets in {out}; {KEY} names the way behind each number")


@app.command()
def starts(
    way: WayOption = None,
    pair: PairsOption = None,
    source: SourceOption = None,
    size: SizeOption = None,
    space: Annotated[str, typer.Option(help="space with the initial points of today")] = "standard",
    count: Annotated[int, typer.Option(min=1, help="number of initial points")] = 8,
    cases: CasesOption = None,
    scores: Annotated[
        Path, typer.Option(metavar="FILE", help="file of the scores, which a later call continues")
    ] = Path("starts.jsonl"),
    jobs: Annotated[int | None, typer.Option(min=1, help="processes of one thread each")] = None,
) -> None:
    """Choose initial points among the best configurations of finished searches.

    Each configuration runs up to 45 steps on every pair.
    """
    sources, sizes_px = chosen_pairs(source or [FEED_FORWARD], pair or ()), size or [SIZE_PX]
    ways = {parse_way(text).name for text in way or [space]}
    found = winners([r for r in read_results(cases or CASES) if r.case.way.name in ways])
    if len(sources) < 2:
        raise InputError("--pair: expected at least two pairs, since the table leaves one out")
    if not found:
        raise InputError(f"{cases or CASES}: has no results of {', '.join(sorted(ways))}")
    present = initial_points(space, min(sizes_px), STEPS)
    measure_all([*found, *present], sources, sizes_px, scores, jobs or os.cpu_count() or 1)
    publish(
        f"Initial points of {space}",
        f"{len(found)} best configurations of searches on {len(sources)} pairs.",
        starts_sections(found, present, sources, sizes_px, scores, count),
    )


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Options that were given, which choose the results to report; None: all."""

    ways: Collection[str] | None
    pairs: Collection[str] | None
    sources: Collection[str] | None
    sizes_px: Collection[int] | None
    steps: Collection[tuple[int, int]] | None
    full_trials: Collection[int] | None
    seeds: Collection[int] | None

    def include(self, case: Case) -> bool:
        """Return whether a result of this case is reported."""
        listed: Sequence[tuple[object, Collection[object] | None]] = (
            (case.way.name, self.ways),
            (case.pair, self.pairs),
            (case.source, self.sources),
            (case.size_px, self.sizes_px),
            (case.steps, self.steps),
            (case.full_trials, self.full_trials),
            (case.seed, self.seeds),
        )
        return all(values is None or value in values for value, values in listed)


@contextmanager
def _file_of(cases: Path | None, quick: bool) -> Iterator[Path]:
    """Yield the file of finished searches; a quick run without ``--cases`` keeps nothing."""
    if cases or not quick:
        yield cases or CASES
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / CASES.name


def _report(file: Path, given: _Given, json_file: Path | None) -> None:
    results = [result for result in read_results(file) if given.include(result.case)]
    current = [result for result in results if is_current(result.case)]
    if len(current) < len(results):
        err.print(
            f"{len(results) - len(current)} results are left out: their space has changed since"
        )
    if not current:
        raise InputError(f"{file}: has no results of these options; run without --report-only")
    compared = comparisons(current, list(dict.fromkeys([*(given.ways or WAYS), *by_way(current)])))
    publish(
        "Searches on real pictures",
        f"Best LPIPS of searches with {LANES} trials at a time, by steps of all trials.",
        sections(compared),
        goals=goals(compared),
        json_file=json_file,
    )


if __name__ == "__main__":
    run_command(app)
