"""Runs: the runs of a folder, with what each of them has found."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nst_core.errors import NstError, RunError
from tuner.results.results import Results, load_results
from tuner.study.commands import is_paused
from tuner.study.run_files import JOB_FILE, holds_study


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run of a folder.

    Attributes:
        path: the run directory.
        name: name of its job; empty if the run cannot be read, as all that follows.
        state: ``finished``, ``running``, ``paused``, ``stopped`` or ``damaged``.
        done: number of trials that have ended.
        trials: number of trials of the job.
        size_px: longer side of the results in pixels.
        objective: name of the first objective.
        best: its value for the best trial; None before the first report.
        vs_content: relative gain over the untouched content, or None.
        vs_preset: relative gain over the best preset, or None.
        started: when the run began, in UTC, or None.
        problem: why a damaged run cannot be read, or None.
    """

    path: Path
    name: str = ""
    state: str = "damaged"
    done: int = 0
    trials: int = 0
    size_px: int | None = None
    objective: str = ""
    best: float | None = None
    vs_content: float | None = None
    vs_preset: float | None = None
    started: str | None = None
    problem: str | None = None


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories in a folder and in its folders, by name.

    Raises:
        RunError: there is no such folder, or it holds no run.
    """
    if not os.path.isdir(folder):  # noqa: PTH112  # no name is too long for it
        raise RunError(f"{folder}: no such folder; name a folder with run directories")
    if _is_run(folder):
        return [folder]
    inner = _folders(folder)
    runs = [path for path in inner if _is_run(path)]
    runs += [run for path in inner if path not in runs for run in _folders(path) if _is_run(run)]
    if not runs:
        raise RunError(
            f"{folder}: holds no run directory, nor do the folders in it; `nst-tuner launch`"
            " makes one"
        )
    return sorted(runs)


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    except OSError:  # a folder that this user may not read
        return []


def _is_run(folder: Path) -> bool:
    return (folder / JOB_FILE).is_file() and holds_study(folder)


def summarize(path: Path) -> RunSummary:
    """Return what a run has found; a run that cannot be read is ``damaged``."""
    try:
        results = load_results(path)
    except NstError as error:
        return RunSummary(path=path, problem=str(error))
    ranked, preset = results.ranked(), results.best_preset()
    score = results.score(ranked[0]) if ranked else None
    return RunSummary(
        path=path,
        name=results.job.name,
        state=_state(results),
        done=results.done,
        trials=results.job.search.trials,
        size_px=results.job.size_px,
        objective=results.goals.first.name,
        best=score,
        vs_content=None if score is None else _finite(results.gain(score)),
        vs_preset=_finite(results.change(score, results.score(preset)))
        if score is not None and preset
        else None,
        started=results.notes.get("environment", {}).get("started"),
    )


def _state(results: Results) -> str:
    if results.over:
        return "finished"
    if not results.run.is_held:
        return "stopped"
    return "paused" if is_paused(results.commands) else "running"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def runs_json(runs: Sequence[RunSummary]) -> dict[str, object]:
    """Return what `nst-tuner ls --json` prints."""
    return {"runs": [{**vars(run), "path": str(run.path)} for run in runs]}
