"""Figures: Optuna's plots of a run's parameters, as Plotly JSON."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import optuna

from tuner.job.objective import Goals
from tuner.results.results import Results
from tuner.study.storage import load_study
from tuner.study.validation import record_of

#: Number of parameters in each kind of plot, the most important ones: more are hard to read.
SLICE_PARAMS, CONTOUR_PARAMS, PARALLEL_PARAMS = 9, 3, 7

#: Minimum number of trials; importances of fewer are a guess.
MIN_TRIALS = 10
#: With fewer trials, the page warns that importances may be chance.
FEW_TRIALS = 50

CLIPPED = " Trials that are worse than the untouched photo are drawn at its score."

#: Maximum number of trials in the parallel coordinate plot and in contours, whose grids have a cell
#: for each pair of values: those of 2,000 trials took 40 MB.
PARALLEL_TRIALS = 250

#: Parts of Optuna's layout that the page replaces by its own.
_REPLACED = ("template", "title", "width", "plot_bgcolor", "paper_bgcolor")

#: Tags that Optuna itself writes.
_OPTUNA_TAG = re.compile(r"(</?(?:br|extra)>)")
#: A choice as Optuna writes it.
_CHOICE = re.compile(r"(['\"])(.*)\1")
_AS_TEXT = str.maketrans("<>", "‹›")

Figure = dict[str, Any]
Group = dict[str, Any]


def report_figures(results: Results) -> list[Group]:
    """Return the groups of figures in the order of the page, without figures that have no data."""
    worst = worst_plotted(results)
    study, numbers = study_for_plots(results.run.path, results.goals, worst)
    if len(study.trials) < MIN_TRIALS:
        needed = (
            f"Plots of parameters need at least {MIN_TRIALS} trials with a score, besides presets."
        )
        return [_group("Too few trials", needed, [])] if study.trials else []
    name = results.goals.first.label
    with warnings.catch_warnings():
        # Optuna warns about experimental features and about conditional parameters.
        warnings.simplefilter("ignore")
        importances = _importances(study)
        ranked = list(importances) or sorted({p for trial in study.trials for p in trial.params})
        best = _best(study, PARALLEL_TRIALS)
        note = "" if best is study else f" Only the best {PARALLEL_TRIALS} are shown."
        clip = "" if worst is None else CLIPPED
        return [
            _group(
                "Parameter importances",
                _importance_help(len(study.trials)),
                [_bars(importances)] if importances else [],
            ),
            _group(
                "One parameter",
                f"{name} by one parameter. Each point is a trial, later ones in a stronger color."
                f"{clip}",
                [
                    _with_trials(_drawn("plot_slice", study, [param], name), numbers)
                    for param in ranked[:SLICE_PARAMS]
                ],
                size="small",
            ),
            _group(
                "Two parameters",
                f"{name} by two of the most important parameters.{note}",
                [
                    _drawn("plot_contour", best, pair, name)
                    for pair in combinations(ranked[:CONTOUR_PARAMS], 2)
                ],
                size="small",
            ),
            _group(
                "All parameters",
                f"Each line is a trial.{note}",
                [_drawn("plot_parallel_coordinate", best, ranked[:PARALLEL_PARAMS], name)],
                size="wide",
            ),
        ]


def _group(
    title: str, help_: str, figures: Sequence[Figure | None], *, size: str = "full"
) -> Group:
    """Return a group of figures of the same size: ``full`` width, ``small``, or ``wide``.

    A ``wide`` figure is left out where the window is narrow.
    """
    drawn = [figure for figure in figures if figure]
    return {"title": title, "help": help_, "size": size, "figures": drawn}


def _importance_help(trials: int) -> str:
    """Return what the importances mean, from how many trials they are, and whether that is few."""
    text = (
        "How much each parameter decides whether a trial is among the best (PED-ANOVA), from"
        f" {trials} trials."
    )
    if trials < FEW_TRIALS:
        text += f" With fewer than {FEW_TRIALS} trials, the order may be chance."
    return text


def _with_trials(figure: Figure | None, numbers: Sequence[int]) -> Figure | None:
    """Add the number of the trial to each point of a slice plot, so that it can be marked.

    Args:
        figure: a plot whose points are colored by the number of a trial of the copied study.
        numbers: number of each trial in the run.
    """
    for trace in figure["data"] if figure else ():
        colors = trace.get("marker", {}).get("color")
        if isinstance(colors, list):
            trace["customdata"] = [numbers[number] for number in colors]
    return figure


def _bars(importances: Mapping[str, float]) -> Figure:
    """Return a bar chart of importances, the highest on top."""
    ranked = [*importances.items()][::-1]
    names, shares = [name for name, _ in ranked], [share for _, share in ranked]
    bars = {"type": "bar", "orientation": "h", "y": names, "x": shares}
    return {
        "label": f"Importance of each parameter: {', '.join(names[::-1])}",
        "data": [_plain({**bars, "hovertemplate": "%{y}: %{x:.2f}<extra></extra>"})],
        "layout": {"yaxis": {"type": "category"}, "height": 90 + 28 * len(ranked)},
    }


def _drawn(plot: str, study: optuna.Study, params: Sequence[str], name: str) -> Figure | None:
    """Return a figure of Optuna; None if there is nothing to draw.

    The argument ``target`` of Optuna is not used: with it, Optuna takes low values to be good.

    Args:
        plot: name of the function in `optuna.visualization`.
        study: the study to plot.
        params: names of the parameters.
        name: name of the objective.
    """
    import optuna.visualization

    in_lines = name.replace(" + ", "<br>+ ")  # a sum is too long for one line on a phone
    draw = getattr(optuna.visualization, plot)
    try:
        plotted = draw(study, params=list(params), target_name=in_lines)
    except (ValueError, RuntimeError):  # for example, all trials have the same value
        return None
    content: Figure = json.loads(plotted.to_json())
    if not content["data"]:
        return None
    for part in _REPLACED:
        content["layout"].pop(part, None)
    if len(params) == 1:  # small plots need no color bar for the trial number
        for trace in content["data"]:
            trace.get("marker", {}).update(showscale=False)
    return {**_plain(content), "label": f"{name} by {' and '.join(params)}"}


def _plain(content: Any) -> Any:
    """Return the same JSON without tags in its texts, because Plotly would make links of them.

    Choices lose the quotes that Optuna puts around them.
    """
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_plain(value) for value in content]
    if not isinstance(content, str):
        return content
    if choice := _CHOICE.fullmatch(content):
        content = choice[2]
    texts_and_tags = _OPTUNA_TAG.split(content)  # alternating
    texts_and_tags[::2] = [text.translate(_AS_TEXT) for text in texts_and_tags[::2]]
    return "".join(texts_and_tags)


def _importances(study: optuna.Study) -> dict[str, float]:
    """Return parameter -> importance, the highest first; empty if they cannot be computed."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    try:
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):  # all trials have the same score
        return {}


