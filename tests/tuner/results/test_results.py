"""Who is the best of a run, and what is said of it, on records made by hand."""

import io
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

import tuner.results.contact_sheet
from benchmarks.support.made_run import made_run
from nst_core.config import StyleConfig
from nst_core.errors import RunError
from tests.tuner.helpers import nst_tuner
from tests.tuner.made_results import STEPS, UNTOUCHED, job, order, results, trial
from tuner.pages.report.facts import report_facts
from tuner.results.as_json import best_json, dump, status_json
from tuner.results.dataframe import Run
from tuner.results.results import load_results
from tuner.results.summary import summary
from tuner.search.finals import missing_finals
from tuner.study.records import TrialRecord
from tuner.terminal.run_tables import best_table, status_table, verdict


def printed(shown: RenderableType, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(shown)
    return file.getvalue()


def test_finalists_keep_the_bounds_before_they_score() -> None:
    """A finalist that breaks a bound ranks after one that keeps it, however well it scores."""
    asked = job(constraints={"seconds_per_image": "<= 5"})
    goals = asked.goals
    records = [
        trial(0, goals, 0.2, seconds=9),
        trial(1, goals, 0.4, seconds=4),
        trial(2, goals, 0.3, seconds=4),
        *(trial(3 + n, goals, score, final_of=n) for n, score in enumerate([0.2, 0.3, 0.4])),
    ]
    assert order(results(asked, records)) == [1, 2, 0]
    assert [t for t, _ in missing_finals(records[:3], goals, count=2, seeds=1)] == [2, 1]


def test_bounds_on_metrics_hold_for_the_mean_of_the_finals() -> None:
    """What kept a bound by its luck alone is said to break it, and ranks after what keeps it."""
    asked = job(constraints={"ssim": ">= 0.4", "seconds_per_image": "<= 5"})
    goals = asked.goals
    records = [
        trial(0, goals, 0.2, ssim=0.41),
        trial(1, goals, 0.3, ssim=0.45),
        *(trial(2 + n, goals, 0.2, seed=1 + n, final_of=0, ssim=0.3) for n in range(2)),
        *(trial(4 + n, goals, 0.3, seed=1 + n, final_of=1, ssim=0.44, seconds=9) for n in range(2)),
    ]
    found = results(asked, records)
    assert order(found) == [1, 0]
    assert [found.violated(one) for one in found.ranked()] == [[], ["ssim >= 0.4"]]


def test_a_final_that_fails_counts() -> None:
    """Who fails with some seeds ranks after who never does, and the tables say how often."""
    asked = job()
    goals = asked.goals
    records = [
        trial(0, goals, 0.20),
        trial(1, goals, 0.30),
        trial(2, goals, 0.10),
        trial(3, goals, 0.40),
        *(trial(4 + seed, goals, 0.3 + seed / 100, seed=seed, final_of=1) for seed in range(3)),
        trial(7, goals, 0.1, seed=0, final_of=0),
        *(trial(8 + n, goals, 0.1, seed=n, final_of=0, state="failed") for n in (1, 2)),
        *(trial(10 + n, goals, 0.1, seed=n, final_of=2, state="failed") for n in range(3)),
    ]
    found = results(asked, records)
    assert order(found) == [1, 0, 3, 2]
    table = printed(best_table(found, 5))
    assert "2 of 3 failed" in table and "3 of 3 failed" in table and "…" not in table
    assert [one["finals_failed"] for one in best_json(found)["trials"]] == [0, 2, 0, 3]
    only = replace(found, records=[records[0], *records[7:10]])
    assert "When it was run again, 2 of 3 seeds failed." in summary(only)


@pytest.mark.parametrize(("scores", "spread"), [([0.3, 0.3, 0.3], None), ([0.3, 0.5], 0.1414)])
def test_a_spread_of_nothing_is_none(scores: list[float], spread: float | None) -> None:
    """Where nothing of a start is random, equal scores are no evidence of small spread."""
    asked = job()
    finals = [
        trial(1 + seed, asked.goals, score, seed=seed, final_of=0)
        for seed, score in enumerate(scores)
    ]
    found = results(asked, [trial(0, asked.goals, 0.3), *finals])
    assert found.preset().provenance["spread"] == pytest.approx(spread, abs=1e-4)
    assert ("±" in " ".join(summary(found))) == (spread is not None)


def test_a_best_that_breaks_a_bound_is_said_to() -> None:
    """Verdict, table, summary, JSON and preset all name the bound."""
    asked = job(constraints={"seconds_per_image": "<= 5"})
    found = results(asked, [trial(0, asked.goals, 0.3, seconds=9)])
    broken = "breaks seconds_per_image <= 5"
    assert broken in verdict(found).plain
    assert broken in " ".join(summary(found))
    assert broken in printed(best_table(found, 1))
    assert broken in found.preset().description
    assert best_json(found)["trials"][0]["broken"] == ["seconds_per_image <= 5"]
    kept = results(asked, [trial(0, asked.goals, 0.3, seconds=4)])
    assert "breaks" not in verdict(kept).plain + " ".join(summary(kept)) + kept.preset().description


def test_one_answer_to_whether_it_beats_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the finals decides it everywhere, and is the score that is shown."""
    asked = job()
    finals = [trial(1 + seed, asked.goals, 0.7, seed=seed, final_of=0) for seed in range(2)]
    found = results(asked, [trial(0, asked.goals, 0.5), *finals])  # the content has 0.6
    assert not best_json(found)["beats_content"]
    assert not status_json(found)["beats_content"]
    assert "NOT" in verdict(found).plain
    assert found.preset().description == "tuned: lpips 0.7000"
    labels: dict[str, Path] = {}
    monkeypatch.setattr(
        tuner.results.contact_sheet, "contact_sheet", lambda cells, columns: labels.update(cells)
    )
    tuner.results.contact_sheet.run_sheet(found)
    assert "best: trial 0\nlpips 0.700" in labels
    assert json.loads(json.dumps(best_json(found), allow_nan=False))["direction"] == "minimize"


@pytest.mark.parametrize(
    "objective", [{"lpips": 1, "seconds_per_image": 0.01}, ["seconds_per_image", "lpips"]]
)
def test_costs_in_an_objective(objective: object, tmp_path: Path, pictures: Path) -> None:
    """Costs are not told apart by pairs; all that shows finals by pair works with them."""
    run = made_run(tmp_path / "run", pictures, pairs=2, holdout=1, trials=6, objective=objective)
    results = load_results(run)
    finalist = next(found for found in results.ranked() if found.finals)
    assert results.held_out(finalist) is not None
    for command in ("best", "status"):
        for shown in ((), ("--json",)):
            done = nst_tuner(command, run, *shown)
            assert done.returncode == 0, done.stderr
    assert len(report_facts(results)["pairs"]) == 3


COSTLY = ["seconds_per_image", "lpips"], {"lpips": 1.0, "seconds_per_image": 0.01}


@pytest.mark.parametrize("objective", COSTLY)
def test_nothing_is_said_against_a_result_that_cannot_be_compared(objective: Any) -> None:
    """An objective with a cost has no value for the content: unknown is null, and no warning."""
    asked = job(objective=objective)
    found = results(asked, [trial(0, asked.goals, 0.3)])
    assert found.beats_content(found.score(found.ranked()[0])) is None
    for shown in (best_json(found), status_json(found)):
        assert json.loads(json.dumps(shown, allow_nan=False))["beats_content"] is None
    said = verdict(found).plain + " ".join(summary(found)) + printed(best_table(found, 1))
    assert "NOT beat" not in said and "Nothing was gained" not in said and "nan" not in said


def on_pairs(record: TrialRecord, *lpips: float) -> TrialRecord:
    """The trial with these scores of its pairs, of the search and held out."""
    pair_scores = [{"lpips": value, "ssim": 0.5} for value in lpips]
    return replace(record, rungs={STEPS: replace(record.rungs[STEPS], pair_scores=pair_scores)})


@pytest.mark.parametrize(("other", "named"), [(0.4, True), (0.5, False), (0.6, False)])
def test_a_finalist_that_does_better_on_held_out_pairs_is_named(other: float, named: bool) -> None:
    """Where the best by the search is not the best on pairs that it never saw, both are said."""
    pair = {"content": "h.png", "style": "s.png", "reference": "r.png"}
    asked = job(holdout=[pair], finals={"count": 2, "seeds": 1})
    goals = asked.goals
    finals = [
        on_pairs(trial(2, goals, 0.2, final_of=0), 0.2, 0.5),
        on_pairs(trial(3, goals, 0.3, final_of=1), 0.3, other),
    ]
    found = results(asked, [trial(0, goals, 0.2), trial(1, goals, 0.3), *finals])
    assert order(found)[:2] == [0, 1]
    sentence = "On the held-out pairs trial 1 does better: 0.4000 against 0.5000."
    for said in (verdict(found).plain, " ".join(summary(found))):
        assert (sentence in said) is named


def test_a_preset_that_nothing_beats_is_named_in_the_verdict() -> None:
    """Who searched for nothing is told so, and what may help."""
    asked = job()
    best = replace(trial(0, asked.goals, 0.2), preset="adam-1000")
    said = verdict(results(asked, [best, trial(1, asked.goals, 0.3)])).plain
    assert "It is the preset adam-1000 (cut to 10 of its 1,000 steps" in said
    assert "the search found nothing better" in said


def test_before_the_first_report_nothing_beats_the_content() -> None:
    """Without a result the answer is no, not unknown."""
    found = results(job(), [])
    assert best_json(found)["beats_content"] is False
    assert status_json(found)["beats_content"] is False


def test_a_content_that_scores_nothing_can_be_beaten() -> None:
    """Of 0 there are no percents, and still one is better or worse than it."""
    asked = job(objective="ssim")
    found = results(asked, [trial(0, asked.goals, 0.3, ssim=0.4)])
    found = replace(found, notes={"pair_baselines": [{"content": {**UNTOUCHED, "ssim": 0.0}}]})
    assert found.beats_content(0.4) is True and found.beats_content(-0.1) is False
    assert "better than" in verdict(found).plain and "nan" not in verdict(found).plain
    assert "better than" in " ".join(summary(found)) and "nan" not in " ".join(summary(found))


STYLES = [{"image": "a.png", "weight": 3}, {"image": "b.png"}]
REGIONS = [{"image": "a.png", "weight": 3, "region": "m.png"}, {"image": "b.png"}]


@pytest.mark.parametrize(
    ("styles", "blend", "labels"),
    [
        ("s.png", None, ["style", ""]),
        (STYLES, None, ["style 1\n75%", "style 2\n25%"]),
        (STYLES, [1.0, 4.0], ["style 1\n20%", "style 2\n80%"]),
        (REGIONS, None, ["style 1\n100% of its region", "style 2\n100% of its region"]),
    ],
)
def test_every_style_image_is_on_the_sheet(
    monkeypatch: pytest.MonkeyPatch, styles: Any, blend: list[float] | None, labels: list[str]
) -> None:
    """With its share, by the best trial's blend or its own weight; rows stay in line."""
    pairs = [
        {"content": "c.png", "style": style, "reference": "r.png"} for style in (styles, STYLES)
    ]
    asked = job(pairs=pairs)
    one = trial(0, asked.goals, 0.5)
    config = StyleConfig.from_dict({**one.config, "style_blend": blend}).to_dict()
    found = results(asked, [replace(one, config=config)])
    shown: list[tuple[str, Path | None]] = []
    widths: list[int] = []

    def sheet(cells: list[tuple[str, Path | None]], columns: int) -> None:
        shown.extend(cells)
        widths.append(columns)

    monkeypatch.setattr(tuner.results.contact_sheet, "contact_sheet", sheet)
    tuner.results.contact_sheet.run_sheet(found)
    assert [label for label, _ in shown[1:3]] == labels
    assert shown[1][1] == Path("run") / ("s.png" if styles == "s.png" else "a.png")
    assert shown[2][1] == (None if styles == "s.png" else Path("run/b.png"))
    rows = [shown[:5], shown[5:]]
    assert widths == [5] and [row[3][0] for row in rows] == ["reference", "reference"]


def test_a_place_without_a_picture_stays_white() -> None:
    """A row with fewer pictures than another is filled with nothing."""
    sheet = tuner.results.contact_sheet.contact_sheet([("", None), ("", None)], columns=2)
    assert sheet.getextrema() == ((255, 255),) * 3


def test_a_trial_that_is_not_there_is_named() -> None:
    """Asked for a trial without a result, it says why there is none, and which trials there are."""
    asked = job()
    records = [
        trial(0, asked.goals, 0.5),
        trial(1, asked.goals, 0.4),
        trial(2, asked.goals, 0.4, state="failed"),
        replace(trial(3, asked.goals, 0.4, state="running"), rungs={}),
        trial(4, asked.goals, 0.4, final_of=1),
    ]
    found = results(asked, records)
    assert found.found(0).record.trial == 0
    for number, why in {
        99: "no trial 99; this run has trials 0 to 3",
        -1: "no trial -1; this run has trials 0 to 3",
        2: "trial 2 failed and has no result (went to NaN); trials with a result, the best first",
        3: "trial 3 has not reported a score yet; trials with a result, the best first: 1, 0",
        4: "trial 4 is a final of trial 1; name that trial",
    }.items():
        with pytest.raises(RunError, match=re.escape(why)):
            found.preset(number)
    with pytest.raises(RunError, match="no trial has reported a score yet"):
        results(asked, []).found()
    with pytest.raises(RunError, match="no trial 0; this run has no trials yet"):
        results(asked, []).found(0)


def test_a_pair_that_is_not_there_is_named() -> None:
    """A program that asks for a picture of another pair is told which pairs there are."""
    run = Run(results(job(), [trial(0, job().goals, 0.5)]))
    for ask in (lambda: run.image(0, pair=1), lambda: run.inputs(-1)):
        with pytest.raises(RunError, match=r"no pair -?1; this run has pair 0"):
            ask()


def test_nothing_is_judged_before_a_trial_is_over() -> None:
    """While the search runs, a verdict says so; before the first trial is over there is none."""
    asked = job()
    preset = replace(trial(0, asked.goals, 0.2, state="running"), preset="adam-1000")
    own = trial(1, asked.goals, 0.3, state="running")
    early = results(asked, [preset, own], over=None)
    for said in (printed(status_table(early)), printed(best_table(early, 1)), *summary(early)):
        assert "better" not in said and "NOT" not in said
    begun = results(asked, [replace(preset, state="complete"), own], over=None)
    for said in (verdict(begun).plain, " ".join(summary(begun))):
        assert "so far" in said and "the search has only begun" in said
    later = results(asked, [preset, replace(own, state="pruned")], over=None)
    for said in (verdict(later).plain, " ".join(summary(later))):
        assert "so far" in said and "found nothing better so far" in said
    worse = results(asked, [trial(0, asked.goals, 0.9)], over=None)
    for said in (verdict(worse).plain, " ".join(summary(worse))):
        assert "so far" in said.lower() and "wider space" not in said


def test_a_run_that_is_worked_on_is_not_to_be_resumed(tmp_path: Path) -> None:
    """`status` names the process that works on the run, and only else the command to go on."""
    found = results(job(), [], tmp_path, over=None)
    with found.run.held("resume"):
        said, known = printed(status_table(found), 200), status_json(found)["running"]
    assert f"`nst-tuner resume` (process {os.getpid()} on" in said and "to continue" not in said
    assert known["pid"] == os.getpid() and known["host"] and known["since"]
    assert status_json(found)["running"] is None
    assert "nst-tuner resume" in printed(status_table(found), 200)


def test_a_folder_with_brackets_is_shown_as_it_is() -> None:
    """A path is text, not markup, and can be pasted into a shell."""
    found = results(job(), [], Path("runs/[red]my café"), over=None)
    assert "nst-tuner resume 'runs/[red]my café'" in printed(status_table(found))


def test_json_commands_no_terminal() -> None:
    """What JSON may hold as it is, and a terminal obeys, is escaped; it reads back the same."""
    content = {"note": "\x9b31m\x7f naïve ü\u2028"}
    text = dump(content)
    assert json.loads(text) == content and "ü" in text
    assert not any("\x7f" <= character <= "\x9f" for character in text)


def test_a_sum_with_turned_signs_has_no_shares() -> None:
    """Nothing is half as bad as the content by a sum that may be below 0: it is just better."""
    found = results(job(objective={"lpips": 1.0, "ssim": 1.0}), [])
    assert math.isnan(found.change(-0.5, -0.1))
    assert (found.against(-0.5, -0.1), found.against(0.2, -0.1)) == ("better", "worse")
    plain = results(job(), [])
    assert (plain.against(0.3, 0.6), plain.against(0.9, 0.6)) == ("50% better", "50% worse")
