"""Comparison of search spaces and samplers on real images; `search` uses recorded curves.

Command: ``python -m benchmarks.live --way gram --way wide --way gram/stock --size 128``. Every step
    is computed. All searches end after the same number of steps, also those of stock Ray Tune,
    whose own classes decide. Each finished search is a line in a file; the same command runs only
    the missing ones, so it can be interrupted at any time. ``python -m benchmarks.live sheets``
    shows the best results of two ways side by side.

Searches that know something from other pairs know it from pairs with another photo and another
style.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.support.common import JsonOption, QuickOption, err, on_one_thread, progress, publish
from benchmarks.support.common import run as run_command
from benchmarks.support.live_cases import Case, append_result, read_results
from benchmarks.support.live_pairs import (
    BUILT_IN,
    FEED_FORWARD,
    OTHER,
    SOURCES,
    PairSource,
    check_size,
    chosen_pairs,
    load_pair,
    pictures_of,
)
from benchmarks.support.live_report import by_way, comparisons, goals, sections
from benchmarks.support.live_searches import run_case
from benchmarks.support.live_sheets import KEY, write_sheets
from benchmarks.support.live_ways import Way, fingerprint, parse_way, space_of
from nst_core.errors import InputError, WorkError
from search_spaces import CATALOGUE
from tuner.transfer.curves import SHIPPED

WAYS = ("gram", "gram-wide", "wide", "gram/cold", "gram/suggested", "gram/tpe", "gram/stock")
QUICK_WAYS = ("gram", "gram/suggested", "gram/stock")
SEEDS = 3
SIZE_PX = 64
STEPS, QUICK_STEPS = 90, 15
FULL_TRIALS, QUICK_FULL_TRIALS = 16, 4
QUICK_FIRST_RUNG = 5
LANES = 8
#: A first rung is this share of the last one, as in the default of jobs (15 of 300 steps).
FIRST_RUNG_SHARE = 20
CASES = Path(__file__).parent / "results" / "live-cases.jsonl"

WayOption = Annotated[
    list[str] | None,
    typer.Option(
        "--way",
        metavar="SPACE[/VARIANT]",
        help="a search space, and a sampler, cold, suggested, reduction-2 or stock; repeatable;"
        " the first one is what the others are compared with",
    ),
]
PairOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        metavar="NAME[=CONTENT,STYLE[,REFERENCE]]",
        help="a built-in pair, or your own pictures; repeatable",
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
    pair: PairOption = None,
    source: SourceOption = None,
    size: SizeOption = None,
    steps: Annotated[int | None, typer.Option(min=2, max=300, help="last rung")] = None,
    first_rung: Annotated[int | None, typer.Option(min=1, help="steps of the first rung")] = None,
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
    first = first_rung or (QUICK_FIRST_RUNG if quick else -(-last // FIRST_RUNG_SHARE))
    if first > last:
        raise InputError(f"--first-rung {first}: expected at most --steps, which is {last}")
    ways = [parse_way(text) for text in way or (QUICK_WAYS if quick else WAYS)]
    pairs = chosen_pairs(source or [FEED_FORWARD], pair or (BUILT_IN[:1] if quick else ()))
    for size_px in size or [SIZE_PX]:
        check_size(pairs, size_px)
    seed_range = range(first_seed, first_seed + (seeds or (1 if quick else SEEDS)))
    given = _Given(
        ways=way,
        pairs=[chosen.name for chosen in pairs] if pair else None,
        sources=source,
        sizes_px=size,
        steps=(first, last) if steps or first_rung else None,
        full_trials=full_trials,
        seeds=seed_range if seeds else None,
    )
    with _file_of(cases, quick) as file:
        if not report_only:
            wanted = [
                (chosen, case)
                for seed in seed_range
                for size_px in size or [SIZE_PX]
                for chosen in pairs
                for case in _cases(
                    *(chosen, ways, size_px, seed),
                    steps=(first, last),
                    full_trials=full_trials or (QUICK_FULL_TRIALS if quick else FULL_TRIALS),
                    starts=starts,
                )
            ]
            _run_missing(wanted, file, jobs or os.cpu_count() or 1)
        _report(file, given, json_file)


@app.command()
def sheets(
    way: WayOption = None,
    pair: PairOption = None,
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


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Options that were given, which choose the results to report; None: all."""

    ways: Sequence[str] | None
    pairs: Sequence[str] | None
    sources: Sequence[str] | None
    sizes_px: Sequence[int] | None
    steps: tuple[int, int] | None
    full_trials: int | None
    seeds: Sequence[int] | None

    def include(self, case: Case) -> bool:
        """Return whether a result of this case is reported."""
        listed = (
            (case.way.name, self.ways),
            (case.pair, self.pairs),
            (case.size_px, self.sizes_px),
            (case.seed, self.seeds),
            (case.source, [*self.sources, OTHER] if self.sources and self.pairs else self.sources),
        )
        return (
            all(values is None or value in values for value, values in listed)
            and self.steps in (None, case.steps)
            and self.full_trials in (None, case.full_trials)
        )