def _best(study: optuna.Study, count: int) -> optuna.Study:
    """Return the study, or a new one with only the best trials if it has more than ``count``."""
    if len(study.trials) <= count:
        return study
    sign = -1 if study.direction is optuna.study.StudyDirection.MAXIMIZE else 1
    best = optuna.create_study(direction=study.direction)
    best.add_trials(sorted(study.trials, key=lambda trial: sign * trial.values[0])[:count])
    return best


def worst_plotted(results: Results) -> float | None:
    """Return the score beyond which plots do not go, that of the untouched photo.

    Return None if it has none, or if no trial is better.
    """
    first, content = results.goals.first, results.baselines.get("content", {})
    if not first.known(content):
        return None
    worst = first.of(content)
    scores = [result.rung.objective for result in results.ranked()]
    has_worse = any(first.better(worst, score) for score in scores)
    return worst if has_worse and any(first.better(score, worst) for score in scores) else None


def study_for_plots(
    folder: Path, goals: Goals, worst: float | None = None
) -> tuple[optuna.Study, list[int]]:
    """Return a copy of the study in memory for Optuna's plots, and the number of each trial.

    The copy holds the trials that the search chose and that have reported, without presets. Each is
    complete, with its best report as its value. A search stops most trials early, so complete
    trials alone would be few, and only good ones. The copy has only the first of several
    objectives, because plots with a ``target`` ignore the direction of the objective.

    Args:
        folder: the run directory.
        goals: objectives and constraints of the run.
        worst: value that worse trials get; None for no limit.
    """
    numbers = []
    first = goals.first
    plotted = optuna.create_study(direction=goals.directions[0])
    for trial in load_study(folder).study.get_trials(deepcopy=False):
        record = record_of(trial)
        best = record.best_rung(goals)
        if record.searched and best is not None and record.state != "failed":
            value = first.of(best[1].scores)
            if worst is not None and first.better(worst, value):
                value = worst
            numbers.append(record.trial)
            plotted.add_trial(
                optuna.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    value=value,
                )
            )
    return plotted, numbers
