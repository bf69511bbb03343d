"""What votes come to: tables, JSON, and a job that goes on by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_core.errors import InputError
from nst_core.files import write_atomic, writing
from nst_core.images.encode import MADE_BY
from search_spaces import CATALOGUE
from tuner.job.spec import JobSpec
from tuner.pages.prefer.agreement import agreements, learned_objective
from tuner.pages.prefer.strengths import strengths
from tuner.pages.prefer.votes import kept_votes
from tuner.results.results import Results
from tuner.results.trial_result import TrialResult
from tuner.study.records import Scores

#: With fewer votes a learned objective would be made of chance.
FEWEST_VOTES = 10


def outcome_json(results: Results) -> dict[str, Any]:
    """Order, agreement and learned objective."""
    votes, found = kept_votes(results.notes), _voted_on(results)
    if not votes:
        return {"votes": 0, "order": [], "agreement": {}, "objective": {}}
    known = strengths(list(found), votes)
    return {
        "votes": len(votes),
        "order": [
            {
                "trial": trial,
                "preset": found[trial].record.preset,
                "strength": round(float(known.theta_N[known.trials.index(trial)]), 4),
                "spread": round(float(known.spread_N[known.trials.index(trial)]), 4),
                "objective": results.score(found[trial]),
            }
            for trial in known.order()
        ],
        "agreement": {
            name: {"agreed": one.agreed, "votes": one.votes, "share": round(one.share, 4)}
            for name, one in agreements(_scores(results, found), votes).items()
        },
        "objective": learned_objective(_scores(results, found), votes),
    }


def write_job(results: Results, path: Path) -> Mapping[str, float]:
    """Write a job that searches on by what the votes say; returns its objective.

    Raises:
        InputError: there are too few votes, or no metric explains them.
    """
    votes = kept_votes(results.notes)
    if len(votes) < FEWEST_VOTES:
        raise InputError(
            f"{results.run.path}: {len(votes)} votes are too few to search by; expected at least"
            f" {FEWEST_VOTES}, `nst-tuner prefer {results.run.path}` asks for more"
        )
    objective = learned_objective(_scores(results, _voted_on(results)), votes)
    if not objective:
        raise InputError(
            f"{results.run.path}: no metric agrees with the votes, so no objective follows from"
            " them; choose by eye with `nst-tuner export DIR --trial N`"
        )
    with writing(path):
        text = f"# {MADE_BY} prefer\n{_next_job(results, objective).to_yaml()}"
        write_atomic(path, text.encode())
    return objective


def _next_job(results: Results, objective: Mapping[str, float]) -> JobSpec:
    """The run's job with another objective, and the run as its experience."""
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
            "space": job.space if job.space in CATALOGUE else str(base / job.space),
            "objective": dict(objective) if len(objective) > 1 else next(iter(objective)),
            # What belongs to the run itself, or is in units of its objective.
            "storage": None,
            "search": job.search.model_copy(
                update={"warm_start": [str(base)], "replay": None, "study": None}
            ),
            "budget": job.budget.model_copy(update={"target": None}),
        }
    )
    return JobSpec.model_validate(changed.model_dump(by_alias=True))


def _voted_on(results: Results) -> dict[int, TrialResult]:
    """Trial -> what it reached, of those in a vote, best first."""
    votes = kept_votes(results.notes)
    named = {trial for vote in votes for trial in (vote.better, vote.worse)}
    return {f.record.trial: f for f in results.ranked() if f.record.trial in named}


def _scores(results: Results, found: Mapping[int, TrialResult]) -> dict[int, Sequence[Scores]]:
    """What each reached on each pair of the search."""
    pairs = len(results.job.pairs)
    return {trial: one.rung.pair_scores[:pairs] for trial, one in found.items()}
