"""Results of a run on records made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nst_core.config import StyleConfig
from tuner.job.objective import Goals
from tuner.job.spec import JobSpec
from tuner.results.results import Results
from tuner.study.records import RungRecord, TrialRecord
from tuner.study.run_dir import RunDir

UNTOUCHED = {"lpips": 0.6, "ssim": 0.5}
STEPS = 10


def job(**keys: Any) -> JobSpec:
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
    """A trial with one report; one that failed has none."""
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
    asked: JobSpec,
    records: list[TrialRecord],
    folder: Path = Path("run"),
    *,
    over: str | None = "all trials are done",
) -> Results:
    notes = {"pair_baselines": [{"content": UNTOUCHED}], "over": over}
    return Results(run=RunDir(folder), job=asked, records=records, notes=notes)


def order(found: Results) -> list[int]:
    return [one.record.trial for one in found.ranked()]
