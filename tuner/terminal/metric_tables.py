"""Tables of metrics and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nst_core.metrics.registry import METRICS
from tuner.job.objective import Goals

if TYPE_CHECKING:  # it brings torch, which `status` and `best` must not load
    from tuner.apply.metric_check import Ranking

_FORMATS = {
    **{"lpips": "{:.4f}", "dists": "{:.4f}", "ssim": "{:.3f}", "psnr": "{:.2f}"},
    **{"rmse": "{:.4f}", "color": "{:.2f}", "edges": "{:.3f}"},
}
_ARROWS = {"maximize": "↑", "minimize": "↓"}


def metrics_in(scores: Iterable[Mapping[str, float]]) -> list[str]:
    """The metrics that any of the scores has, in the order of `METRICS`."""
    found = {name for each in scores for name in each}
    return [name for name in METRICS if name in found]


def score_columns(metrics: Sequence[str], scores: Mapping[str, float]) -> list[str]:
    """Scores as text, a dash where there is none."""
    return [_FORMATS[name].format(scores[name]) if name in scores else "–" for name in metrics]


def metric_heading(metric: str, goals: Goals | None = None) -> str:
    """A metric's name and below it the direction in which it improves; objectives starred."""
    objectives = goals.objectives if goals else ()
    starred = any(metric in objective.weights for objective in objectives)
    return f"{metric}\n{_ARROWS[METRICS[metric].direction]}{' *' if starred else ''}"


def narrow_table(title: str | None = None, caption: str | None = None) -> Table:
    """A table that has room for every metric in a terminal of 80 columns."""
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
    """Images by metric."""
    metrics = metrics_in(scores.values())
    table = narrow_table()
    table.add_column("image", overflow="fold")
    for metric in metrics:
        table.add_column(metric_heading(metric), justify="right", no_wrap=True)
    for name, values in scores.items():
        table.add_row(Text(name), *score_columns(metrics, values))
    return table


def metrics_table() -> Table:
    """Every metric, what it compares with and what it means."""
    table = Table()
    for heading in ("metric", "better", "against", "unit", "meaning"):
        table.add_column(heading, overflow="fold")
    for name, metric in METRICS.items():
        better = "higher" if metric.higher_is_better else "lower"
        table.add_row(name, better, metric.against, metric.unit, metric.meaning)
    return table


def rankings_table(rankings: Sequence[Ranking], advised: str) -> RenderableType:
    """By metric, the images from best to worst; the untouched content stands out.

    Args:
        rankings: of all metrics.
        advised: which of them to use, in a sentence, which comes last.
    """
    table = narrow_table(
        caption="content: untouched; style: stretched; the others: copies of the reference"
    )
    table.add_column("metric")
    for place in range(1, len(rankings[0].order) + 1):
        table.add_column(str(place), no_wrap=True)
    for ranking in rankings:
        cells = [_rank_cell(ranking, name) for name in ranking.order]
        table.add_row(metric_heading(ranking.metric), *cells, end_section=True)
    style = {True: "bold red", False: "yellow"}
    lines = [Text(r.warning, style[r.prefers_doing_nothing]) for r in rankings if r.warning]
    fine = [ranking.metric for ranking in rankings if not ranking.warning]
    if fine:
        lines.append(Text(f"{', '.join(fine)}: every copy beats the content.", style="green"))
    return Group(table, *lines, Text(advised, style="bold"))


def _rank_cell(ranking: Ranking, name: str) -> Text:
    label = name.removesuffix("_reference")
    score = _FORMATS[ranking.metric].format(ranking.scores[name])
    return Text(f"{label}\n{score}", style="bold reverse" if name == "content" else "")
