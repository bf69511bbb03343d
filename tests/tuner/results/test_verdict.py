"""What is said about the result of a run, on records made by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuner.results.contact_sheet
from tests.tuner.made_results import STEPS, UNTOUCHED, job, order, printed, results, trial
from tuner.results.as_json import best_json, status_json
from tuner.results.verdict import gain_over_content, headline, summary
from tuner.study.records import TrialRecord
from tuner.terminal.run_tables import best_table, status_table, verdict


def test_a_violated_constraint_is_named_everywhere() -> None:
    """Verdict, table, summary, JSON and preset name the constraint that the best trial violates."""
    spec = job(constraints={"seconds_per_image": "<= 5"})
    run_results = results(spec, [trial(0, spec.goals, 0.3, seconds=9)])
    violated = "violates seconds_per_image <= 5"
    assert violated in verdict(run_results).plain
    assert violated in " ".join(summary(run_results))
    assert "seconds_per_image <= 5" in printed(best_table(run_results, 1))
    assert violated in run_results.preset().description
    assert best_json(run_results)["trials"][0]["broken"] == ["seconds_per_image <= 5"]
    satisfied = results(spec, [trial(0, spec.goals, 0.3, seconds=4)])
    texts = [verdict(satisfied).plain, *summary(satisfied), satisfied.preset().description]
    assert "violates" not in " ".join(texts)


def test_the_mean_of_the_finals_decides_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict, JSON, preset and contact sheet use the mean of the finals as the score."""
    spec = job()
    finals = [trial(1 + seed, spec.goals, 0.7, seed=seed, final_of=0) for seed in range(2)]
    run_results = results(spec, [trial(0, spec.goals, 0.5), *finals])  # the content has 0.6
    assert not best_json(run_results)["beats_content"]
    assert not status_json(run_results)["beats_content"]
    assert "NOT" in verdict(run_results).plain
    assert run_results.preset().description == "tuned: LPIPS 0.7000"
    labels: dict[str, Path] = {}
    monkeypatch.setattr(
        tuner.results.contact_sheet, "contact_sheet", lambda cells, columns: labels.update(cells)
    )
    tuner.results.contact_sheet.run_sheet(run_results)
    assert "best: trial 0\nLPIPS 0.7000" in labels
    content = json.loads(json.dumps(best_json(run_results), allow_nan=False))
    assert content["direction"] == "minimize"
    for text in (content["verdict"], status_json(run_results)["verdict"], summary(run_results)[0]):
        assert text == verdict(run_results).plain


COSTLY = ["seconds_per_image", "lpips"], {"lpips": 1.0, "seconds_per_image": 0.01}


@pytest.mark.parametrize("objective", COSTLY)
def test_without_a_score_of_the_content_there_is_no_comparison(objective: Any) -> None:
    """With a cost in the objective the content has no score, so nothing is compared with it."""
    spec = job(objective=objective)
    run_results = results(spec, [trial(0, spec.goals, 0.3)])
    assert run_results.beats_content(run_results.score(run_results.ranked()[0])) is None
    for content in (best_json(run_results), status_json(run_results)):
        assert json.loads(json.dumps(content, allow_nan=False))["beats_content"] is None
    text = " ".join([*summary(run_results), printed(best_table(run_results, 1))])
    assert "NOT beat" not in text and "nan" not in text


def on_pairs(record: TrialRecord, *lpips: float) -> TrialRecord:
    """Return the trial with these LPIPS on its pairs, held-out pairs last."""
    pair_scores = [{"lpips": value, "ssim": 0.5} for value in lpips]
    return replace(record, rungs={STEPS: replace(record.rungs[STEPS], pair_scores=pair_scores)})


@pytest.mark.parametrize(("other", "named"), [(0.4, True), (0.5, False), (0.6, False)])
def test_a_better_finalist_on_held_out_pairs_is_named(other: float, named: bool) -> None:
    """The verdict names another finalist only if it is better on the held-out pairs."""
    pair = {"content": "h.png", "style": "s.png", "reference": "r.png"}
    spec = job(holdout=[pair], finals={"count": 2, "seeds": 1})
    goals = spec.goals
    finals = [
        on_pairs(trial(2, goals, 0.2, final_of=0), 0.2, 0.5),
        on_pairs(trial(3, goals, 0.3, final_of=1), 0.3, other),
    ]
    run_results = results(spec, [trial(0, goals, 0.2), trial(1, goals, 0.3), *finals])
    assert order(run_results)[:2] == [0, 1]
    sentence = "On the held-out pairs trial 1 does better: 0.4000 against 0.5000."
    for text in (verdict(run_results).plain, " ".join(summary(run_results))):
        assert (sentence in text) is named


