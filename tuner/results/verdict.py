"""Verdict: what a run has achieved, in the same sentences for terminal, page and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from tuner.results.preset_runs import best_preset_run, preset_run
from tuner.results.rung_ranking import rung_warning

if TYPE_CHECKING:  # commands that only print JSON must not load Optuna
    from tuner.results.results import Results
    from tuner.results.trial_result import TrialResult

Tone = Literal["good", "warning", "bad"]


class Sentence(NamedTuple):
    """A sentence about a run and whether it is good news."""

    text: str
    tone: Tone


def verdict(results: Results) -> list[Sentence]:
    """Return what the run has achieved so far, and warnings; the most important sentence first.

    There is no verdict before the first trial has finished: presets report long before the search
    does.
    """
    ranked = results.ranked()
    if not ranked:
        return [Sentence("No trial has reported a score yet.", "warning")]
    if not results.done:
        return [Sentence("No trial has finished yet, so there is no result yet.", "warning")]
    best = ranked[0]
    sentences = _comparisons(results, best)
    if violated := results.violated(best):
        text = f"It violates {' and '.join(violated)}; no trial satisfies every constraint."
        sentences.append(Sentence(text, "bad"))
    if other := results.better_on_held_out():
        text = (
            f"On the held-out pairs trial {other.record.trial} does better:"
            f" {results.held_out(other):.4g} against {results.held_out(best):.4g}."
        )
        sentences.append(Sentence(text, "warning"))
    if poor_rungs := rung_warning(results):
        sentences.append(Sentence(poor_rungs, "warning"))
    return sentences


def verdict_text(results: Results) -> str:
    """Return the verdict as one text."""
    return " ".join(sentence.text for sentence in verdict(results))


def summary(results: Results) -> list[str]:
    """Return the verdict, the result of the finals and the amount of work, in sentences."""
    sentences = [sentence.text for sentence in verdict(results)]
    ranked = results.ranked()
    if ranked and results.done:
        sentences += _finals(results, ranked[0])
    return [*sentences, _work(results)] if ranked else sentences


def headline(results: Results) -> str:
    """Return the line below the large percentage on the page, or in place of it without a gain."""
    ranked = results.ranked()
    if not ranked:
        return "No trial has reported a score yet"
    so_far = "" if results.over else " so far"
    beats = results.beats_content(results.score(ranked[0]))
    if beats is None or not results.done:
        return f"Best trial{so_far}: {ranked[0].name}"
    comparison = "better" if beats else "worse"
    return f"{comparison} than the untouched content{so_far}, by {results.goals.first.name}"


def gain_over_presets(results: Results) -> str | None:
    """Return ``17% better than the best preset, NAME (cut to …)``.

    Return None if no preset has run, or none but the best trial itself.
    """
    ranked, run = results.ranked(), best_preset_run(results)
    if not ranked or run is None or run.trial == ranked[0].record.trial:
        return None
    comparison = results.comparison(results.score(ranked[0]), run.objective)
    return f"{comparison} than the best preset, {run}"


def _comparisons(results: Results, best: TrialResult) -> list[Sentence]:
    """Return how the best trial compares with the untouched content and with the presets."""
    first, score = results.goals.first, results.score(best)
    beats_content = results.beats_content(score)
    untouched = None if beats_content is None else first.of(results.baselines["content"])
    if beats_content is False:
        text = f"{first.name} {score:.4g} does NOT beat the untouched content ({untouched:.4g})."
        if not results.over:
            return [Sentence(f"So far the best trial with {text}", "bad")]
        advice = "Try a wider search space, more steps or another objective."
        return [Sentence(f"The best trial with {text} {advice}", "bad")]
    prefix = "Best" if results.over else "Best so far"
    text = (
        f"{prefix}: trial {best.record.trial}, {first.name} {score:.4g} after {best.steps} steps."
    )
    comparisons = []
    if untouched is not None:
        comparison = results.comparison(score, untouched)
        comparisons.append(f"{comparison} than the untouched content ({untouched:.4g})")
    if over_presets := gain_over_presets(results):
        comparisons.append(over_presets)
    if comparisons:
        text += f" It is {' and '.join(comparisons)}."
    sentences = [Sentence(text, "good")]
    if best.record.preset:
        text = f"It is the preset {preset_run(best.record, score)}: {_nothing_better(results)}."
        sentences.append(Sentence(text, "warning"))
    return sentences


def _nothing_better(results: Results) -> str:
    """Return what to say of the search when a preset is the best trial."""
    if results.over:
        return "the search found nothing better; try more trials or a wider search space"
    searched = any(r.searched and r.state != "running" for r in results.records)
    return f"the search has {'found nothing better so far' if searched else 'only begun'}"


def _finals(results: Results, best: TrialResult) -> list[str]:
    """Return what the finals of the best trial say: other seeds and held-out pairs."""
    sentences = []
    if best.spread is not None:
        sentences.append(
            f"The finals of trial {best.record.trial} with {len(best.finals)} seeds have a mean"
            f" score of {results.score(best):.4g} and a standard deviation of {best.spread:.2g}."
        )
    if best.failed:
        finals = best.failed + len(best.finals)
        sentences.append(f"{best.failed} of {finals} finals of trial {best.record.trial} failed.")
    held_out = results.held_out(best)
    if held_out is not None:
        first, untouched = results.goals.first, results.held_out_baselines.get("content", {})
        comparison = ""
        if first.known(untouched):
            beats = first.loss(held_out) < first.loss(first.of(untouched))
            comparison = f", {'better' if beats else 'NOT better'} than the untouched content"
            comparison += f" of these pairs ({first.of(untouched):.4g})"
        sentences.append(
            f"On the held-out pairs, which the search never saw, trial {best.record.trial} scores"
            f" {held_out:.4g}{comparison}."
        )
    return sentences


def _work(results: Results) -> str:
    """Return how many configurations were tried and how they ended."""
    counts = results.counts()
    steps = sum(max(record.rungs, default=0) for record in results.records)
    parts = [
        f"{counts['pruned']} stopped early" if counts["pruned"] else "",
        f"{counts['failed']} failed" if counts["failed"] else "",
        f"{counts['running']} not finished" if counts["running"] else "",
    ]
    listed = ", ".join(part for part in parts if part)
    tried = "1 configuration was" if results.done == 1 else f"{results.done} configurations were"
    text = f"{tried} tried, {steps:,} steps in total"
    return f"{text}: {listed}." if listed else f"{text}."
