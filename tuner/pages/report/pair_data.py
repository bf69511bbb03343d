"""Pair data: the pairs of a run for its report, with scores, shapes and styles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from nst_core.errors import ImageError
from nst_core.images.decode import open_picture, upright_size
from nst_core.images.sizes import scaled_size
from tuner.job.spec import PairSpec
from tuner.pages.report.plain_numbers import rounded
from tuner.results.results import Results
from tuner.results.trial_result import TrialResult
from tuner.study.records import Scores


def pairs_data(
    results: Results, best: TrialResult | None, preset: TrialResult | None
) -> list[dict[str, Any]]:
    """Return all pairs, held-out ones last, with the scores on each of them.

    Scores are those of the best trial, the best preset and the untouched content; None if unknown.
    """
    pairs = []
    for index, spec in enumerate([*results.job.pairs, *results.job.holdout]):
        baselines: Mapping[str, Scores] = {}
        width, height = picture_size(results.run.path / spec.content) or (4, 3)
        if index < len(results.pair_baselines):
            baselines = results.pair_baselines[index]
        best_score = _on_pair(results, best, index)
        untouched = first_objective(results, baselines.get("content", {}))
        gain = None
        if best_score is not None and untouched is not None:
            gain = rounded(results.change(best_score, untouched))
        pairs.append(
            {
                "name": _pair_name(results, index),
                "heldOut": index >= len(results.job.pairs),
                "ratio": round(width / height, 4),
                "size": scaled_size(width, height, results.job.size_px)[::-1],
                "styles": _styles(spec, best),
                "best": best_score,
                "preset": _on_pair(results, preset, index),
                "untouched": untouched,
                "gain": gain,
            }
        )
    return pairs


def _on_pair(results: Results, result: TrialResult | None, index: int) -> float | None:
    """Return the first objective on a pair: the mean of the finals, else the best report."""
    rungs = (list(result.finals.values()) or [result.rung]) if result else []
    pair_scores = [rung.on_pair(index) for rung in rungs if index < len(rung.pair_scores)]
    values = [results.goals.first.of(scores) for scores in pair_scores]
    return rounded(mean(values)) if values else None


def first_objective(results: Results, scores: Scores) -> float | None:
    """Return the first objective; None if the scores lack a measure that it needs."""
    first = results.goals.first
    return rounded(first.of(scores)) if first.known(scores) else None


def _pair_name(results: Results, index: int) -> str:
    pairs = len(results.job.pairs)
    return f"pair {index}" if index < pairs else f"held-out {index - pairs}"


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) of an upright picture in pixels; None if it cannot be read."""
    try:
        with open_picture(path) as picture:
            return upright_size(picture)
    except ImageError:
        return None


def _styles(pair: PairSpec, best: TrialResult | None) -> list[dict[str, Any]]:
    """Return the share of each style image in the blend of the best trial.

    The share is None if the style images have regions.
    """
    weights = (best.config.get("style_blend") if best else None) or [s.weight for s in pair.style]
    has_regions = any(style.region for style in pair.style)
    return [
        {
            "share": None if has_regions else rounded(weight / sum(weights)),
            "region": style.region is not None,
        }
        for style, weight in zip(pair.style, weights, strict=False)
    ]
