"""What a prior of a person saves if it is right, and costs if it is wrong.

Command: ``python -m benchmarks.priors``. It compares strengths of a prior
    (`tuner.sampling.user_prior.STRENGTH`). Searches on recorded curves decide as in a run. A search
    without a prior has the steps of ten full trials; its score is the goal of the others, also of
    another search without a prior, with another seed. A right
    prior names the balance and the learning rate of the best recorded configuration; a wrong one
    names values in the other half of their ranges, near the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer

from benchmarks.support.common import Goal, JsonOption, QuickOption, Row, Section, publish, run
from benchmarks.support.curves import COMMITTED, load_curves
from benchmarks.support.simulated_searches import EARLY, WORKERS, Recorded, curves_at, job_of, ours
from tuner.job.spec import SpaceSpec
from tuner.sampling import user_prior
from tuner.sampling.encoding import shares_of, value_at

SEEDS, QUICK_SEEDS = 20, 1
STRENGTHS = (3.0, user_prior.STRENGTH, 30.0)
#: Parameters that a person has an opinion about.
NAMED = ("log10_style_content", "lr")
#: Share of a range at which a wrong prior has its value.
WRONG = 0.05
#: A search that does not reach the goal by then counts with these steps.
MOST_STEPS = 2 * EARLY
#: Largest ratio of steps with a wrong prior that is acceptable.
WRONG_AT_MOST = 4 / 3

#: (kind of prior, word, strength)
Way = tuple[str, str, float]
#: Another search without a prior, whose seeds are larger by `OTHER_SEEDS`.
NONE: Way = ("none", "", 0.0)
OTHER_SEEDS = 1000


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = COMMITTED,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare right and wrong priors of several strengths with no prior."""
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    names = list(load_curves(curves).pairs)
    names = names[:2] if quick else names
    ways = ways_of(quick=quick)
    cases = [(name, seed) for seed in range(count) for name in names]
    with ProcessPoolExecutor() as pool:
        ratios = list(pool.map(partial(step_ratios, curves, ways), *zip(*cases, strict=True)))
    rows = [way_row(way, [ratio[way] for ratio in ratios]) for way in ways]
    for row in rows:  # the goal is what a lucky search had; so another one without a prior is 1
        row["share of none"] = row["median"] / rows[0]["median"]
    publish(
        "Priors of people",
        f"{len(names)} pairs x {count} seeds, {WORKERS} workers. Steps to the score that a search"
        f" without a prior has after {EARLY} steps, as a share of its steps to this score; at most"
        f" {MOST_STEPS} steps are counted.",
        [Section(title="Right and wrong priors", rows=rows)],
        goals=[
            Goal(name=f"{kind}, {word}", value=value, goal=bound, at_most=True)
            for kind, bound in (("right", 1.0), ("wrong", WRONG_AT_MOST))
            for (of, word, strength), value in zip(
                ways, (row["share of none"] for row in rows), strict=True
            )
            if of == kind and strength == user_prior.STRENGTH
        ],
        json_file=json_file,
    )


def ways_of(*, quick: bool) -> list[Way]:
    """Return the priors to compare."""
    kinds = ("right", "wrong")
    if quick:
        return [NONE, *((kind, "likely", user_prior.STRENGTH) for kind in kinds)]
    ways: list[Way] = [NONE]
    ways += [(kind, "likely", strength) for strength in STRENGTHS for kind in kinds]
    return ways + [(k, word, user_prior.STRENGTH) for word in ("maybe", "sure") for k in kinds]


def step_ratios(curves: Path, ways: Sequence[Way], pair: str, seed: int) -> dict[Way, float]:
    """Return, for each prior, the steps to the goal as a share of those without a prior."""
    scores = Recorded(curves_at(curves), pair)
    plain = ours(job_of(seed=seed, steps=EARLY), scores)
    goal = plain.best_by(EARLY)
    ratios = {}
    for way in ways:
        kind, word, strength = way
        job = job_of(seed=seed, steps=MOST_STEPS)
        if way == NONE:
            job = job_of(seed=seed + OTHER_SEEDS, steps=MOST_STEPS)
        else:
            space = SpaceSpec(base="gram", prior=dict(prior_of(scores, kind, word)))
            job = job.model_copy(update={"space": space})
        budget = job.budget.model_copy(update={"target": goal})
        job = job.model_copy(update={"budget": budget})
        with patch.object(user_prior, "STRENGTH", strength):
            steps = min(ours(job, scores).steps_until(goal), MOST_STEPS)
        ratios[way] = steps / plain.steps_until(goal)
    return ratios


def prior_of(scores: Recorded, kind: str, word: str) -> Mapping[str, Any]:
    """Return a right or wrong prior for a pair, as a job states it."""
    curves = scores.curves
    loss_NS = curves.pairs[scores.pair].score_NSM[:, :, curves.metrics.index("lpips")]
    best = curves.params[int(np.nanmin(loss_NS, axis=1).argmin())]
    prior = {}
    for name in NAMED:
        share = shares_of(scores.space, best)[name]
        if kind == "wrong":
            share = 1 - WRONG if share < 0.5 else WRONG
        prior[name] = [value_at(scores.space.params[name], share), word]
    return prior


def way_row(way: Way, ratios: Sequence[float]) -> Row:
    """Return the row of one kind of prior."""
    kind, word, strength = way
    low, high = np.quantile(ratios, [0.25, 0.75])
    return {
        "prior": kind,
        "word": word,
        "strength": strength,
        "median": median(ratios),
        "lower quartile": float(low),
        "upper quartile": float(high),
    }


if __name__ == "__main__":
    run(main)
