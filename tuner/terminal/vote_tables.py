"""Tables of the votes on pairs of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.pages.prefer.agreement import agreements, learned_objective
from tuner.pages.prefer.outcome import _scores, _voted_on
from tuner.pages.prefer.strengths import Strengths, strengths
from tuner.pages.prefer.votes import Vote, kept_votes
from tuner.results.results import Results
from tuner.results.trial_result import TrialResult


def outcome_table(results: Results) -> RenderableType:
    """The same for people."""
    votes, found = kept_votes(results.notes), _voted_on(results)
    if not votes:
        return Text("No votes yet.", style="yellow")
    known = strengths(list(found), votes)
    return Group(
        _order_table(results, found, known, votes), _agreement_table(results, found, votes)
    )


def _order_table(
    results: Results, found: Mapping[int, TrialResult], known: Strengths, votes: Sequence[Vote]
) -> Table:
    name = results.goals.first.name
    table = Table(title=f"by {len(votes)} votes", title_justify="left")
    for heading in ("", "result", "strength", "±", "won", name):
        table.add_column(heading, justify="left" if heading == "result" else "right")
    for rank, trial in enumerate(known.order(), start=1):
        at = known.trials.index(trial)
        won = sum(vote.better == trial for vote in votes)
        lost = sum(vote.worse == trial for vote in votes)
        table.add_row(
            str(rank),
            Text(found[trial].record.preset or f"trial {trial}"),
            f"{known.theta_N[at]:+.2f}",
            f"{known.spread_N[at]:.2f}",
            f"{won} of {won + lost}",
            f"{results.score(found[trial]):.4f}",
        )
    return table


def _agreement_table(
    results: Results, found: Mapping[int, TrialResult], votes: Sequence[Vote]
) -> Group:
    table = Table(title="how far metrics agree", title_justify="left")
    table.add_column("metric")
    table.add_column("votes", justify="right")
    table.add_column("", justify="right")
    for name, one in agreements(_scores(results, found), votes).items():
        style = "bold" if name in results.goals.first.weights else ""
        table.add_row(Text(name, style=style), f"{one.agreed} of {one.votes}", f"{one.share:.0%}")
    learned = learned_objective(_scores(results, found), votes)
    text = " + ".join(f"{weight:g} {name}" for name, weight in learned.items())
    said = f"The votes are explained best by {text}." if text else "No metric explains the votes."
    return Group(table, Text(said))
