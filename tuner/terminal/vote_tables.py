"""Tables of the votes on pairs of results, for ``nst-tuner prefer``."""

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
    """Return what the votes of a run say: the order of the trials, and which metrics agree."""
    votes, voted_on = kept_votes(results.notes), _voted_on(results)
    if not votes:
        return Text("No votes yet.", style="yellow")
    estimates = strengths(list(voted_on), votes)
    return Group(
        _order_table(results, voted_on, estimates, votes),
        _agreement_table(results, voted_on, votes),
    )


def _order_table(
    results: Results,
    voted_on: Mapping[int, TrialResult],
    estimates: Strengths,
    votes: Sequence[Vote],
) -> Table:
    """Return the trials in the order of their estimated strength.

    Args:
        results: of the run.
        voted_on: trial -> its result.
        estimates: of the trials' strengths.
        votes: of the user.
    """
    name = results.goals.first.name
    table = Table(title=f"order by {len(votes)} votes", title_justify="left")
    for heading in ("", "result", "strength", "±", "won", name):
        table.add_column(heading, justify="left" if heading == "result" else "right")
    for rank, trial in enumerate(estimates.order(), start=1):
        index = estimates.trials.index(trial)
        won = sum(vote.better == trial for vote in votes)
        lost = sum(vote.worse == trial for vote in votes)
        table.add_row(
            str(rank),
            Text(voted_on[trial].record.preset or f"trial {trial}"),
            f"{estimates.theta_N[index]:+.2f}",
            f"{estimates.spread_N[index]:.2f}",
            f"{won} of {won + lost}",
            f"{results.score(voted_on[trial]):.4f}",
        )
    return table


def _agreement_table(
    results: Results, voted_on: Mapping[int, TrialResult], votes: Sequence[Vote]
) -> Group:
    """Return how many votes each metric agrees with, and the objective learned from the votes."""
    scores = _scores(results, voted_on)
    table = Table(title="agreement of the metrics with the votes", title_justify="left")
    table.add_column("metric")
    table.add_column("votes", justify="right")
    table.add_column("", justify="right")
    for name, agreement in agreements(scores, votes).items():
        style = "bold" if name in results.goals.first.weights else ""
        count = f"{agreement.agreed} of {agreement.votes}"
        table.add_row(Text(name, style=style), count, f"{agreement.share:.0%}")
    objective = learned_objective(scores, votes)
    text = " + ".join(f"{weight:g} {name}" for name, weight in objective.items())
    sentence = f"The votes are explained best by {text}." if text else "No metric explains them."
    return Group(table, Text(sentence))
