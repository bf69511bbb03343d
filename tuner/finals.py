"""Who is in the finals: the best trials, each to be run again with several seeds."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.objective import Goals
from tuner.records import TrialRecord


def missing_finals(
    records: Sequence[TrialRecord], goals: Goals, count: int, seeds: int
) -> list[tuple[int, int]]:
    """(trial, seed) of every run of a finalist that is not there yet, the best trial first.

    Args:
        records: all trials; presets may be finalists, failed trials not.
        goals: what they are ranked by.
        count: finalists.
        seeds: runs of each.
    """
    entered = [
        (record.trial, best[1])
        for record in records
        if record.final_of is None
        and record.state in ("complete", "pruned")
        and (best := record.best_rung(goals))
    ]
    keys = goals.order([goals.values(rung.scores) for _, rung in entered])
    ranked = sorted(zip(keys, [trial for trial, _ in entered], strict=True))
    there = {(r.final_of, r.config["seed"]) for r in records if r.final_of is not None}
    wanted = [(trial, seed) for _, trial in ranked[:count] for seed in range(seeds)]
    return [final for final in wanted if final not in there]
