"""Outcome: what the votes say, as JSON, for tables, and as a job that searches by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nst_core.errors import InputError
from nst_core.files import write_atomic, writing
from nst_core.images.encode import MADE_BY
from tuner.job.spec import JobSpec
from tuner.pages.prefer.agreement import Agreement, PairScores, agreements, learned_objective
from tuner.pages.prefer.strengths import Strengths, strengths
from tuner.pages.prefer.votes import Vote, stored_votes
from tuner.results.results import Results
from tuner.results.trial_result import TrialResult

#: Minimum number of votes for a learned objective; fewer would make it a matter of chance.
MIN_VOTES = 10


@dataclass(frozen=True)
class Outcome:
    """What the votes on the results of a run say.

    Attributes:
        results: results of the run.
    """

    results: Results

    @cached_property
    def votes(self) -> list[Vote]:
        """All votes, the oldest first."""
        return stored_votes(self.results.notes)

    @cached_property
    def trials(self) -> dict[int, TrialResult]:
        """Number of a trial -> its result, for trials with votes, the best by objective first."""
        voted = {trial for vote in self.votes for trial in (vote.better, vote.worse)}
        return {
            result.record.trial: result
            for result in self.results.ranked()
            if result.record.trial in voted
        }

    @cached_property
    def strengths(self) -> Strengths:
        """Strengths of the trials; there must be votes."""
        return strengths(list(self.trials), self.votes)

    @cached_property
    def agreement(self) -> dict[str, Agreement]:
        """Metric -> its agreement with the votes, the highest first."""
        return agreements(self._scores, self.votes)

    @cached_property
    def objective(self) -> dict[str, float]:
        """Metric -> weight of the sum that explains the votes best; empty if none does."""
        return learned_objective(self._scores, self.votes)

    @property
    def _scores(self) -> PairScores:
        pairs = len(self.results.job.pairs)
        return {trial: result.rung.pair_scores[:pairs] for trial, result in self.trials.items()}


def outcome_json(results: Results) -> dict[str, Any]:
    """Return ranking, agreement of metrics and learned objective as JSON."""
    outcome = Outcome(results)
    if not outcome.votes:
        return {"votes": 0, "order": [], "agreement": {}, "objective": {}}
    order = []
    for trial in outcome.strengths.order():
        result, (strength, spread) = outcome.trials[trial], outcome.strengths.of(trial)
        order.append(
            {
                "trial": trial,
                "preset": result.record.preset,
                "strength": round(strength, 4),
                "spread": round(spread, 4),
                "objective": results.score(result),
            }
        )
    return {
        "votes": len(outcome.votes),
        "order": order,
        "agreement": {
            name: {**agreement._asdict(), "share": round(agreement.share, 4)}
            for name, agreement in outcome.agreement.items()
        },
        "objective": outcome.objective,
    }


def write_job(results: Results, path: Path) -> Mapping[str, float]:
    """Write a job that continues the search with the learned objective, and return this objective.

    Raises:
        InputError: there are too few votes, no metric explains them, or the file cannot be written.
    """
    outcome, folder = Outcome(results), results.run.path
    if len(outcome.votes) < MIN_VOTES:
        raise InputError(
            f"{folder}: {len(outcome.votes)} votes are too few to learn an objective from; expected"
            f" at least {MIN_VOTES}: run `nst-tuner prefer {folder}` and vote on more results"
        )
    if not outcome.objective:
        raise InputError(
            f"{folder}: no metric agrees with the votes, so there is no objective that follows from"
            f" them; save the result that you like with `nst-tuner export {folder} --trial N`"
        )
    with writing(path):
        text = f"# {MADE_BY} prefer\n{_next_job(results, outcome.objective).to_yaml()}"
        write_atomic(path, text.encode())
    return outcome.objective


def _next_job(results: Results, objective: Mapping[str, float]) -> JobSpec:
    """Return the job of the run with another objective and with the run as its warm start."""
    job, base = results.job, results.run.path.resolve()
    pairs, holdout = (
        [pair.placed(lambda file, _: str(base / file)) for pair in pairs]
        for pairs in (job.pairs, job.holdout)
    )
    changed = job.model_copy(
        update={
            "name": f"{job.name}-preferred"[:100],
            "pairs": pairs,
            "holdout": holdout,
            "space": job.space_placed(lambda file: str(base / file)),
            "objective": dict(objective) if len(objective) > 1 else next(iter(objective)),
            # Storage and study belong to the old run; its target is in units of its objective.
            "storage": None,
            "search": job.search.model_copy(
                update={"warm_start": [str(base)], "replay": None, "study": None}
            ),
            "budget": job.budget.model_copy(update={"target": None}),
        }
    )
    return JobSpec.model_validate(changed.model_dump(by_alias=True))
