"""Presets as baselines: how far they ran in the search, and their runs with all steps."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.support.made_run import made_run
from nst_core.presets.built_in import BASELINES, runnable
from tests.tuner.helpers import Recorder, make_search, nst_tuner, play
from tests.tuner.made_results import job, results, trial
from tuner.job.yaml_file import read_yaml
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

#: 8 trials of 900 steps; two of them are presets of 1,000 and 2,000 steps.
LONG = ("halving.rule=none", "halving.min_steps=100", "halving.max_steps=900")


def loss(plan: Plan, steps: int) -> float:
    """A made-up loss: best in the search, then adam-1000, then layered-2000; lower with steps."""
    return {0: 0.3, 1: 0.4}.get(plan.trial, 0.2 if plan.trial < 8 else 0.25) + 10 / steps


def full(folder: Path) -> list[TrialRecord]:
    """Trials that run a preset with all of its steps."""
    return [record for record in load_records(folder)[0] if record.full]


@pytest.mark.parametrize(
    ("baselines", "presets"),
    [("auto", ["adam-1000"]), ("true", ["adam-1000", "layered-2000"]), ("false", [])],
)
def test_presets_run_in_full(
    job_file: Path, tmp_path: Path, baselines: str, presets: list[str]
) -> None:
    """All, none, or the best presets run with all of their steps; `auto` limits their total."""
    search = make_search(job_file, tmp_path, *LONG, f"baselines.full={baselines}")
    play(search, loss, lanes=3)
    records = full(tmp_path)
    assert [record.preset for record in records] == presets
    assert [record.config["steps"] for record in records] == [
        BASELINES[name].config.steps for name in presets
    ]
    assert all(max(record.rungs) == record.config["steps"] for record in records)
    assert [record.final_of for record in records] == list(range(len(presets)))


def test_the_rungs_of_a_full_run() -> None:
    """A full run reports at least every max_steps steps, but at most 16 times."""
    assert full_rungs(1000, 300) == (300, 600, 900, 1000)
    assert full_rungs(1000, 30)[:2] == (63, 126) and len(full_rungs(1000, 30)) == 16
    assert full_rungs(500, 900) == (500,)


def test_a_short_search_has_no_full_runs(job_file: Path, tmp_path: Path) -> None:
    """By default no preset runs in full whose steps exceed a third of the search's steps."""
    play(make_search(job_file, tmp_path), loss)
    assert full(tmp_path) == []


