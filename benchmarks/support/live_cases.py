"""Cases of `benchmarks.live` and their results, one line of a JSON-lines file for each search."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.support.live_ways import Way
from nst_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Case:
    """One search; two searches with equal cases have the same result.

    Attributes:
        source: what made the reference, one of `live_pairs.SOURCES`.
        pair: name of the pair.
        pictures: digest of the pair's pictures.
        size_px: longer side of the results in pixels.
        way: how the search works.
        space: digest of the search space, see `live_ways.fingerprint`.
        starts: whether the search begins with the initial points of its space.
        steps: steps of the first and of the last rung, if the way does not set its own first.
        full_trials: budget: number of full trials whose steps all trials may take together.
        lanes: number of trials that run at the same time.
        seed: seed of the search.
    """

    source: str
    pair: str
    pictures: str
    size_px: int
    way: Way
    space: str
    starts: bool
    steps: tuple[int, int]
    full_trials: int
    lanes: int
    seed: int

    @property
    def rungs(self) -> tuple[int, int]:
        """Steps of the first and of the last rung of this search."""
        first, last = self.steps
        divisor = self.way.rung_divisor
        return (first if divisor is None else -(-last // divisor), last)

    @property
    def budget(self) -> int:
        """Number of steps that all trials may take together."""
        return self.full_trials * self.steps[1]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best report of a search.

    Attributes:
        lpips: its score.
        trial: number of the trial.
        steps: steps of the trial at the report.
        config: all settings of the trial, with the steps of the last rung.
    """

    lpips: float
    trial: int
    steps: int
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """Result of a search.

    Attributes:
        case: what was searched.
        trace: (steps of all trials, lowest LPIPS so far) where the best improved, and at the end.
        best: the best report within the budget.
        untouched: LPIPS of the untouched photo.
        stlpips: ST-LPIPS of the best report, which forgives small shifts of strokes.
        trials: number of trials that reported or failed.
        seconds: duration of the search.
        machine: processor and versions.
    """

    case: Case
    trace: Sequence[tuple[int, float]]
    best: Best
    untouched: float
    stlpips: float
    trials: int
    seconds: float
    machine: Mapping[str, str]

    def best_by(self, steps: float) -> float:
        """Return the lowest LPIPS after some steps; before the first report, that of the first."""
        return min(best for spent, best in self.trace if spent <= max(steps, self.trace[0][0]))


def read_results(file: Path) -> list[CaseResult]:
    """Return the results in a file; none if there is no file.

    A last line without an end is left out: the process that wrote it was killed.

    Raises:
        InputError: another line is not a result.
    """
    if not file.is_file():
        return []
    return list(_parsed(file, file.read_bytes()))


def append_result(file: Path, result: CaseResult) -> None:
    """Append a result to a file as one whole line; a torn last line is removed before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(result), separators=(",", ":")) + "\n"
    with file.open("ab+") as stream:
        _remove_torn_line(stream)
        stream.write(line.encode())
        stream.flush()
        os.fsync(stream.fileno())


def _remove_torn_line(stream: BinaryIO) -> None:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 1))
    if size and stream.read() != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


def _parsed(file: Path, content: bytes) -> Iterator[CaseResult]:
    *lines, _torn = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            yield _result(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file}, line {number}: expected a result of `benchmarks.live` ({error}); name"
                " another file with --cases, or remove the line, which repeats its search"
            ) from None


def _result(line: Mapping[str, Any]) -> CaseResult:
    case = dict(line["case"])
    case["way"], case["steps"] = Way(**case["way"]), tuple(case["steps"])
    trace = [(int(spent), float(best)) for spent, best in line["trace"]]
    parts = {**line, "case": Case(**case), "best": Best(**line["best"]), "trace": trace}
    return CaseResult(**parts)
