"""What the page shows of a run, as plain JSON. No torch and no Ray here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from nst_core.errors import ImageError
from nst_core.images.decode import open_picture, upright_size
from tuner.export.commands import stylize_inputs
from tuner.job.objective import MEASURES, Objective
from tuner.job.spec import PairSpec
from tuner.results.preset_runs import full_runs, preset_run
from tuner.results.results import Results
from tuner.results.summary import summary
from tuner.results.trial_result import TrialResult
from tuner.study.records import Scores, TrialRecord


def report_facts(results: Results) -> dict[str, Any]:
    """Everything but the pictures and the figures."""
    ranked = results.ranked()
    front = results.front() if results.goals.pareto else []
    on_front = {found.record.trial for found in front}
    ranks = {found.record.trial: (rank, found) for rank, found in enumerate(ranked, start=1)}
    searched = [record for record in results.records if record.final_of is None]
    preset = results.best_preset()
    best = ranked[0] if ranked else None
    return {
        "run": results.job.name,
        "state": run_state(results),
        "over": results.notes.get("over"),
        "target": results.job.search.trials,
        "counts": results.counts(),
        "objectives": [_objective(objective) for objective in results.goals.objectives],
        "bounds": [bound.name for bound in results.goals.constraints],
        "measures": _measures(results, ranked),
        "summary": summary(results),
        "gain": _number(results.gain(results.score(best))) if best and results.done else None,
        "best": best.record.trial if best else None,
        "preset": preset.record.trial if preset else None,
        "presetRan": preset_run(preset.record, results.score(preset)).ran if preset else None,
        "trials": [
            _trial(record) | _reached(results, *ranks[record.trial], on_front)
            if record.trial in ranks
            else _trial(record)
            for record in searched
        ],
        "front": [_on_front(results, found) for found in front],
        "params": sorted({name for record in searched for name in record.params}),
        "pairs": _pairs(results, best, preset),
        "baselines": _baselines(results),
        "strip": strip(results),
        "reproduce": _reproduce(results, best),
    }


def run_state(results: Results) -> str:
    """``finished``, ``running`` or ``stopped``."""
    if results.over:
        return "finished"
    return "running" if results.run.is_held else "stopped"


def strip(results: Results) -> dict[str, Any] | None:
    """How the best finalist's image came to be: its frames, those there are of them."""
    for found in results.ranked():
        if not (runs := results.finals.get(found.record.trial)):
            continue
        first = max(runs, key=lambda record: len(record.rungs))  # frames are of one run alone
        frames = [
            {"steps": steps, "objective": _number(rung.objective)}
            for steps, rung in first.rungs.items()
            if (results.run.path / results.run.frame(first.trial, steps, 0)).is_file()
        ]
        if frames:
            return {"trial": found.record.trial, "final": first.trial, "frames": frames}
    return None


def _objective(objective: Objective) -> dict[str, Any]:
    return {"name": objective.name, "higherIsBetter": objective.higher_is_better}


def _measures(results: Results, ranked: Sequence[TrialResult]) -> list[dict[str, Any]]:
    known = {name for found in ranked for name in found.rung.scores}
    known |= {name for scores in results.baselines.values() for name in scores}
    return [
        {
            "name": name,
            "higherIsBetter": measure.higher_is_better,
            "unit": measure.unit,
            "meaning": measure.meaning,
        }
        for name, measure in MEASURES.items()
        if name in known
    ]


def _trial(record: TrialRecord) -> dict[str, Any]:
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


def _reached(results: Results, rank: int, found: TrialResult, on_front: set[int]) -> dict[str, Any]:
    """What is to be said of a trial that has reported."""
    goals, scores = results.goals, found.rung.scores
    return {
        "rank": rank,
        "steps": found.steps,
        "objective": _number(results.score(found)),
        "values": [_number(objective.of(scores)) for objective in goals.objectives],
        "broken": results.violated(found),
        "gain": _number(results.gain(results.score(found))),
        "scores": _scores(scores),
        "finals": [_number(score) for score in found.final_scores],
        "failedFinals": found.failed,
        "front": found.record.trial in on_front,
    }


def _on_front(results: Results, found: TrialResult) -> dict[str, Any]:
    """A result of the trade-off; ``key`` is that of its pictures, but for the pair's number."""
    trial = found.record.trial
    return {
        "trial": trial,
        "steps": found.steps,
        "values": [
            _number(objective.of(found.rung.scores)) for objective in results.goals.objectives
        ],
        "key": picture_key(results, found),
    }