@cache
def _pictures(source: PairSource) -> str:
    return pictures_of(source)


@cache
def _space(space: str, starts: bool) -> str:
    return fingerprint(space_of(parse_way(space)), starts=starts)


def _knowledge(way: Way) -> str | None:
    """Return a digest of the recorded curves if the way knows something from them."""
    if not (way.knows or way.suggested):
        return None
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:12]


def _cases(
    pair: PairSource, ways: Sequence[Way], size_px: int, seed: int, *, starts: bool, **budget: Any
) -> Iterator[Case]:
    for way in ways:
        yield Case(
            source=pair.source,
            pair=pair.name,
            pictures=_pictures(pair),
            size_px=size_px,
            way=way,
            space=_space(way.space, starts),
            starts=starts,
            knowledge=_knowledge(way),
            lanes=LANES,
            seed=seed,
            **budget,
        )


@contextmanager
def _file_of(cases: Path | None, quick: bool) -> Iterator[Path]:
    """Yield the file of finished searches; a quick run without ``--cases`` keeps nothing."""
    if cases or not quick:
        yield cases or CASES
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / CASES.name


def _run_missing(wanted: Sequence[tuple[PairSource, Case]], file: Path, jobs: int) -> None:
    """Run the cases that the file lacks, and append each result as soon as it is there.

    Raises:
        WorkError: some searches failed; all others are in the file.
    """
    done = {result.case for result in read_results(file)}
    missing = [(pair, case) for pair, case in wanted if case not in done]
    err.print(f"{len(missing)} of {len(wanted)} searches are missing in {file}", highlight=False)
    context = multiprocessing.get_context("spawn")
    failures: list[str] = []
    pool = ProcessPoolExecutor(jobs, context, _begin_process)
    try:
        with progress() as bar:
            pairs = list(dict.fromkeys(pair for pair, _ in missing))
            for _ in bar.track(pool.map(_prepare, pairs), total=len(pairs), description="pairs"):
                pass
            running = {pool.submit(run_case, pair, case): case for pair, case in missing}
            finished = as_completed(running)
            for future in bar.track(finished, total=len(running), description="searches"):
                try:
                    append_result(file, future.result())
                except WorkError as error:
                    case = running[future]
                    failures.append(f"{case.pair}, {case.way.name}, seed {case.seed}: {error}")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise WorkError("\n".join(failures))


def _begin_process() -> None:
    """Use one thread, and end with the process that started this one, even if it is killed."""
    on_one_thread()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _prepare(pair: PairSource) -> None:
    """Make the reference of a pair if it is missing, so that no two searches make it."""
    load_pair(pair)


def _report(file: Path, given: _Given, json_file: Path | None) -> None:
    results = [result for result in read_results(file) if given.include(result.case)]
    current = [result for result in results if _is_current(result.case)]
    if len(current) < len(results):
        err.print(
            f"{len(results) - len(current)} results are left out: their space or the recorded"
            " curves have changed since"
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


def _is_current(case: Case) -> bool:
    """Return whether the space and the knowledge of a case are those of this version."""
    known = case.way.space in CATALOGUE and _knowledge(case.way) == case.knowledge
    return known and _space(case.way.space, case.starts) == case.space


if __name__ == "__main__":
    run_command(app)
