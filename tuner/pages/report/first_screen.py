"""First screen: headline, settings, pictures with their sizes, and what can be downloaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.job.objective import Objective
from tuner.pages.report.pair_data import picture_size
from tuner.pages.report.plain_numbers import rounded
from tuner.results.preset_runs import preset_run
from tuner.results.results import Results
from tuner.results.settings_in_words import settings_in_words
from tuner.results.trial_result import TrialResult
from tuner.results.verdict import gain_over_content, headline, summary


def first_screen(
    results: Results, best: TrialResult | None, preset: TrialResult | None
) -> dict[str, Any]:
    """Return the data of the first screen.

    Args:
        results: the results of the run.
        best: the best trial.
        preset: the best run of a published preset, or of another stylizer's defaults.
    """
    top = headline(results)
    sentences = summary(results)
    return {
        "headline": {**top._asdict(), "share": rounded(top.share)},
        "second": gain_over_content(results) if top.share is not None else None,
        "notes": sentences[top.share is not None :],
        "summary": sentences,
        "settings": settings_in_words(best.config) if best else [],
        "preset": _preset(results, preset) if preset else None,
        "presetFile": _preset_file(results) if best else None,
        "sizes": picture_sizes(results, [r for r in (best, preset) if r]),
    }


def _preset(results: Results, preset: TrialResult) -> dict[str, Any]:
    """Return the run of the best preset, which may be a run in full and so no trial of its own."""
    score = results.score(preset)
    ran = preset_run(preset.record, score)
    return {
        "trial": preset.record.trial,
        "role": ran.role,
        "ran": ran.ran,
        "caption": ran.caption,
        "objective": rounded(score),
        "scores": {name: rounded(value) for name, value in preset.rung.scores.items()},
    }


def _preset_file(results: Results) -> dict[str, str]:
    """Return name and content of the preset file that the page offers."""
    stem = re.sub(r"[^\w.-]+", "-", results.job.name, flags=re.ASCII).strip("-.")[:60] or "preset"
    return {"stem": stem, "text": results.preset().to_json()}


def picture_sizes(results: Results, shown: list[TrialResult]) -> Mapping[str, tuple[int, int]]:
    """Return the key of each picture of the first screen -> its (width, height) in pixels."""
    files: dict[str, Path] = {}
    for pair in range(len(results.job.pairs)):
        inputs = results.input_files(pair)
        files |= {f"{role}-{pair}": path for role, path in inputs.items()}
        files |= {f"t{r.record.trial}p{pair}": results.picture(r, pair) for r in shown}
    return {key: size for key, path in files.items() if (size := picture_size(path))}


def objective_data(objective: Objective) -> dict[str, Any]:
    """Return name, direction and format of an objective."""
    return {
        "name": objective.name,
        "label": objective.label,
        "decimals": objective.decimals,
        "higherIsBetter": objective.higher_is_better,
    }
