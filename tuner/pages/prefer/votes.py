"""Votes: which of two results a person found better, kept in the study of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tuner.results.results import Results
from tuner.results.trial_result import TrialResult

#: Where the study keeps them.
NOTE = "votes"

#: Finalists that are compared, if nobody says how many.
COUNT = 8


class Vote(NamedTuple):
    """A person's choice between two trials on one pair of the job."""

    better: int
    worse: int
    pair: int = 0


def kept_votes(notes: Mapping[str, Any]) -> list[Vote]:
    """The votes of a run."""
    return [Vote(**vote) for vote in notes.get(NOTE, [])]


def finalists(results: Results, count: int = COUNT) -> Sequence[TrialResult]:
    """Who is compared: the best by the run's objective, and the best preset."""
    ranked = results.ranked()
    chosen = list(ranked[:count])
    preset = results.best_preset()
    if preset and preset not in chosen:
        chosen[-1:] = [preset]
    return chosen
