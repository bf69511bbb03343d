"""Votes: which of two results a person found better, kept in the study of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tuner.results.results import Results
from tuner.results.trial_result import TrialResult

#: Key of the votes among the notes of a study.
NOTE = "votes"

#: Default number of results that are compared.
COUNT = 8


class Vote(NamedTuple):
    """A person's choice between two trials.

    Attributes:
        better: number of the trial that was chosen.
        worse: number of the other trial.
        pair: number of the pair that both were shown on.
    """

    better: int
    worse: int
    pair: int = 0


def stored_votes(notes: Mapping[str, Any]) -> list[Vote]:
    """Return the votes in the notes of a study, the oldest first."""
    return [Vote(**vote) for vote in notes.get(NOTE, [])]


def candidates(results: Results, count: int = COUNT) -> Sequence[TrialResult]:
    """Return the results to compare: the best ``count``, the best preset among them."""
    ranked = results.ranked()
    chosen = list(ranked[:count])
    preset = results.best_preset()
    if preset and preset not in chosen:
        chosen[-1:] = [preset]
    return chosen
