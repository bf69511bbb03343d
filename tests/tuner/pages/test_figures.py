"""Plots of the parameters by Optuna."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks.support.made_run import made_run
from tuner.pages.report.figures import report_figures
from tuner.results.results import load_results


def test_figures_come_from_optuna(tmp_path: Path, pictures: Path) -> None:
    """Importances, slices, contours and parallel coordinates are drawn, all without WebGL."""
    groups = report_figures(load_results(made_run(tmp_path / "run", pictures, trials=24)))
    titles = [group["title"] for group in groups]
    assert titles == [
        "Parameter importances",
        "One parameter",
        "Two parameters",
        "All parameters",
    ]
    assert all(group["figures"] for group in groups)
    kinds = {trace["type"] for g in groups for figure in g["figures"] for trace in figure["data"]}
    assert kinds <= {"bar", "scatter", "contour"}
    assert groups[0]["figures"][0]["data"][0]["y"][-1] == "lr"  # which the made-up score depends on
    labels = [figure["label"] for group in groups for figure in group["figures"]]
    assert "LPIPS by lr" in labels and len(set(labels)) == len(labels)
    assert "bgcolor" not in json.dumps(groups)  # the page is light or dark


def test_names_in_figures_are_not_markup(tmp_path: Path, pictures: Path) -> None:
    """Tags in the name of a parameter are text to Plotly; the tags of Optuna remain."""
    link = '<a href="https://evil.example">details</a>'
    space = tmp_path / "space.yaml"
    space.write_text(
        "name: made\nwhy: names\nparams:\n"
        f"  'lr@{link}': {{low: 0.01, high: 0.1, log: true}}\n"
        "  tv_weight: {low: 0.1, high: 10, log: true}\n"
    )
    run = made_run(tmp_path / "run", pictures, trials=24, space=str(space))
    groups = report_figures(load_results(run))
    drawn = [[f["data"], f["layout"]] for group in groups for f in group["figures"]]
    text = json.dumps(drawn, ensure_ascii=False)
    assert "‹a href" in text and "<a" not in text
    assert set(re.findall("<.*?>", text)) == {"<extra>", "</extra>"}


def figures_of(groups: list[dict[str, Any]], title: str) -> Iterator[dict[str, Any]]:
    return (figure for group in groups if group["title"] == title for figure in group["figures"])


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_importance_is_about_good_trials(
    run: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """A parameter that decides which trials are good is more important than one of bad trials."""
    sign = -1 if direction == "minimize" else 1
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        good, bad = (
            math.exp(-(((trial.suggest_float(name, 0, 1) - 0.5) / 0.05) ** 2))
            for name in ("makes good", "makes bad")
        )
        return sign * (good - bad)

    study.optimize(objective, n_trials=200)
    monkeypatch.setattr(
        "tuner.pages.report.figures.study_for_plots", lambda *_: (study, list(range(200)))
    )
    (bars,) = figures_of(report_figures(load_results(run)), "Parameter importances")
    assert bars["data"][0]["y"][-1] == "makes good"


@pytest.mark.parametrize(
    ("objective", "low_is_good"),
    [("lpips", True), ("ssim", False), (["ssim", "lpips"], False), (["lpips", "ssim"], True)],
)
def test_colors_follow_the_direction(
    tmp_path: Path, pictures: Path, objective: object, low_is_good: bool
) -> None:
    """Optuna reverses its color scale if low is good, by the first of several objectives."""
    run = made_run(tmp_path / "run", pictures, trials=20, objective=objective)
    contours = list(figures_of(report_figures(load_results(run)), "Two parameters"))
    scales = {
        trace["reversescale"]
        for figure in contours
        for trace in figure["data"]
        if trace["type"] == "contour"
    }
    assert scales == {low_is_good}


def test_points_know_their_trial(run: Path) -> None:
    """Each point of a slice plot has the number of its trial in the run."""
    results = load_results(run)
    scores = {r.record.trial: r.rung.objective for r in results.ranked()}
    for figure in figures_of(report_figures(results), "One parameter"):
        (trace,) = (trace for trace in figure["data"] if "customdata" in trace)
        assert trace["y"] == pytest.approx([scores[trial] for trial in trace["customdata"]])


def test_importances_say_from_how_many_trials(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importances have the number of trials, and a warning if there are few."""
    groups = {group["title"]: group for group in report_figures(load_results(run))}
    help_ = groups["Parameter importances"]["help"]
    assert re.search(r"from \d+ trials", help_) and "fewer than 50" in help_
    monkeypatch.setattr("tuner.pages.report.figures.FEW_TRIALS", 5)
    groups = {group["title"]: group for group in report_figures(load_results(run))}
    assert "fewer than" not in groups["Parameter importances"]["help"]


def test_outliers_are_drawn_at_the_untouched_photo(run: Path) -> None:
    """Scores that are worse than the untouched photo get its score, and the page says so."""
    results = load_results(run)
    content = {**results.pair_baselines[0]["content"], "lpips": 0.3}
    notes = {**results.notes, "pair_baselines": [{"content": content}] * 3}
    groups = report_figures(replace(results, notes=notes))
    (lr, *_) = figures_of(groups, "One parameter")
    values = [value for trace in lr["data"] for value in trace["y"]]
    assert max(values) == 0.3 > min(values)
    assert any("worse than the untouched photo" in group["help"] for group in groups)


def test_choices_have_no_quotes(run: Path) -> None:
    """Choices are written as in the job, without the quotes that Optuna adds."""
    drawn = [
        figure["data"] for group in report_figures(load_results(run)) for figure in group["figures"]
    ]
    assert not re.search(r"\"'\w", json.dumps(drawn))


def test_few_trials_are_not_plotted(tmp_path: Path, pictures: Path) -> None:
    """With few trials the page says why there are no plots of parameters."""
    run = made_run(tmp_path / "run", pictures, trials=6)
    (group,) = report_figures(load_results(run))
    assert group["title"] == "Too few trials" and not group["figures"]
