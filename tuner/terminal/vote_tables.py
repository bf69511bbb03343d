"""Tables of the votes on pairs of results, for ``nst-tuner prefer``."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.pages.prefer.outcome import Outcome
from tuner.results.results import Results


def outcome_table(results: Results) -> RenderableType:
    """Return the ranking by votes and the agreement of metrics as tables."""
    outcome = Outcome(results)
    if not outcome.votes:
        return Text("No votes yet.", style="yellow")
    return Group(_order_table(outcome), _agreement_table(outcome))


def _order_table(outcome: Outcome) -> Table:
    results, votes = outcome.results, outcome.votes
    table = Table(title=f"by {len(votes)} votes", title_justify="left")
    for heading in ("", "result", "strength", "±", "won", results.goals.first.name):
        table.add_column(heading, justify="left" if heading == "result" else "right")
    for rank, trial in enumerate(outcome.strengths.order(), start=1):
        strength, spread = outcome.strengths.of(trial)
        won = sum(vote.better == trial for vote in votes)
        lost = sum(vote.worse == trial for vote in votes)
        table.add_row(
            str(rank),
            Text(outcome.trials[trial].name),
            f"{strength:+.2f}",
            f"{spread:.2f}",
            f"{won} of {won + lost}",
            f"{results.score(outcome.trials[trial]):.4f}",
        )
    return table


def _agreement_table(outcome: Outcome) -> Group:
    table = Table(title="agreement of metrics with the votes", title_justify="left")
    table.add_column("metric")
    table.add_column("votes", justify="right")
    table.add_column("", justify="right")
    for name, agreement in outcome.agreement.items():
        style = "bold" if name in outcome.results.goals.first.weights else ""
        votes = f"{agreement.agreed} of {agreement.votes}"
        table.add_row(Text(name, style=style), votes, f"{agreement.share:.0%}")
    weighted = " + ".join(f"{weight:g} {name}" for name, weight in outcome.objective.items())
    if not weighted:
        return Group(table, Text("No metric explains the votes."))
    return Group(table, Text(f"The objective that explains the votes best: {weighted}"))