def test_a_preset_as_the_best_trial_is_named() -> None:
    """If a preset is the best trial, the verdict says that the search found nothing better."""
    spec = job()
    best = replace(trial(0, spec.goals, 0.2), preset="adam-1000")
    text = verdict(results(spec, [best, trial(1, spec.goals, 0.3)])).plain
    assert "It is the preset adam-1000 (cut to 10 of its 1,000 steps" in text
    assert "the search found nothing better" in text


def test_the_headline_compares_with_the_best_preset() -> None:
    """The headline is the gain over the best published preset, the photo comes second."""
    spec = job()
    preset = replace(trial(0, spec.goals, 0.4), preset="adam-1000")
    run_results = results(spec, [preset, trial(1, spec.goals, 0.3)])  # the content has 0.6
    top = headline(run_results)
    assert top.share == pytest.approx(0.25) and top.tone == "good"
    assert top.text.startswith("nearer to the reference than the best published preset, adam-1000")
    assert "cut to 10 of its 1,000 steps" in top.text and top.text.endswith(", by LPIPS")
    second = (
        "It is 50% nearer to the reference than the untouched photo: LPIPS 0.3000 against 0.6000."
    )
    assert gain_over_content(run_results) == second
    alone = results(spec, [trial(1, spec.goals, 0.3)])
    assert headline(alone).text == "nearer to the reference than the untouched photo, by LPIPS"
    assert headline(alone).share == pytest.approx(0.5) and gain_over_content(alone) is None


def test_a_headline_never_hides_a_failure() -> None:
    """If the untouched photo is better, the headline says so, whatever the presets reached."""
    spec = job()
    preset = replace(trial(0, spec.goals, 0.9), preset="adam-1000")
    top = headline(results(spec, [preset, trial(1, spec.goals, 0.75)]))
    assert top.text == "farther from the reference than the untouched photo, by LPIPS"
    assert top.tone == "bad" and top.share == pytest.approx(0.25)
    psnr = job(objective="ssim")
    better = headline(results(psnr, [trial(1, psnr.goals, 0.3, ssim=0.9)]))
    assert better.text == "better than the untouched photo, by SSIM"  # which is no distance


def test_before_the_first_report_nothing_beats_the_content() -> None:
    """Without any report `beats_content` is false, not null."""
    run_results = results(job(), [])
    assert best_json(run_results)["beats_content"] is False
    assert status_json(run_results)["beats_content"] is False


def test_a_content_with_score_zero_can_be_beaten() -> None:
    """If the content scores 0 the comparison has no percentage, but still says better or worse."""
    spec = job(objective="ssim")
    run_results = results(spec, [trial(0, spec.goals, 0.3, ssim=0.4)])
    run_results = replace(
        run_results, notes={"pair_baselines": [{"content": {**UNTOUCHED, "ssim": 0.0}}]}
    )
    assert run_results.beats_content(0.4) is True and run_results.beats_content(-0.1) is False
    text = verdict(run_results).plain
    assert "better than" in text and "nan" not in text


def test_a_running_search_gets_a_preliminary_verdict() -> None:
    """A verdict on a running search says "so far"; before a trial has finished there is none."""
    spec = job()
    preset = replace(trial(0, spec.goals, 0.2, state="running"), preset="adam-1000")
    own = trial(1, spec.goals, 0.3, state="running")
    early = results(spec, [preset, own], over=None)
    for text in (printed(status_table(early)), printed(best_table(early, 1)), *summary(early)):
        assert "better" not in text and "NOT" not in text
    begun = results(spec, [replace(preset, state="complete"), own], over=None)
    for text in (verdict(begun).plain, " ".join(summary(begun))):
        assert "so far" in text and "the search has only begun" in text
    later = results(spec, [preset, replace(own, state="pruned")], over=None)
    for text in (verdict(later).plain, " ".join(summary(later))):
        assert "so far" in text and "found nothing better so far" in text
    worse = results(spec, [trial(0, spec.goals, 0.9)], over=None)
    for text in (verdict(worse).plain, " ".join(summary(worse))):
        assert "so far" in text.lower() and "wider search space" not in text
