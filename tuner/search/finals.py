"""The finals: who is in them, to be run again with several seeds, and when each run reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from nst_core.config import StyleConfig
from tuner.job.objective import Goals
from tuner.job.ranking import best_first
from tuner.study.records import TrialRecord, values_beside

#: Images of the first run of a finalist, which show how its result comes to be.
FRAMES = 8
#: Presets in full take at most this share of the search's steps, unless the job asks for them.
FULL_SHARE = 1 / 3
#: Reports of a preset in full.
MOST_FULL_RUNGS = 16
#: Of every run of the search.
SEARCH_SEED = StyleConfig().seed


def final_rungs(config: StyleConfig) -> tuple[int, ...]:
    """Steps at which a final reports: at its end; with the first seed ever further apart as well.

    Most happens in the first steps, so frame k of n is taken after ``steps * (k / n) ** 2``.
    """
    frames = FRAMES if config.seed == final_seeds(1)[0] else 1
    shares = ((k / frames) ** 2 for k in range(1, frames + 1))
    return tuple(sorted({max(1, round(config.steps * share)) for share in shares}))


def full_rungs(own_steps: int, max_steps: int) -> tuple[int, ...]:
    """Steps at which a preset reports that runs in full.

    They are no farther apart than the search's own rungs may be, since Ctrl-C waits for the next
    one and a killed launch loses what came after the last; but few, as each has an image.
    """
    apart = max(max_steps, -(-own_steps // MOST_FULL_RUNGS))
    return (*range(apart, own_steps, apart), own_steps)


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
    # As in `Results.ranked`: earlier reports take part in the Pareto ranks, and of equal results
    # the one with the fewest steps comes first.
    beside = values_beside(((record, steps) for record, steps, _ in entered), goals)
    ties = [(steps, record.trial) for record, steps, _ in entered]
    ranked = [entered[index][0] for index in best_first(values, ties, beside)]
    there = {
        (r.final_of, r.config["seed"]) for r in records if r.final_of is not None and not r.full
    }
    # Older versions ran a finalist once, with the search's seed, where its start had no noise.
    wanted = [
        (record.trial, seed)
        for record in ranked[:count]
        if (record.trial, SEARCH_SEED) not in there
        for seed in final_seeds(seeds)
    ]
    return [final for final in wanted if final not in there]


def missing_full_runs(
    records: Sequence[TrialRecord],
    goals: Goals,
    own_steps: Mapping[int, int],
    asked: bool | Literal["auto"],
) -> list[int]:
    """Presets that the search cut short and that are still to run in full, the best first.

    Args:
        records: all trials.
        goals: what they are ranked by.
        own_steps: trial of a preset -> steps that the preset has as published.
        asked: all of them, none, or as many as `FULL_SHARE` of the search's steps has room for.
    """
    cut = [
        (goals.values(best[1].scores), record.trial)
        for record in records
        if record.trial in own_steps
        and record.state in ("complete", "pruned")
        and own_steps[record.trial] > record.config["steps"]
        and (best := record.best_rung(goals))
    ]
    room = float("inf")
    if asked == "auto":
        spent = sum(max(r.rungs, default=0) for r in records if r.final_of is None)
        room = spent * FULL_SHARE
    wanted = []
    for _, trial in sorted(cut) if asked else ():
        room -= own_steps[trial]
        if room < 0:
            break
        wanted.append(trial)
    there = {record.final_of for record in records if record.full}
    return [trial for trial in wanted if trial not in there]
