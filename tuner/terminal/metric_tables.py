"""Tables of metrics and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nst_core.metrics.registry import METRICS
from tuner.job.objective import Goals

if TYPE_CHECKING:  # imports torch, which `status` and `best` must not load
    from tuner.apply.metric_check import Ranking
    from tuner.apply.metric_disagreement import Comparison

#: Number of pairs of pictures that `disagreement_table` shows.
_SHOWN = 5

_ARROWS = {"maximize": "↑", "minimize": "↓"}


def metrics_in(scores: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the metrics that appear in any of the scores, in the order of `METRICS`."""
    names = {name for each in scores for name in each}
    return [name for name in METRICS if name in names]


def score_columns(metrics: Sequence[str], scores: Mapping[str, float]) -> list[str]:
    """Return the scores as text, one cell per metric; a dash for a missing score."""
    return [METRICS[name].text(scores[name]) if name in scores else "–" for name in metrics]


def metric_heading(metric: str, goals: Goals | None = None) -> str:
    """Return a column heading: the metric, and below it an arrow towards better scores.

    Metrics that are part of an objective of ``goals`` have a star.
    """
    objectives = goals.objectives if goals else ()
    starred = any(metric in objective.weights for objective in objectives)
    return f"{METRICS[metric].label}\n{_ARROWS[METRICS[metric].direction]}{' *' if starred else ''}"


def narrow_table(title: str | None = None, caption: str | None = None) -> Table:
    """Return an empty table so compact that all metrics fit into a terminal of 80 columns."""
    return Table(
        title=Text(title) if title else None,
        caption=caption,
        box=box.HORIZONTALS,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
        title_justify="left",
        caption_justify="left",
    )


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a table of scores, one row per image.

    Args:
        scores: image -> metric -> score.
    """
    metrics = metrics_in(scores.values())
    table = narrow_table()
    table.add_column("image", overflow="fold")
    for metric in metrics:
        table.add_column(metric_heading(metric), justify="right", no_wrap=True)
    for name, values in scores.items():
        table.add_row(Text(name), *score_columns(metrics, values))
    return table


def quality_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of a network's quality, as `nst_core.distill.quality.summary` gives it."""
    metrics = metrics_in(rows)
    table = narrow_table(
        caption="losses are relative to the optimization's; metrics compare with its pictures"
    )
    for heading in ("style", "picture"):
        table.add_column(heading, overflow="fold")
    for heading in ("loss", "ms", *map(metric_heading, metrics)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        numbers = f"{row['loss / optimization']:.2f}", f"{row['ms']:.1f}"
        names = Text(row["style"]), Text(row["picture"])
        table.add_row(*names, *numbers, *score_columns(metrics, row))
    return table


def metrics_table() -> Table:
    """Return a table of all metrics: what each one compares with, and what it means."""
    table = Table()
    for heading in ("metric", "better", "against", "unit", "meaning"):
        table.add_column(heading, overflow="fold")
    for name, metric in METRICS.items():
        better = "higher" if metric.higher_is_better else "lower"
        table.add_row(name, better, metric.against, metric.unit, metric.meaning)
    return table


def rankings_table(rankings: Sequence[Ranking], advised: str) -> RenderableType:
    """Return a table of the images from best to worst, one row per metric, and warnings below.

    The untouched content is highlighted: a good metric ranks it below copies of the reference.

    Args:
        rankings: one for each metric.
        advised: a sentence that says which metric to use; the last line.
    """
    table = narrow_table(
        caption="content: untouched; style: stretched to fit; others: copies of the reference"
    )
    table.add_column("metric")
    for rank in range(1, len(rankings[0].order) + 1):
        table.add_column(str(rank), no_wrap=True)
    for ranking in rankings:
        cells = [_rank_cell(ranking, name) for name in ranking.order]
        table.add_row(metric_heading(ranking.metric), *cells, end_section=True)
    style = {True: "bold red", False: "yellow"}
    lines = [Text(r.warning, style[r.prefers_doing_nothing]) for r in rankings if r.warning]
    if suitable := [ranking.metric for ranking in rankings if not ranking.warning]:
        text = f"{', '.join(suitable)}: every copy of the reference scores better than the content."
        lines.append(Text(text, style="green"))
    return Group(table, *lines, Text(advised, style="bold"))


def _rank_cell(ranking: Ranking, name: str) -> Text:
    label = name.removesuffix("_reference")
    score = METRICS[ranking.metric].text(ranking.scores[name])
    return Text(f"{label}\n{score}", style="bold reverse" if name == "content" else "")


def disagreement_table(comparison: Comparison) -> RenderableType:
    """Return the pairs of pictures that two metrics order differently, the most certain first."""
    metrics, disagreements = comparison.metrics, comparison.disagreements
    both = " and ".join(metrics)
    if not disagreements:
        return Text(f"{both} order the {comparison.pictures} pictures alike.", style="green")
    shown = disagreements[:_SHOWN]
    line = f"{both} order {len(disagreements)} of {comparison.pairs} pairs of pictures differently."
    most = f" The {len(shown)} on which both are most certain:" if disagreements[_SHOWN:] else ""
    table = narrow_table()
    for metric in metrics:
        table.add_column(f"{metric}\nprefers", overflow="fold")
    for metric in metrics:
        table.add_column(f"{metric}\nof the two", justify="right", no_wrap=True)
    for each in shown:
        names = [each.preferred[metric] for metric in metrics]
        cells = [
            _both_scores(metric, *(each.scores[name][metric] for name in names))
            for metric in metrics
        ]
        table.add_row(*(Text(name.removesuffix("_reference")) for name in names), *cells)
    return Group(Text(line + most, style="bold"), table)


def _both_scores(metric: str, one: float, other: float) -> str:
    one_text, other_text = (METRICS[metric].text(score) for score in (one, other))
    return f"{one_text} {'<' if one < other else '>'} {other_text}"
