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

#: Maximum number of trials in the parallel coordinate plot.
PARALLEL_TRIALS = 250

#: Parts of Optuna's layout that the page replaces by its own.
_REPLACED = ("template", "title", "width", "plot_bgcolor", "paper_bgcolor")

#: Tags that Optuna itself writes.
_OPTUNA_TAG = re.compile(r"(</?(?:br|extra)>)")
_AS_TEXT = str.maketrans("<>", "‹›")

Figure = dict[str, Any]
Group = dict[str, Any]


def report_figures(results: Results) -> list[Group]:
    """Return the groups of figures in the order of the page, without figures that have no data."""
    study = study_for_plots(results.run.path, results.goals)
    if len(study.trials) < MIN_TRIALS:
        needed = f"Plots of parameters need at least {MIN_TRIALS} trials with a score."
        return [_group("Too few trials", needed, [])] if study.trials else []
    name = results.goals.first.name
    with warnings.catch_warnings():
        # Optuna warns about experimental features and about conditional parameters.
        warnings.simplefilter("ignore")
        importances = _importances(study)
        ranked = list(importances) or sorted({p for trial in study.trials for p in trial.params})
        best = _best(study, PARALLEL_TRIALS)
        note = "" if best is study else f" Only the best {PARALLEL_TRIALS} are shown."
        return [
            _group(
                "Parameter importances",
                "How much each parameter decides whether a trial is among the best (PED-ANOVA).",
                [_bars(importances)] if importances else [],
            ),
            _group(
                "One parameter",
                f"{name} by one parameter. Each point is a trial, later ones in a stronger color.",
                [_drawn("plot_slice", study, [param], name) for param in ranked[:SLICE_PARAMS]],
                size="small",
            ),
            _group(
                "Two parameters",
                f"{name} by two of the most important parameters.",
                [
                    _drawn("plot_contour", study, pair, name)
                    for pair in combinations(ranked[:CONTOUR_PARAMS], 2)
                ],
                size="small",
            ),
            _group(
                "All parameters",
                f"Each line is a trial.{note}",
                [_drawn("plot_parallel_coordinate", best, ranked[:PARALLEL_PARAMS], name)],
            ),
        ]


def _group(
    title: str, help_: str, figures: Sequence[Figure | None], *, size: str = "full"
) -> Group:
    """Return a group of figures of the same size: ``full`` width or ``small``."""
    drawn = [figure for figure in figures if figure]
    return {"title": title, "help": help_, "size": size, "figures": drawn}


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
    """Return the same JSON without tags in its texts, because Plotly would make links of them."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_plain(value) for value in content]
    if not isinstance(content, str):
        return content
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


def study_for_plots(folder: Path, goals: Goals) -> optuna.Study:
    """Return a copy of the study in memory for Optuna's plots.

    The copy holds the trials that the search chose and that have reported, without presets. Each is
    complete, with its best report as its value. A search stops most trials early, so complete
    trials alone would be few, and only good ones. The copy has only the first of several
    objectives, because plots with a ``target`` ignore the direction of the objective.

    Args:
        folder: the run directory.
        goals: objectives and constraints of the run.
    """
    plotted = optuna.create_study(direction=goals.directions[0])
    for trial in load_study(folder).study.get_trials(deepcopy=False):
        record = record_of(trial)
        best = record.best_rung(goals)
        if record.searched and best is not None and record.state != "failed":
            plotted.add_trial(
                optuna.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    value=goals.first.of(best[1].scores),
                )
            )
    return plotted
