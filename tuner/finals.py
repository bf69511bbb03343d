"""The finals: who is in them, to be run again with several seeds, and when each run reports."""

from __future__ import annotations

from collections.abc import Sequence

from nst_core.config import StyleConfig
from tuner.objective import Goals
from tuner.ranking import ranking
from tuner.records import TrialRecord, values_beside

#: Images of the first run of a finalist, which show how its result comes to be.
FRAMES = 8
#: Of every run of the search.
SEARCH_SEED = StyleConfig().seed


def final_rungs(config: StyleConfig) -> tuple[int, ...]:
    """Steps at which a final reports: at its end; with the first seed ever further apart as well.

    Most happens in the first steps, so frame k of n is taken after ``steps * (k / n) ** 2``.
    """
    frames = FRAMES if config.seed == final_seeds(1)[0] else 1
    shares = ((k / frames) ** 2 for k in range(1, frames + 1))
    return tuple(sorted({max(1, round(config.steps * share)) for share in shares}))


def final_seeds(count: int) -> range:
    """The seeds of a finalist's runs: none is that of the search, by whose luck it was chosen.

    A start without noise is run as often: how its run rounds is luck, too (`starts.DISTURBANCE`).
    """
    return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + count)


def final_config(record: TrialRecord, goals: Goals, seed: int) -> StyleConfig:
    """What a finalist runs again: to its best step, with another seed."""
    best = record.best_rung(goals)
    assert best is not None
    config = StyleConfig.from_dict(record.config, source=f"trial {record.trial}")
    return config.stopped_at(best[0]).replace(seed=seed)


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
        (record, *best)
        for record in records
        if record.final_of is None
        and record.state in ("complete", "pruned")
        and (best := record.best_rung(goals))
    ]
    values = [goals.values(rung.scores) for _, _, rung in entered]
    beside = values_beside(((record, steps) for record, steps, _ in entered), goals)
    # The ends of a front are equal by the order; the best by the first objective goes first then.
    # As `Results.ranked`: of equals the one with the fewest steps comes first, and what any other
    # report beats in everything is not on the front.
    ranked = sorted(
        zip(ranking([*values, *beside])[: len(values)], values, entered, strict=True),
        key=lambda x: (x[0], x[1], x[2][1], x[2][0].trial),
    )
    there = {(r.final_of, r.config["seed"]) for r in records if r.final_of is not None}
    # Older versions ran a finalist once, with the search's seed, where its start had no noise.
    wanted = [
        (record.trial, seed)
        for *_, (record, _, _) in ranked[:count]
        if (record.trial, SEARCH_SEED) not in there
        for seed in final_seeds(seeds)
    ]
    return [final for final in wanted if final not in there]
