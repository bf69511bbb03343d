"""What the best is compared with: presets, how far they ran, and their runs in full."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmarks.support.made_run import made_run
from nst_core.presets.built_in import BASELINES, runnable
from tests.tuner.helpers import Recorder, make_search, nst_tuner, play
from tests.tuner.made_results import job, results, trial
from tuner.pages.report.page_data import report_data
from tuner.results.as_json import best_json, status_json
from tuner.results.contact_sheet import run_sheet
from tuner.results.preset_runs import best_preset_run
from tuner.results.results import Results, load_results
from tuner.results.verdict import gain_over_presets, summary
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run
from tuner.run.prepare import _substitutions
from tuner.search.finals import full_rungs
from tuner.search.protocol import Plan
from tuner.search.search import Search
from tuner.study.records import TrialRecord
from tuner.study.study import load_records
from tuner.terminal.run_tables import best_table, finals_table, verdict

#: 8 trials of 900 steps, two of them presets that have 1,000 and 2,000 as published.
LONG = ("halving.rule=none", "halving.min_steps=100", "halving.max_steps=900")


def loss(plan: Plan, steps: int) -> float:
    """Better with steps; adam-1000 is the better preset, and the search beats both."""
    return {0: 0.3, 1: 0.4}.get(plan.trial, 0.2 if plan.trial < 8 else 0.25) + 10 / steps


def full(folder: Path) -> list[TrialRecord]:
    """The runs in full of a run."""
    return [record for record in load_records(folder)[0] if record.full]


@pytest.mark.parametrize(
    ("asked", "presets"),
    [("auto", ["adam-1000"]), ("true", ["adam-1000", "layered-2000"]), ("false", [])],
)
def test_presets_run_in_full(
    job_file: Path, tmp_path: Path, asked: str, presets: list[str]
) -> None:
    """Presets run to their own steps: all, none, or the best while it takes less than a third."""
    search = make_search(job_file, tmp_path, *LONG, f"baselines.full={asked}")
    play(search, loss, lanes=3)
    found = full(tmp_path)
    assert [record.preset for record in found] == presets
    assert [record.config["steps"] for record in found] == [
        BASELINES[name].config.steps for name in presets
    ]
    assert all(max(record.rungs) == record.config["steps"] for record in found)
    assert [record.final_of for record in found] == list(range(len(presets)))


def test_a_preset_in_full_reports_often_enough() -> None:
    """Its rungs are no farther apart than the search is long, and at most sixteen."""
    assert full_rungs(1000, 300) == (300, 600, 900, 1000)
    assert full_rungs(1000, 30)[:2] == (63, 126) and len(full_rungs(1000, 30)) == 16
    assert full_rungs(500, 900) == (500,)


def test_a_short_search_leaves_presets_cut(job_file: Path, tmp_path: Path) -> None:
    """By default a preset whose own steps take a third of the search or more stays cut."""
    play(make_search(job_file, tmp_path), loss)
    assert full(tmp_path) == []


def test_runs_in_full_survive_kills_and_are_not_repeated(job_file: Path, tmp_path: Path) -> None:
    """Broken off after every report and taken up again, each preset runs in full exactly once."""
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"

    def begun(folder: Path, *more: str) -> Search:
        folder.mkdir(exist_ok=True)
        return make_search(job_file, folder, *LONG, "baselines.full=true", "finals.count=1", *more)

    play(begun(unbroken), loss)
    while play(begun(broken), loss, limit=1):
        pass
    both = [load_records(folder)[0] for folder in (unbroken, broken)]
    assert [(r.trial, r.preset, r.full, r.rungs.keys()) for r in both[0]] == [
        (r.trial, r.preset, r.full, r.rungs.keys()) for r in both[1]
    ]
    play(begun(broken, "search.trials=10"), loss)
    assert [record.preset for record in full(broken)] == ["adam-1000", "layered-2000"]


def test_an_older_run_stays_as_it_was_asked_for(tmp_path: Path, pictures: Path) -> None:
    """A run whose job says nothing of presets in full is over when it is resumed."""
    run = made_run(tmp_path / "run", pictures, "baselines.full=false", trials=6)
    written = yaml.safe_load((run / "job.yaml").read_text())
    del written["baselines"]
    (run / "job.yaml").write_text(json.dumps(written))
    before = len(load_records(run)[0])
    resume_run(run, InlineBackend(), callback=Recorder(), say=print)
    assert len(load_records(run)[0]) == before


@pytest.mark.parametrize("asked", [False, True])
def test_no_gain_over_a_preset_stands_alone(tmp_path: Path, pictures: Path, asked: bool) -> None:
    """Wherever a gain over a preset is named, so is what the preset was cut to, if it was."""
    run = made_run(tmp_path / "run", pictures, f"baselines.full={str(asked).lower()}")
    found = load_results(run)
    ran = r"in full, 1,000 steps" if asked else r"cut to 90 of its 1,000 steps"
    said = re.compile(rf"\d+% better than the best preset, adam-1000 \({ran}\)")
    shown = io.StringIO()
    Console(file=shown, width=300).print(best_table(found, 3))
    assert f"vs best preset: adam-1000 ({ran})" in shown.getvalue()
    assert said.search(shown.getvalue())
    assert said.search(nst_tuner("status", run, COLUMNS="300").stdout)
    assert said.search(" ".join(summary(found)))
    for content in (best_json(found), status_json(found)):
        preset = content["best_preset"]
        assert (preset["full"], preset["steps"], preset["own_steps"]) == (
            asked,
            1000 if asked else 90,
            1000,
        )
        assert preset["gain"] > 0 and ran in preset["ran"]
    page_data = report_data(found)
    assert page_data["presetRan"] == "cut to 90 of its 1,000 steps"
    assert any(ran in baseline["name"] for baseline in page_data["baselines"]) == asked


def test_a_preset_in_full_may_be_better() -> None:
    """The best is compared with a preset in full as well, and is said to be worse if it is."""
    asked = job()
    cut = replace(trial(0, asked.goals, 0.4), preset="adam-1000")
    whole = replace(
        trial(2, asked.goals, 0.2, final_of=0),
        preset="adam-1000",
        full=True,
        config={**cut.config, "steps": 1000, "extractor": "vgg19"},
    )
    found = results(asked, [cut, trial(1, asked.goals, 0.3), whole])
    run = best_preset_run(found)
    assert run is not None and (run.trial, run.objective, run.full) == (2, 0.2, True)
    gain = "50% worse than the best preset, adam-1000 (in full, 1,000 steps)"
    assert gain_over_presets(found) == gain
    assert gain in verdict(found).plain
    assert [one.record.trial for one in found.ranked()] == [1, 0]


def test_a_preset_on_another_network_says_so() -> None:
    """A preset that ran on a network other than its own is named with both."""
    asked = job()
    moved = replace(trial(0, asked.goals, 0.4), preset="lbfgs-resnet18")
    found = results(asked, [moved, trial(1, asked.goals, 0.2)])
    assert "(cut to 10 of its 1,000 steps, on vgg16 instead of resnet18)" in verdict(found).plain


def test_ranks_are_explained(tmp_path: Path, pictures: Path) -> None:
    """Trials stand with ranks without gaps; what follows below a line says why it is there."""
    run = made_run(tmp_path / "run", pictures)
    done = nst_tuner("best", run, "--top", 3, COLUMNS="120")
    ranks = re.findall(r"^ *(\d+) +\d+ +\d+ ", done.stdout, re.MULTILINE)
    assert ranks[:3] == ["1", "2", "3"] and len(ranks) == 4
    remark = rf"to compare with: the best preset \(rank {ranks[3]} of \d+\)"
    assert re.search(remark, done.stdout)
    listed = json.loads(nst_tuner("best", run, "--json").stdout)["trials"]
    known = [one["rank"] for one in listed if one["rank"] is not None]
    assert known == list(range(1, len(known) + 1))


def test_the_contact_sheet_shows_the_best_preset_once(tmp_path: Path, pictures: Path) -> None:
    """A preset that is among the best has one place on the sheet, any other one of its own."""
    found = load_results(made_run(tmp_path / "run", pictures))
    ranked = found.ranked()
    best, preset = ranked[0].record, found.best_preset()
    assert preset is not None and preset not in ranked[:3]
    winner = replace(best, preset="adam-1000")
    records = [winner if record is best else record for record in found.records]
    widths = [run_sheet(one).width for one in (found, replace(found, records=records))]
    columns = [(width - 8) // (224 + 8) for width in widths]
    assert columns == [3 + 4, 3 + 3]


def of_an_older_version(found: Results) -> Results:
    """The same run, of a version that ran a finalist without noise once, with the same seed."""
    finals = {r.final_of: r for r in reversed(found.records) if r.final_of is not None}
    kept = [r for r in found.records if r.final_of is None]
    kept += [replace(final, config={**final.config, "seed": 0}) for final in finals.values()]
    return replace(found, records=kept)


def test_deterministic_finals_are_one_line(tmp_path: Path, pictures: Path) -> None:
    """Of finalists without noise and held-out pairs nothing is said but that they need one run."""
    found = of_an_older_version(load_results(made_run(tmp_path / "run", pictures)))
    shown = io.StringIO()
    Console(file=shown, width=100).print(finals_table(found))
    best = found.ranked()[0].record.trial
    assert shown.getvalue() == f"finals: trial {best}: deterministic: one run\n"


def test_no_column_of_finals_is_empty(tmp_path: Path, pictures: Path) -> None:
    """With held-out pairs a deterministic finalist shows these scores and no dashes."""
    found = of_an_older_version(load_results(made_run(tmp_path / "run", pictures, holdout=1)))
    shown = io.StringIO()
    Console(file=shown, width=100).print(finals_table(found))
    assert "held out" in shown.getvalue() and "deterministic: one run" in shown.getvalue()
    assert "–" not in shown.getvalue() and "spread" not in shown.getvalue()


def test_missing_weights_are_one_line() -> None:
    """However many presets run on another network, one line says so and names the command."""
    found = [runnable(preset, lambda name: name == "vgg16") for preset in BASELINES.values()]
    line = _substitutions(found)
    assert "\n" not in line and "5 of 5 presets run on vgg16" in line
    assert "`nst-tuner weights fetch vgg19 resnet18`" in line
    assert "tv-amp: float32" in line
    assert _substitutions([(BASELINES["adam-1000"], None)]) == ""
