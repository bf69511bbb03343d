"""Verdict: what a run has achieved, in the same sentences for terminal, page and JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from tuner.results.preset_runs import best_preset_run, preset_run
from tuner.results.rung_ranking import rung_warning

if TYPE_CHECKING:  # commands that only print JSON must not load Optuna
    from tuner.results.results import Results
    from tuner.results.trial_result import TrialResult

#: Note of a study: why best results were not rendered larger, as a sentence.
NOT_PRESENTED = "not_presented"

Tone = Literal["good", "warning", "bad"]


class Sentence(NamedTuple):
    """A sentence about a run and whether it is good news."""

    text: str
    tone: Tone


class Headline(NamedTuple):
    """The first sentence of a page.

    Attributes:
        share: by how much the best trial is better or worse, 0.3 for 30 %; None if percentages of
            the objective mean nothing, or if there is nothing to compare.
        text: the rest of the sentence, or all of it.
        tone: whether it is good news.
    """

    share: float | None
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
            f" {_score(results, results.held_out(other))} against"
            f" {_score(results, results.held_out(best))}."
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
    if reason := results.notes.get(NOT_PRESENTED):
        sentences.append(f"{reason[:1].upper()}{reason[1:].rstrip('.')}.")
    return [*sentences, _work(results)] if ranked else sentences


def headline(results: Results) -> Headline:
    """Return the most important sentence about a run, for the top of its page.

    It compares the best trial with the best published preset, or with the defaults of another
    stylizer. Where no preset ran, or where one is
    the best trial, it compares with the untouched photo.
    """
    ranked = results.ranked()
    if not ranked:
        return Headline(None, "No trial has reported a score yet", "warning")
    so_far = "" if results.over else " so far"
    best, first = ranked[0], results.goals.first
    score, preset = results.score(best), best_preset_run(results)
    beats_content = results.beats_content(score)
    if not results.done or (beats_content is None and preset is None):
        return Headline(None, f"Best trial{so_far}: {best.name}", "warning")
    if preset and preset.trial != best.record.trial and beats_content is not False:
        base, against = preset.objective, f"the {preset.title}"
    elif beats_content is not None:
        base, against = first.of(results.baselines["content"]), "the untouched photo"
    else:
        return Headline(None, f"Best trial{so_far}: {best.name}", "warning")
    change = results.change(score, base)
    words = ("nearer to the reference", "farther from the reference")
    if not first.is_distance:
        words = ("better", "worse")
    is_worse = first.better(base, score)
    text = f"{words[is_worse]} than {against}{so_far}, by {first.label}"
    share = None if math.isnan(change) else abs(change)
    return Headline(share, text, "bad" if is_worse else "good")


def gain_over_content(results: Results) -> str | None:
    """Return the second sentence of a page: how the best trial compares with the untouched photo.

    Return None if the photo has no score, or if the headline compares with it already.
    """
    ranked, preset, first = results.ranked(), best_preset_run(results), results.goals.first
    if not ranked or preset is None or preset.trial == ranked[0].record.trial:
        return None
    score = results.score(ranked[0])
    if not results.beats_content(score):
        return None
    untouched = first.of(results.baselines["content"])
    comparison = results.comparison(score, untouched)
    if first.is_distance:
        comparison = comparison.replace("better", "nearer to the reference")
    return (
        f"It is {comparison} than the untouched photo:"
        f" {first.label} {first.text(score)} against {first.text(untouched)}."
    )


def gain_over_presets(results: Results) -> str | None:
    """Return ``17% better than the best published preset, NAME (cut to …)``.

    Return None if no preset has run, or none but the best trial itself.
    """
    ranked, run = results.ranked(), best_preset_run(results)
    if not ranked or run is None or run.trial == ranked[0].record.trial:
        return None
    comparison = results.comparison(results.score(ranked[0]), run.objective)
    return f"{comparison} than the {run.title}"


def _comparisons(results: Results, best: TrialResult) -> list[Sentence]:
    """Return how the best trial compares with the untouched content and with the presets."""
    first, score = results.goals.first, results.score(best)
    beats_content = results.beats_content(score)
    untouched = None if beats_content is None else first.of(results.baselines["content"])
    if beats_content is False and untouched is not None:
        text = (
            f"{first.labeled(score)} does NOT beat the untouched photo ({first.text(untouched)})."
        )
        if not results.over:
            return [Sentence(f"So far the best trial with {text}", "bad")]
        advice = "Try a wider search space, more steps or another objective."
        return [Sentence(f"The best trial with {text} {advice}", "bad")]
    prefix = "Best" if results.over else "Best so far"
    text = f"{prefix}: trial {best.record.trial}, {first.labeled(score)} after {best.steps} steps."
    comparisons = []
    if over_presets := gain_over_presets(results):
        comparisons.append(over_presets)
    if untouched is not None:
        comparison = results.comparison(score, untouched)
        comparisons.append(f"{comparison} than the untouched photo ({first.text(untouched)})")
    if comparisons:
        text += f" It is {' and '.join(comparisons)}."
    sentences = [Sentence(text, "good")]
    if best.record.is_baseline:
        run = preset_run(best.record, score)
        what = f"preset {run}" if run.preset else run.role
        text = f"It is the {what}: {_nothing_better(results)}."
        sentences.append(Sentence(text, "warning"))
    return sentences


def _score(results: Results, score: float | None) -> str:
    return "–" if score is None else results.goals.first.text(score)


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
            f" score of {_score(results, results.score(best))} and a standard deviation of"
            f" {best.spread:.2g}."
        )
    if best.failed:
        finals = best.failed + len(best.finals)
        sentences.append(f"{best.failed} of {finals} finals of trial {best.record.trial} failed.")
    first, held_out = results.goals.first, results.held_out(best)
    if held_out is not None:
        untouched = results.held_out_baselines.get("content", {})
        comparison = ""
        if first.known(untouched):
            beats = first.loss(held_out) < first.loss(first.of(untouched))
            comparison = f", {'better' if beats else 'NOT better'} than the untouched photo"
            comparison += f" of these pairs ({first.text(first.of(untouched))})"
        sentences.append(
            f"On the held-out pairs, which the search never saw, trial {best.record.trial} scores"
            f" {first.text(held_out)}{comparison}."
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
