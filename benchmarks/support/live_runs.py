"""The searches of one command of `benchmarks.live`, and running those that are missing."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.support.common import err, on_one_thread, progress
from benchmarks.support.live_cases import Case, append_result, read_results
from benchmarks.support.live_pairs import PairSource, load_pair, pictures_of
from benchmarks.support.live_searches import run_case
from benchmarks.support.live_ways import REMOVED, Way, fingerprint, parse_way, space_of
from nst_core.errors import InputError, NstError, WorkError
from search_spaces import CATALOGUE

#: Number of trials that a search runs at the same time.
LANES = 8


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The searches of one command: each pair at each size, by each way with each seed.

    Attributes:
        ways: ways to search.
        pairs: the pairs.
        sizes_px: longer sides in pixels.
        seeds: seeds of the searches.
        steps: steps of the first and of the last rung.
        full_trials: budget of a search in full trials.
        starts: whether a search begins with the initial points of its space.
    """

    ways: Sequence[Way]
    pairs: Sequence[PairSource]
    sizes_px: Sequence[int]
    seeds: Sequence[int]
    steps: tuple[int, int]
    full_trials: int
    starts: bool

    def cases(self) -> Iterator[tuple[PairSource, Case]]:
        """Yield each pair and case; those of one seed together, so that ways stay comparable."""
        for seed in self.seeds:
            for size_px in self.sizes_px:
                for pair in self.pairs:
                    for way in self.ways:
                        yield pair, self._case(pair, size_px, way, seed)

    def _case(self, pair: PairSource, size_px: int, way: Way, seed: int) -> Case:
        return Case(
            source=pair.source,
            pair=pair.name,
            pictures=pictures_of(pair),
            size_px=size_px,
            way=way,
            space=_space(way.space, self.starts),
            starts=self.starts,
            steps=self.steps,
            full_trials=self.full_trials,
            lanes=LANES,
            seed=seed,
        )


def is_current(case: Case) -> bool:
    """Return whether the space of a case is that of this version, or the way was removed."""
    if case.way.sampler in REMOVED:
        return True
    return case.way.space in CATALOGUE and case.space == _space(case.way.space, case.starts)


def run_missing(selection: Selection, file: Path, jobs: int) -> None:
    """Run the searches that a file lacks, and append each result as soon as it is there.

    Args:
        selection: the searches.
        file: file of results; it may be missing.
        jobs: number of processes.

    Raises:
        InputError: a way that was removed has no results for some of the searches.
        WorkError: some searches failed; the results of all others are in the file.
    """
    wanted = {case: pair for pair, case in selection.cases()}
    done = {result.case for result in read_results(file)}
    missing = {case: pair for case, pair in wanted.items() if case not in done}
    if removed := sorted({c.way.name for c in missing if c.way.sampler in REMOVED}):
        raise InputError(
            f"--way {', --way '.join(removed)}: was removed, so {file} has all of its results;"
            " report them with --report-only"
        )
    err.print(f"{len(missing)} of {len(wanted)} searches are missing in {file}", highlight=False)
    if not missing:
        return
    failures: list[str] = []
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin_process)
    try:
        with progress() as bar:
            pairs = list(dict.fromkeys(missing.values()))
            for _ in bar.track(pool.map(_prepare, pairs), total=len(pairs), description="pairs"):
                pass
            running = {pool.submit(run_case, pair, case): case for case, pair in missing.items()}
            finished = as_completed(running)
            for future in bar.track(finished, total=len(running), description="searches"):
                try:
                    append_result(file, future.result())
                except NstError as error:
                    case = running[future]
                    failures.append(f"{case.pair}, {case.way.name}, seed {case.seed}: {error}")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise WorkError("\n".join(failures))


@cache
def _space(name: str, starts: bool) -> str:
    return fingerprint(space_of(parse_way(name)), starts=starts)


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
