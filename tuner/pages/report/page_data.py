"""Page data: everything that the report shows besides pictures and figures, as plain JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tuner.export.commands import stylize_inputs
from tuner.job.objective import MEASURES
from tuner.pages.report.first_screen import first_screen, objective_data
from tuner.pages.report.pair_data import first_objective, pairs_data
from tuner.pages.report.plain_numbers import plain, rounded
from tuner.results.preset_runs import best_preset_result, full_runs, preset_run
from tuner.results.results import Results
from tuner.results.rung_ranking import rung_correlations
from tuner.results.trial_result import TrialResult
from tuner.study.commands import is_paused, is_steered
from tuner.study.records import Scores, TrialRecord


def report_data(results: Results) -> dict[str, Any]:
    """Return the page data of a run."""
    ranked = results.ranked()
    front = results.front() if results.goals.pareto else []
    on_front = {result.record.trial for result in front}
    ranks = {result.record.trial: (rank, result) for rank, result in enumerate(ranked, start=1)}
    searched = [record for record in results.records if record.final_of is None]
    preset = best_preset_result(results)
    best = ranked[0] if ranked else None
    return {
        "run": results.job.name,
        "state": run_state(results),
        "over": results.notes.get("over"),
        "target": results.job.search.trials,
        "control": {
            "running": run_state(results) == "running" and is_steered(results.run.path),
            "paused": is_paused(results.commands),
            "commands": [results.command_text(record) for record in results.commands],
        },
        "counts": results.counts(),
        "objectives": [objective_data(objective) for objective in results.goals.objectives],
        "constraints": [constraint.name for constraint in results.goals.constraints],
        "measures": _measures(results, ranked),
        **first_screen(results, best, preset),
        "best": best.record.trial if best else None,
        "trials": [
            _trial(record) | _result(results, *ranks[record.trial], on_front)
            if record.trial in ranks
            else _trial(record)
            for record in searched
        ],
        "front": [_on_front(results, result) for result in front],
        "rungCorrelations": [
            {**asdict(rung), "correlation": rounded(rung.correlation), "poor": rung.poor}
            for rung in rung_correlations(results)
        ],
        "params": sorted({name for record in searched for name in record.params}),
        "pairs": pairs_data(results, best, preset),
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
            {"steps": steps, "objective": rounded(rung.objective)}
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
            "label": measure.label,
            "decimals": measure.decimals,
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
        "params": {name: plain(value) for name, value in record.params.items()},
        "rungs": [[steps, rounded(rung.objective)] for steps, rung in record.rungs.items()],
        "note": record.note,
        "reason": record.reason,
        "seconds": rounded(record.seconds),
    }


def _result(results: Results, rank: int, result: TrialResult, on_front: set[int]) -> dict[str, Any]:
    """Return what is known only of trials that have reported."""
    goals, scores = results.goals, result.rung.scores
    return {
        "rank": rank,
        "steps": result.steps,
        "objective": rounded(results.score(result)),
        "values": [rounded(objective.of(scores)) for objective in goals.objectives],
        "violated": results.violated(result),
        "gain": rounded(results.gain(results.score(result))),
        "scores": _scores(scores),
        "finals": [rounded(score) for score in result.final_scores],
        "failedFinals": result.failed,
        "front": result.record.trial in on_front,
    }


def _on_front(results: Results, result: TrialResult) -> dict[str, Any]:
    """Return a result on the Pareto front; ``key`` lacks the number of the pair."""
    scores = result.rung.scores
    return {
        "trial": result.record.trial,
        "steps": result.steps,
        "values": [rounded(objective.of(scores)) for objective in results.goals.objectives],
        "key": picture_key(results, result),
    }


def picture_key(results: Results, result: TrialResult) -> str:
    """Return the key of a result's pictures without the number of the pair.

    ``t7p`` is the best result of trial 7, ``t7s30p`` its result after 30 steps.
    """
    trial = result.record.trial
    is_best = result.steps == results.trial_result(trial).steps
    return f"t{trial}p" if is_best else f"t{trial}s{result.steps}p"


def _baselines(results: Results) -> list[dict[str, Any]]:
    """Return the baselines and the presets that ran in full, with their scores."""
    return [
        {
            "name": name.replace("_", " "),
            "objective": first_objective(results, scores),
            "scores": _scores(scores),
        }
        for name, scores in results.baselines.items()
    ] + [
        {
            "name": f"preset {preset_run(record, best[1].objective)}",
            "objective": rounded(best[1].objective),
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
        "config": {name: plain(value) for name, value in config.items()},
        "job": results.run.job_file.read_text(encoding="utf-8"),
    }


def _scores(scores: Scores) -> dict[str, float | None]:
    return {name: rounded(value) for name, value in scores.items()}
