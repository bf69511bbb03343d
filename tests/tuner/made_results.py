"""Factories: results of a run from records made by hand, without a run directory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from nst_core.config import StyleConfig
from tuner.job.objective import Goals
from tuner.job.spec import JobSpec
from tuner.results.results import Results
from tuner.study.records import RungRecord, TrialRecord
from tuner.study.run_dir import RunDir

UNTOUCHED = {"lpips": 0.6, "ssim": 0.5}
STEPS = 10


def job(**keys: Any) -> JobSpec:
    """Return a job with one pair and the given keys."""
    pair = {"content": "c.png", "style": "s.png", "reference": "r.png"}
    return JobSpec.model_validate({"name": "made", "pairs": [pair], **keys})


def trial(
    number: int,
    goals: Goals,
    lpips: float,
    *,
    ssim: float = 0.5,
    seconds: float = 1.0,
    seed: int = 0,
    final_of: int | None = None,
    state: str = "complete",
) -> TrialRecord:
    """Return a trial with one report, or without a report if it failed."""
    scores = {"lpips": lpips, "ssim": ssim, "seconds_per_image": seconds, "vram_gb": 1.0}
    metrics = {"lpips": lpips, "ssim": ssim}
    rung = RungRecord(objective=goals.first.of(scores), scores=scores, pair_scores=[metrics])
    return TrialRecord(
        trial=number,
        state=state,
        params={},
        config=StyleConfig(steps=STEPS, seed=seed).to_dict(),
        preset=None,
        final_of=final_of,
        note=None,
        rungs={} if state == "failed" else {STEPS: rung},
        reason="went to NaN" if state == "failed" else None,
    )


def results(
    spec: JobSpec,
    records: list[TrialRecord],
    folder: Path = Path("run"),
    *,
    over: str | None = "all trials are done",
) -> Results:
    """Return the results of a run whose content has the scores `UNTOUCHED`.

    Args:
        spec: the job.
        records: the trials.
        folder: the run directory, which need not exist.
        over: why the run ended, or None if it is not finished.
    """
    notes = {"pair_baselines": [{"content": UNTOUCHED}], "over": over}
    return Results(run=RunDir(folder), job=spec, records=records, notes=notes)


def order(run_results: Results) -> list[int]:
    """Return the numbers of all trials with a result, the best first."""
    return [result.record.trial for result in run_results.ranked()]


def printed(renderable: RenderableType, width: int = 80) -> str:
    """Return what Rich prints on a terminal with so many columns."""
    file = io.StringIO()
    Console(file=file, width=width).print(renderable)
    return file.getvalue()
