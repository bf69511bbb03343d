"""The result of a run in plain sentences."""

from __future__ import annotations

from tuner.results.preset_runs import (
    best_preset_run,
    gain_over_presets,
    preset_run,
)
from tuner.results.results import Results
from tuner.results.trial_result import TrialResult


def summary(results: Results) -> list[str]:
    """What came of a run, the most important first; every sentence stands by itself."""
    ranked = results.ranked()
    if not ranked:
        return ["No trial has reported yet."]
    if not results.done:
        return ["No trial has finished yet, so nothing is known of the result.", _work(results)]
    best = ranked[0]
    return [
        _gained(results, best),
        *_bounds(results, best),
        *_again(results, best),
        _work(results),
    ]


def _gained(results: Results, best: TrialResult) -> str:
    first = results.goals.first
    score = results.score(best)
    is_best = "is the best" if results.over else "is the best so far"
    text = f"Trial {best.record.trial} {is_best}: {first.name} {score:.4g}, {best.steps} steps"
    beats = results.beats_content(score)
    if beats is None:
        return text + "."
    untouched = first.of(results.baselines["content"])
    if not beats and not results.over:
        return (
            f"Nothing is gained so far: the untouched photo scores {untouched:.4g}, the best trial"
            f" only {score:.4g} ({first.name})."
        )
    if not beats:
        return (
            f"Nothing was gained: the untouched photo scores {untouched:.4g}, the best trial only"
            f" {score:.4g} ({first.name}). Try a wider space, more steps or another objective."
        )
    than = results.against(score, untouched)
    text += f". That is {than} than leaving the photo as it is ({untouched:.4g})"
    gain, run = gain_over_presets(results), best_preset_run(results)
    if best.record.preset:
        text += f". It is the preset {preset_run(best.record, score)}: {nothing_better(results)}"
    if gain is None or run is None:
        return text + "."
    return f"{text} and {gain}: {run.objective:.4g}."


def _bounds(results: Results, best: TrialResult) -> list[str]:
    """What it breaks, which says that no trial keeps every bound."""
    broken = results.violated(best)
    if not broken:
        return []
    return [f"The best breaks {' and '.join(broken)}; no trial keeps every bound."]


def _again(results: Results, best: TrialResult) -> list[str]:
    """What its runs with other seeds and on other pairs say."""
    sentences = []
    if best.spread is not None:
        sentences.append(
            f"Run again with {len(best.finals)} seeds it scores {results.score(best):.4g}"
            f" ± {best.spread:.2g}."
        )
    if best.failed:
        runs = best.failed + len(best.finals)
        sentences.append(f"When it was run again, {best.failed} of {runs} seeds failed.")
    held_out = results.held_out(best)
    untouched = results.held_out_baselines.get("content", {})
    if held_out is not None:
        first = results.goals.first
        against = ""
        if first.known(untouched):
            beats = first.better(held_out, first.of(untouched))
            against = f", {'better' if beats else 'NOT better'} than their untouched photos"
            against += f" ({first.of(untouched):.4g})"
        sentences.append(f"On pairs that the search never saw it scores {held_out:.4g}{against}.")
    if other := results.better_held_out():
        sentences.append(on_held_out(results, other))
    return sentences


def _work(results: Results) -> str:
    counts, done = results.counts(), results.done
    steps = sum(max(record.rungs, default=0) for record in results.records)
    text = f"{done} configurations tried in {steps:,} steps"
    parts = [
        f"{counts['pruned']} stopped early" if counts["pruned"] else "",
        f"{counts['failed']} failed" if counts["failed"] else "",
        f"{counts['running']} not over" if counts["running"] else "",
    ]
    listed = ", ".join(part for part in parts if part)
    return f"{text}: {listed}." if listed else f"{text}."


def on_held_out(results: Results, other: TrialResult) -> str:
    """That another finalist does better on pairs that the search never saw."""
    best, better = results.held_out(results.ranked()[0]), results.held_out(other)
    return (
        f"On the held-out pairs trial {other.record.trial} does better: {better:.4f} against"
        f" {best:.4f}."
    )


def nothing_better(results: Results) -> str:
    """What to say of the search where a preset is the best."""
    if results.over:
        return "the search found nothing better"
    searched = any(r.searched and r.state != "running" for r in results.records)
    return f"the search has {'found nothing better so far' if searched else 'only begun'}"
