"""Warm start: initial points of a search, from earlier runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from search_spaces import Params, Space
from tuner.job.objective import Goals
from tuner.job.ranking import ranking
from tuner.results.results import load_results
from tuner.sampling.encoding import encode_all
from tuner.study.records import TrialRecord
from tuner.study.run_dir import RunDir

#: Number of initial points from one source. With eight points from other pairs, a simulated search
#: needed more steps than with four: four leave room for other points before the sampler begins to
#: learn. Four were better than fewer even in a search of five trials.
POINTS_PER_SOURCE = 4
#: Largest share of all trials for initial points, unless one source alone has more.
SHARE = 1 / 2
#: Least distance between two points of one source in encoded coordinates: a second point that is
#: like the first adds little.
APART = 0.2


def warm_starts(
    sources: Sequence[str], space: Space, trials: int, goals: Goals
) -> tuple[list[Params], list[str]]:
    """Return initial points: the best point of every source, then the second best, and so on.

    Args:
        sources: run directories.
        space: space of the search; values that are not valid in it are left to the sampler.
        trials: number of trials of the search.
        goals: objectives of the search; they rank the trials of every source.

    Returns:
        Parameters of the points, and a remark about each source that gave no points or was
        searched for another objective.

    Raises:
        RunError: a source is not a run directory.
    """
    points_by_source: list[list[Params]] = []
    remarks = []
    for source in sources:
        points, remark = _points_of_run(Path(source), space, goals)
        if remark is None and not points:
            remark = f"{source} has no trial that fits the space {space.name}"
        if remark:
            remarks.append(f"warm start: {remark}")
        points_by_source.append(points)
    ranked = [
        points[rank]
        for rank in range(POINTS_PER_SOURCE)
        for points in points_by_source
        if rank < len(points)
    ]
    unique = [params for i, params in enumerate(ranked) if params not in ranked[:i]]
    return unique[: max_warm_starts(trials)], remarks


def max_warm_starts(trials: int) -> int:
    """Return the largest number of points that a search takes from other runs.

    Args:
        trials: number of trials of the search.
    """
    return min(trials, max(POINTS_PER_SOURCE, int(trials * SHARE)))


def _points_of_run(folder: Path, space: Space, goals: Goals) -> tuple[list[Params], str | None]:
    """Return the best parameters of a run without its initial points, and a remark or None."""
    results = load_results(RunDir(folder).require().path)
    remark = None
    if results.goals.name == goals.name:
        ranked = [trial.record for trial in results.ranked()]
    elif missing := sorted(goals.measures - _common_measures(results.records)):
        return [], f"{folder} is not used: its trials were not scored by {', '.join(missing)}"
    else:
        ranked = ranked_by(results.records, goals)
        remark = (
            f"{folder} was searched for {results.goals.name}; its trials are ranked by"
            f" {goals.name} here"
        )
    points = [fitting(record.params, space) for record in ranked if record.searched]
    points = [params for params in points if params and params not in space.initial_points]
    if not points:
        return [], None
    chosen = apart(range(len(points)), encode_all(space, points), POINTS_PER_SOURCE)
    return [points[index] for index in chosen], remark


def fitting(params: Params, space: Space) -> Params:
    """Return the values that are valid in a space; the sampler chooses all others."""
    valid: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if name in params and space.active(name, valid) and parameter.contains(params[name]):
            valid[name] = params[name]
    return valid


def apart(ranked: Iterable[int], points_CD: np.ndarray, top: int) -> list[int]:
    """Return the first ``top`` indices of a ranking whose points are at least `APART` apart."""
    chosen: list[int] = []
    for index in ranked:
        gaps = [float(np.linalg.norm(points_CD[index] - points_CD[c])) for c in chosen]
        if all(gap >= APART for gap in gaps):
            chosen.append(index)
        if len(chosen) == top:
            break
    return chosen


def _common_measures(records: Sequence[TrialRecord]) -> set[str]:
    """Return the measures that every report of these trials contains."""
    reports = [set(rung.scores) for record in records for rung in record.rungs.values()]
    return set.intersection(*reports) if reports else set()


def ranked_by(records: Sequence[TrialRecord], goals: Goals) -> list[TrialRecord]:
    """Return the trials that reported and did not fail, best first by the given goals.

    Finals are left out, because the goals of their own run selected them.

    Args:
        records: trials of a run.
        goals: goals to rank by, which may differ from those of the run.
    """
    candidates = [
        (record, best[1])
        for record in records
        if record.final_of is None
        and record.state != "failed"
        and (best := record.best_rung(goals))
    ]
    keys = ranking([goals.values(rung.scores) for _, rung in candidates])
    ranked = sorted(zip(keys, candidates, strict=True), key=lambda x: (x[0], x[1][0].trial))
    return [record for _, (record, _) in ranked]