def test_full_runs_are_resumed_and_not_repeated(job_file: Path, tmp_path: Path) -> None:
    """Each preset runs in full exactly once, even if the launch is killed after every report."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def resumed(folder: Path, *more: str) -> Search:
        folder.mkdir(exist_ok=True)
        return make_search(job_file, folder, *LONG, "baselines.full=true", "finals.count=1", *more)

    play(resumed(whole), loss)
    while play(resumed(killed), loss, limit=1):
        pass
    both = [load_records(folder)[0] for folder in (whole, killed)]
    assert [(r.trial, r.preset, r.full, r.rungs.keys()) for r in both[0]] == [
        (r.trial, r.preset, r.full, r.rungs.keys()) for r in both[1]
    ]
    play(resumed(killed, "search.trials=10"), loss)
    assert [record.preset for record in full(killed)] == ["adam-1000", "layered-2000"]


def test_a_run_of_an_older_version_gets_no_full_runs(tmp_path: Path, pictures: Path) -> None:
    """A finished run whose job has no key `baselines` stays over when it is resumed."""
    run = made_run(tmp_path / "run", pictures, "baselines.full=false", trials=6)
    job_content = read_yaml(run / "job.yaml").data
    del job_content["baselines"]
    (run / "job.yaml").write_text(json.dumps(job_content))
    before = len(load_records(run)[0])
    resume_run(run, InlineBackend(), callback=Recorder(), say=print)
    assert len(load_records(run)[0]) == before


@pytest.mark.parametrize("in_full", [False, True])
def test_every_gain_says_how_far_the_preset_ran(
    tmp_path: Path, pictures: Path, in_full: bool
) -> None:
    """Wherever a gain over a preset is named, so is the number of steps that the preset ran."""
    run = made_run(tmp_path / "run", pictures, f"baselines.full={str(in_full).lower()}")
    loaded = load_results(run)
    ran = r"in full, 1,000 steps" if in_full else r"cut to 90 of its 1,000 steps"
    gain = re.compile(rf"\d+% better than the best published preset, adam-1000 \({ran}\)")
    output = io.StringIO()
    Console(file=output, width=300).print(best_table(loaded, 3))
    assert f"vs best preset: adam-1000 ({ran})" in output.getvalue()
    assert gain.search(output.getvalue())
    assert gain.search(nst_tuner("status", run, COLUMNS="300").stdout)
    assert gain.search(" ".join(summary(loaded)))
    for content in (best_json(loaded), status_json(loaded)):
        preset = content["best_preset"]
        assert (preset["full"], preset["steps"], preset["own_steps"]) == (
            in_full,
            1000 if in_full else 90,
            1000,
        )
        assert preset["gain"] > 0 and ran in preset["ran"]
    page_data = report_data(loaded)
    assert page_data["preset"]["ran"] == ran and ran in page_data["headline"]["text"]
    assert any(ran in baseline["name"] for baseline in page_data["baselines"]) == in_full


def test_a_preset_in_full_may_be_better() -> None:
    """The best trial is compared with full runs of presets as well, and may be worse."""
    spec = job()
    cut = replace(trial(0, spec.goals, 0.4), preset="adam-1000")
    whole = replace(
        trial(2, spec.goals, 0.2, final_of=0),
        preset="adam-1000",
        full=True,
        config={**cut.config, "steps": 1000, "extractor": "vgg19"},
    )
    loaded = results(spec, [cut, trial(1, spec.goals, 0.3), whole])
    run = best_preset_run(loaded)
    assert run is not None and (run.trial, run.objective, run.full) == (2, 0.2, True)
    gain = "50% worse than the best published preset, adam-1000 (in full, 1,000 steps)"
    assert gain_over_presets(loaded) == gain
    assert gain in verdict(loaded).plain
    assert [result.record.trial for result in loaded.ranked()] == [1, 0]


def test_the_network_of_a_preset_is_named() -> None:
    """If a preset ran on another network than published, the comparison names both."""
    spec = job()
    preset = replace(trial(0, spec.goals, 0.4), preset="lbfgs-resnet18")
    loaded = results(spec, [preset, trial(1, spec.goals, 0.2)])
    assert "(cut to 10 of its 1,000 steps, on vgg16 instead of resnet18)" in verdict(loaded).plain


def test_ranks_have_no_gaps(tmp_path: Path, pictures: Path) -> None:
    """Ranks have no gaps; a trial below the line says why it is in the table."""
    run = made_run(tmp_path / "run", pictures)
    done = nst_tuner("best", run, "--top", 3, COLUMNS="120")
    ranks = re.findall(r"^ *(\d+) +\d+ +\d+ ", done.stdout, re.MULTILINE)
    assert ranks[:3] == ["1", "2", "3"] and len(ranks) == 4
    remark = rf"to compare with: the best preset \(rank {ranks[3]} of \d+\)"
    assert re.search(remark, done.stdout)
    listed = json.loads(nst_tuner("best", run, "--json").stdout)["trials"]
    ranks = [row["rank"] for row in listed if row["rank"] is not None]
    assert ranks == list(range(1, len(ranks) + 1))


def test_the_contact_sheet_shows_the_best_preset_once(tmp_path: Path, pictures: Path) -> None:
    """The best preset gets a column of its own unless it is among the best trials."""
    loaded = load_results(made_run(tmp_path / "run", pictures))
    ranked = loaded.ranked()
    best, preset = ranked[0].record, loaded.best_preset()
    assert preset is not None and preset not in ranked[:3]
    winner = replace(best, preset="adam-1000")
    records = [winner if record is best else record for record in loaded.records]
    widths = [run_sheet(variant).width for variant in (loaded, replace(loaded, records=records))]
    columns = [(width - 8) // (224 + 8) for width in widths]
    assert columns == [3 + 4, 3 + 3]


def of_an_older_version(results: Results) -> Results:
    """Return a run as an older version left it: one final per finalist, with the search's seed."""
    finals = {r.final_of: r for r in reversed(results.records) if r.final_of is not None}
    records = [r for r in results.records if r.final_of is None]
    records += [replace(final, config={**final.config, "seed": 0}) for final in finals.values()]
    return replace(results, records=records)


def test_deterministic_finals_are_one_line(tmp_path: Path, pictures: Path) -> None:
    """The table of deterministic finals without held-out pairs is one line."""
    loaded = of_an_older_version(load_results(made_run(tmp_path / "run", pictures)))
    output = io.StringIO()
    Console(file=output, width=100).print(finals_table(loaded))
    best = loaded.ranked()[0].record.trial
    assert output.getvalue() == f"finals: trial {best}: deterministic: one run\n"


def test_the_table_of_finals_has_no_empty_column(tmp_path: Path, pictures: Path) -> None:
    """A deterministic finalist has a column for held-out pairs and none for the spread."""
    loaded = of_an_older_version(load_results(made_run(tmp_path / "run", pictures, holdout=1)))
    output = io.StringIO()
    Console(file=output, width=100).print(finals_table(loaded))
    assert "held out" in output.getvalue() and "deterministic: one run" in output.getvalue()
    assert "–" not in output.getvalue() and "spread" not in output.getvalue()


def test_missing_weights_are_one_line() -> None:
    """One line says how many presets run on another network, and names the command that helps."""
    presets = [runnable(preset, lambda name: name == "vgg16") for preset in BASELINES.values()]
    line = _substitutions(presets)
    assert "\n" not in line and "5 of 5 presets run on vgg16" in line
    assert "`nst-tuner weights fetch vgg19 resnet18`" in line
    assert "tv-amp: float32" in line
    assert _substitutions([(BASELINES["adam-1000"], None)]) == ""