def picture_key(results: Results, found: TrialResult) -> str:
    """Of a result, without the number of the pair: ``t7p``, or ``t7s30p`` before its best."""
    trial = found.record.trial
    at_best = found.steps == results.found(trial).steps
    return f"t{trial}p" if at_best else f"t{trial}s{found.steps}p"


def _pairs(
    results: Results, best: TrialResult | None, preset: TrialResult | None
) -> list[dict[str, Any]]:
    """The pairs, and what the best, the best preset and the untouched content score on each.

    Of a finalist the held-out pairs are among them.
    """
    pairs = []
    for index, spec in enumerate([*results.job.pairs, *results.job.holdout]):
        baselines: Mapping[str, Scores] = {}
        if index < len(results.pair_baselines):
            baselines = results.pair_baselines[index]
        pairs.append(
            {
                "name": _pair_name(results, index),
                "heldOut": index >= len(results.job.pairs),
                "ratio": _ratio(results, spec),
                "styles": _styles(spec, best),
                "best": _on_pair(results, best, index),
                "preset": _on_pair(results, preset, index),
                "untouched": _value(results, baselines.get("content", {})),
            }
        )
    return pairs


def _on_pair(results: Results, found: TrialResult | None, index: int) -> float | None:
    """What a trial scores on a pair: the mean of its finals, or its best report."""
    rungs = (list(found.finals.values()) or [found.rung]) if found else []
    on_pair = [rung.on_pair(index) for rung in rungs if index < len(rung.pair_scores)]
    values = [results.goals.first.of(s) for s in on_pair]
    return _number(mean(values)) if values else None


def _value(results: Results, scores: Scores) -> float | None:
    """The first objective, where the scores have all that it needs."""
    first = results.goals.first
    return _number(first.of(scores)) if first.known(scores) else None


def _pair_name(results: Results, index: int) -> str:
    pairs = len(results.job.pairs)
    return f"pair {index}" if index < pairs else f"held-out {index - pairs}"


def _baselines(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "name": name.replace("_", " "),
            "objective": _value(results, scores),
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
    folder = shlex.quote(str(results.run.path))
    job = shlex.quote(str(results.run.job_file))
    trial = f" --trial {best.record.trial}" if best else ""
    config = best.config if best else {}
    inputs = stylize_inputs(results.run.path, results.job.pairs[0], config, results.job.weights)
    return {
        "seed": results.job.search.seed,
        "environment": results.notes.get("environment", {}),
        "hardware": results.hardware,
        "workers": sorted(
            {rung.worker.partition(":")[0] for r in results.records for rung in r.rungs.values()}
        ),
        "commands": [
            ["Run it again", f"nst-tuner launch {job} --run-dir {folder}-again"],
            ["Take the preset", f"nst-tuner export {folder}{trial} --out preset.json"],
            ["Apply it", f"nst-tuner stylize {inputs} --preset preset.json --out result.png"],
        ],
        "config": {k: _plain(v) for k, v in config.items()},
        "job": results.run.job_file.read_text(encoding="utf-8"),
    }


def _ratio(results: Results, pair: PairSpec) -> float:
    """Width over height of a pair's results, which is that of its photo held upright."""
    try:
        with open_picture(results.run.path / pair.content) as picture:
            width, height = upright_size(picture)
    except ImageError:
        return 4 / 3
    return round(width / height, 4)


def _styles(pair: PairSpec, best: TrialResult | None) -> list[dict[str, Any]]:
    """Of each style image its share in the best result's blend; None where regions divide it."""
    weights = (best.config.get("style_blend") if best else None) or [s.weight for s in pair.style]
    divided = any(style.region for style in pair.style)
    return [
        {
            "share": None if divided else _number(weight / sum(weights)),
            "region": style.region is not None,
        }
        for style, weight in zip(pair.style, weights, strict=False)
    ]


def _scores(scores: Scores) -> dict[str, float | None]:
    return {name: _number(value) for name, value in scores.items()}


def _number(value: float | None) -> float | None:
    """To six digits, which is more than any score means; None where JSON has no number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _plain(value: Any) -> Any:
    return _number(value) if isinstance(value, float) else value
