"""Page data: everything that the report shows besides pictures and figures, as plain JSON."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from nst_core.errors import ImageError
from nst_core.images.decode import open_picture, upright_size
from tuner.export.commands import stylize_inputs
from tuner.job.objective import MEASURES
from tuner.job.spec import PairSpec
from tuner.results.preset_runs import full_runs, preset_run
from tuner.results.results import Results
from tuner.results.rung_ranking import rung_correlations
from tuner.results.trial_result import TrialResult
from tuner.results.verdict import headline, summary
from tuner.study.commands import is_paused, is_steered
from tuner.study.records import Scores, TrialRecord


def report_data(results: Results) -> dict[str, Any]:
    """Return the page data of a run."""
    ranked = results.ranked()
    front = results.front() if results.goals.pareto else []
    on_front = {result.record.trial for result in front}
    ranks = {result.record.trial: (rank, result) for rank, result in enumerate(ranked, start=1)}
    searched = [record for record in results.records if record.final_of is None]
    preset = results.best_preset()
    best = ranked[0] if ranked else None
    return {
        "run": results.job.name,
        "state": run_state(results),
        "over": results.notes.get("over"),
        "target": results.job.search.trials,
        "control": {
            "running": run_state(results) == "running" and is_steered(results.run.path),
            "paused": is_paused(results.commands),
            "commands": [str(record) for record in results.commands],
        },
        "counts": results.counts(),
        "objectives": [
            {"name": objective.name, "higherIsBetter": objective.higher_is_better}
            for objective in results.goals.objectives
        ],
        "constraints": [constraint.name for constraint in results.goals.constraints],
        "measures": _measures(results, ranked),
        "headline": headline(results),
        "summary": summary(results),
        "gain": _number(results.gain(results.score(best))) if best and results.done else None,
        "best": best.record.trial if best else None,
        "preset": preset.record.trial if preset else None,
        "presetRan": preset_run(preset.record, results.score(preset)).ran if preset else None,
        "trials": [
            _trial(record) | _result(results, *ranks[record.trial], on_front)
            if record.trial in ranks
            else _trial(record)
            for record in searched
        ],
        "front": [_on_front(results, result) for result in front],
        "rungCorrelations": [
            {**asdict(rung), "correlation": _number(rung.correlation), "poor": rung.poor}
            for rung in rung_correlations(results)
        ],
        "params": sorted({name for record in searched for name in record.params}),
        "pairs": _pairs(results, best, preset),
        "baselines": _baselines(results),
        "frames": frames_of_best(results),
        "reproduce": _reproduce(results, best),
    }


def run_state(results: Results) -> str:
    """Return ``finished``, ``running`` or ``stopped``."""
    if results.over:
        return "finished"
    return "running" if results.run.is_held else "stopped"


def frames_of_best(results: Results) -> dict[str, Any] | None:
    """Return the pictures that the best finalist passed through, step by step.

    Return None if no finalist has kept such pictures.
    """
    for result in results.ranked():
        if not (finals := results.finals.get(result.record.trial)):
            continue
        final = max(finals, key=lambda record: len(record.rungs))  # only one final keeps frames
        frames = [
            {"steps": steps, "objective": _number(rung.objective)}
            for steps, rung in final.rungs.items()
            if (results.run.path / results.run.frame(final.trial, steps, 0)).is_file()
        ]
        if frames:
            return {"trial": result.record.trial, "final": final.trial, "frames": frames}
    return None


def _measures(results: Results, ranked: Sequence[TrialResult]) -> list[dict[str, Any]]:
    """Return the metrics and costs that any trial or baseline has."""
    scored = {name for result in ranked for name in result.rung.scores}
    scored |= {name for scores in results.baselines.values() for name in scores}
    return [
        {
            "name": name,
            "higherIsBetter": measure.higher_is_better,
            "unit": measure.unit,
            "meaning": measure.meaning,
        }
        for name, measure in MEASURES.items()
        if name in scored
    ]


def _trial(record: TrialRecord) -> dict[str, Any]:
    """Return what is known of every trial, also of those that have not reported."""
    return {
        "trial": record.trial,
        "state": record.state,
        "rank": None,
        "preset": record.preset,
        "params": {name: _plain(value) for name, value in record.params.items()},
        "rungs": [[steps, _number(rung.objective)] for steps, rung in record.rungs.items()],
        "note": record.note,
        "reason": record.reason,
        "seconds": _number(record.seconds),
    }


def _result(results: Results, rank: int, result: TrialResult, on_front: set[int]) -> dict[str, Any]:
    """Return what is known only of trials that have reported."""
    goals, scores = results.goals, result.rung.scores
    return {
        "rank": rank,
        "steps": result.steps,
        "objective": _number(results.score(result)),
        "values": [_number(objective.of(scores)) for objective in goals.objectives],
        "violated": results.violated(result),
        "gain": _number(results.gain(results.score(result))),
        "scores": _scores(scores),
        "finals": [_number(score) for score in result.final_scores],
        "failedFinals": result.failed,
        "front": result.record.trial in on_front,
    }


def _on_front(results: Results, result: TrialResult) -> dict[str, Any]:
    """Return a result on the Pareto front; ``key`` lacks the number of the pair."""
    scores = result.rung.scores
    return {
        "trial": result.record.trial,
        "steps": result.steps,
        "values": [_number(objective.of(scores)) for objective in results.goals.objectives],
        "key": picture_key(results, result),
    }


def picture_key(results: Results, result: TrialResult) -> str:
    """Return the key of a result's pictures without the number of the pair.

    ``t7p`` is the best result of trial 7, ``t7s30p`` its result after 30 steps.
    """
    trial = result.record.trial
    is_best = result.steps == results.trial_result(trial).steps
    return f"t{trial}p" if is_best else f"t{trial}s{result.steps}p"


def _pairs(
    results: Results, best: TrialResult | None, preset: TrialResult | None
) -> list[dict[str, Any]]:
    """Return all pairs, held-out ones last, with the scores on each of them.

    Scores are those of the best trial, the best preset and the untouched content; None if unknown.
    """
    pairs = []
    for index, spec in enumerate([*results.job.pairs, *results.job.holdout]):
        baselines: Mapping[str, Scores] = {}
        if index < len(results.pair_baselines):
            baselines = results.pair_baselines[index]
        best_score = _on_pair(results, best, index)
        untouched = _first_objective(results, baselines.get("content", {}))
        gain = None
        if best_score is not None and untouched is not None:
            gain = _number(results.change(best_score, untouched))
        pairs.append(
            {
                "name": _pair_name(results, index),
                "heldOut": index >= len(results.job.pairs),
                "ratio": _ratio(results, spec),
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
    return _number(mean(values)) if values else None


def _first_objective(results: Results, scores: Scores) -> float | None:
    """Return the first objective; None if the scores lack a measure that it needs."""
    first = results.goals.first
    return _number(first.of(scores)) if first.known(scores) else None


def _pair_name(results: Results, index: int) -> str:
    pairs = len(results.job.pairs)
    return f"pair {index}" if index < pairs else f"held-out {index - pairs}"


def _baselines(results: Results) -> list[dict[str, Any]]:
    """Return the baselines and the presets that ran in full, with their scores."""
    return [
        {
            "name": name.replace("_", " "),
            "objective": _first_objective(results, scores),
            "scores": _scores(scores),
        }
        for name, scores in results.baselines.items()
    ] + [
        {
            "name": f"preset {preset_run(record, best[1].objective)}",
            "objective": _number(best[1].objective),
            "scores": _scores(best[1].scores),
        }
        for record, best in full_runs(results)
    ]


def _reproduce(results: Results, best: TrialResult | None) -> dict[str, Any]:
    """Return commands, environment, configuration and job: what reproduces the best result."""
    folder = shlex.quote(str(results.run.path))
    job = shlex.quote(str(results.run.job_file))
    trial = f" --trial {best.record.trial}" if best else ""
    config = best.config if best else {}
    inputs = stylize_inputs(results.run.path, results.job.pairs[0], config, results.job.weights)
    return {
        "space": str(results.space),
        "seed": results.job.search.seed,
        "environment": results.notes.get("environment", {}),
        "hardware": results.hardware,
        "workers": sorted(
            {rung.worker.partition(":")[0] for r in results.records for rung in r.rungs.values()}
        ),
        "commands": [
            ["Run the job again", f"nst-tuner launch {job} --run-dir {folder}-again"],
            ["Save the preset", f"nst-tuner export {folder}{trial} --out preset.json"],
            [
                "Apply the preset",
                f"nst-tuner stylize {inputs} --preset preset.json --out result.png",
            ],
        ],
        "config": {name: _plain(value) for name, value in config.items()},
        "job": results.run.job_file.read_text(encoding="utf-8"),
    }


def _ratio(results: Results, pair: PairSpec) -> float:
    """Return width over height of a pair's results, which is that of the upright content image."""
    try:
        with open_picture(results.run.path / pair.content) as picture:
            width, height = upright_size(picture)
    except ImageError:
        return 4 / 3
    return round(width / height, 4)


def _styles(pair: PairSpec, best: TrialResult | None) -> list[dict[str, Any]]:
    """Return the share of each style image in the blend of the best trial.

    The share is None if the style images have regions.
    """
    weights = (best.config.get("style_blend") if best else None) or [s.weight for s in pair.style]
    has_regions = any(style.region for style in pair.style)
    return [
        {
            "share": None if has_regions else _number(weight / sum(weights)),
            "region": style.region is not None,
        }
        for style, weight in zip(pair.style, weights, strict=False)
    ]


def _scores(scores: Scores) -> dict[str, float | None]:
    return {name: _number(value) for name, value in scores.items()}


def _number(value: float | None) -> float | None:
    """Return a number rounded to six digits; None instead of NaN and infinity, which JSON lacks."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _plain(value: Any) -> Any:
    return _number(value) if isinstance(value, float) else value
