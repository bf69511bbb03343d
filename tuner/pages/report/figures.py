"""What Optuna draws of a run's settings, as Plotly's JSON."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from tuner.job.objective import Goals
from tuner.results.results import Results
from tuner.study.storage import load_study
from tuner.study.validation import record_of

if TYPE_CHECKING:
    import optuna

#: Settings in one figure, the most important ones: more cannot be read.
IN_SLICES, IN_CONTOURS, IN_PARALLEL = 9, 3, 7

#: With fewer trials an importance is a guess.
FEWEST_TRIALS = 10

#: Trials drawn as lines.
IN_LINES = 250

#: What a figure of Optuna's brings along that the page has its own of.
_FIXED = ("template", "title", "width", "plot_bgcolor", "paper_bgcolor")

#: Tags that Optuna writes itself.
_OWN_TAG = re.compile(r"(</?(?:br|extra)>)")
_AS_TEXT = str.maketrans("<>", "‹›")

Figure = dict[str, Any]
Group = dict[str, Any]


def report_figures(results: Results) -> list[Group]:
    """Groups of figures in the page's order; a figure that cannot be drawn is left out."""
    study = study_for_plots(results.run.path, results.goals)
    if len(study.trials) < FEWEST_TRIALS:
        few = f"Plots of settings need {FEWEST_TRIALS} trials."
        return [_group("Too few trials", few, [])] if study.trials else []
    name = results.goals.first.name
    with warnings.catch_warnings():
        # Optuna warns of its own experiments, and of settings that only some trials have.
        warnings.simplefilter("ignore")
        importances = _importances(study)
        ranked = list(importances) or sorted({p for trial in study.trials for p in trial.params})
        best = _best(study, IN_LINES)
        some = f" Of {len(study.trials)} trials the best {IN_LINES}." if best is not study else ""
        return [
            _group(
                "What matters",
                "How much each setting decides whether a trial is among the best (PED-ANOVA).",
                [_bars(importances)] if importances else [],
            ),
            _group(
                "Setting by setting",
                f"Each point is a trial, later ones in stronger colour: {name} by one setting.",
                [_drawn("plot_slice", study, [param], name) for param in ranked[:IN_SLICES]],
                size="small",
            ),
            _group(
                "Two settings together",
                f"{name} over two settings at a time, of those that matter most.",
                [
                    _drawn("plot_contour", study, pair, name)
                    for pair in combinations(ranked[:IN_CONTOURS], 2)
                ],
                size="small",
            ),
            _group(
                "All settings at once",
                f"Each line is a trial.{some}",
                [_drawn("plot_parallel_coordinate", best, ranked[:IN_PARALLEL], name)],
            ),
        ]


def _group(
    title: str, help_: str, figures: Sequence[Figure | None], *, size: str = "full"
) -> Group:
    drawn = [figure for figure in figures if figure]
    return {"title": title, "help": help_, "size": size, "figures": drawn}


def _bars(importances: Mapping[str, float]) -> Figure:
    ranked = [*importances.items()][::-1]
    names, shares = [name for name, _ in ranked], [share for _, share in ranked]
    bars = {"type": "bar", "orientation": "h", "y": names, "x": shares}
    return {
        "label": f"How much each setting matters: {', '.join(names[::-1])}",
        "data": [_plain({**bars, "hovertemplate": "%{y}: %{x:.2f}<extra></extra>"})],
        "layout": {"yaxis": {"type": "category"}, "height": 90 + 28 * len(ranked)},
    }


def _drawn(plot: str, study: optuna.Study, params: Sequence[str], name: str) -> Figure | None:
    """One of Optuna's figures; None where there is nothing to draw.

    It gets no ``target``: Optuna takes low values of one to be the good ones.
    """
    import optuna.visualization

    on_lines = name.replace(" + ", "<br>+ ")  # a phone has no room for a sum on one
    draw = getattr(optuna.visualization, plot)
    try:
        plotted = draw(study, params=list(params), target_name=on_lines)
    except (ValueError, RuntimeError):  # such as all trials having the same setting
        return None
    content: Figure = json.loads(plotted.to_json())
    if not content["data"]:
        return None
    for fixed in _FIXED:
        content["layout"].pop(fixed, None)
    if len(params) == 1:  # the colours that tell a trial's number need no bar in every small plot
        for trace in content["data"]:
            trace.get("marker", {}).update(showscale=False)
    return {**_plain(content), "label": f"{name} by {' and '.join(params)}"}


def _plain(content: Any) -> Any:
    """The same JSON, whose texts Plotly shows as they are: it reads tags, links among them."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_plain(value) for value in content]
    if not isinstance(content, str):
        return content
    texts_and_tags = _OWN_TAG.split(content)  # in turn
    texts_and_tags[::2] = [text.translate(_AS_TEXT) for text in texts_and_tags[::2]]
    return "".join(texts_and_tags)


def _importances(study: optuna.Study) -> dict[str, float]:
    """Setting -> its importance, the highest first."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    try:
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):  # all the same
        return {}


def _best(study: optuna.Study, count: int) -> optuna.Study:
    """The study, or one of its best trials alone."""
    import optuna

    if len(study.trials) <= count:
        return study
    sign = -1 if study.direction is optuna.study.StudyDirection.MAXIMIZE else 1
    best = optuna.create_study(direction=study.direction)
    best.add_trials(sorted(study.trials, key=lambda trial: sign * trial.values[0])[:count])
    return best


def study_for_plots(folder: Path, goals: Goals) -> optuna.Study:
    """A copy in memory for Optuna's plots, of the trials that the search chose and that reported.

    In it each is complete with its best report: in a search that stops most trials early, those
    that ran to their end are too few to plot anything by, and the best only. Of several objectives
    it has the first, with its direction, which Optuna forgets where a plot is told what to draw.
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
