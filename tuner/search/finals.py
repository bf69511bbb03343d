"""Finals: the best trials run again with other seeds, and presets run with all of their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from nst_core.config import StyleConfig
from nst_core.stylizer_config import Configuration, configuration_from_dict
from tuner.job.objective import Goals
from tuner.job.ranking import best_first
from tuner.job.spec import JobSpec
from tuner.study.records import TrialRecord, earlier_values

#: Reports, each with an image, of a finalist's first run: they show how the result develops.
FRAMES = 8
#: Largest share of the search's steps for full runs of presets, unless the job says otherwise.
FULL_SHARE = 1 / 3
#: Maximum number of reports of a preset that runs with all of its steps.
MOST_FULL_RUNGS = 16
#: Seed of every trial of the search.
SEARCH_SEED = StyleConfig().seed


class FinalRun(NamedTuple):
    """One run after the search.

    Attributes:
        trial: number of the finalist, or of the preset's trial.
        seed: seed of the finalist's run; None for a preset that runs with all of its steps.
    """

    trial: int
    seed: int | None


def final_rungs(config: Configuration) -> tuple[int, ...]:
    """Return the steps at which a finalist's run reports.

    This is its last step and, with the first seed, `FRAMES` - 1 steps before. Most changes come
    early, so report k of n comes after ``steps * (k / n) ** 2``.
    """
    frames = FRAMES if config.seed == final_seeds(1)[0] else 1
    shares = ((k / frames) ** 2 for k in range(1, frames + 1))
    return tuple(sorted({max(1, round(config.steps * share)) for share in shares}))


def full_rungs(own_steps: int, max_steps: int) -> tuple[int, ...]:
    """Return the steps at which a preset reports that runs with all of its steps.

    Args:
        own_steps: steps of the published preset.
        max_steps: steps of a trial of the search. Reports are no farther apart, because Ctrl-C
            waits for the next report and a killed launch loses what came after the last one. A
            preset makes at most `MOST_FULL_RUNGS` reports, however, because each has an image.
    """
    apart = max(max_steps, -(-own_steps // MOST_FULL_RUNGS))
    return (*range(apart, own_steps, apart), own_steps)


def final_seeds(count: int) -> range:
    """Return the seeds of a finalist's runs, none of them the search's: it may have been lucky.

    A start without noise gets as many seeds, because rounding depends on the seed as well
    (`initialization.DISTURBANCE`).
    """
    return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + count)


def final_config(record: TrialRecord, goals: Goals, seed: int) -> Configuration:
    """Return a finalist's configuration with another seed, ending at the finalist's best step."""
    best = record.best_rung(goals)
    assert best is not None
    config = configuration_from_dict(record.config, source=f"trial {record.trial}")
    return config.stopped_at(best[0]).replace(seed=seed)


def missing_runs(
    records: Sequence[TrialRecord], job: JobSpec, own_steps: Mapping[int, int]
) -> list[FinalRun]:
    """Return the runs after the search that have not begun: finalists first, then presets.

    Args:
        records: all trials.
        job: the job.
        own_steps: trial of a preset -> steps of the published preset.
    """
    finals = missing_finals(records, job.goals, job.finals.count, job.finals.seeds)
    presets = missing_full_runs(records, job.goals, own_steps, job.baselines.full)
    return [
        *(FinalRun(trial, seed) for trial, seed in finals),
        *(FinalRun(trial, None) for trial in presets),
    ]


def missing_finals(
    records: Sequence[TrialRecord], goals: Goals, count: int, seeds: int
) -> list[tuple[int, int]]:
    """Return (trial, seed) of every finalist's run that has not begun, the best trial first.

    Args:
        records: all trials; presets may be finalists, failed trials may not.
        goals: how trials are ranked.
        count: number of finalists.
        seeds: number of runs of each finalist.
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
    beside = earlier_values(((record, steps) for record, steps, _ in entered), goals)
    ties = [(steps, record.trial) for record, steps, _ in entered]
    ranked = [entered[index][0] for index in best_first(values, ties, beside)]
    begun = {
        (r.final_of, r.config["seed"]) for r in records if r.final_of is not None and not r.full
    }
    # Older versions ran a finalist without noise only once, with the search's seed.
    wanted = [
        (record.trial, seed)
        for record in ranked[:count]
        if (record.trial, SEARCH_SEED) not in begun
        for seed in final_seeds(seeds)
    ]
    return [final for final in wanted if final not in begun]


def missing_full_runs(
    records: Sequence[TrialRecord],
    goals: Goals,
    own_steps: Mapping[int, int],
    asked: bool | Literal["auto"],
) -> list[int]:
    """Return the trials of presets that are still to run with all of their steps, the best first.

    Args:
        records: all trials.
        goals: how trials are ranked.
        own_steps: trial of a preset -> steps of the published preset.
        asked: True for all presets that the search cut short, False for none, ``auto`` for the
            best ones while they take at most `FULL_SHARE` of the search's steps.
    """
    cut_short = [
        (goals.values(best[1].scores), record.trial)
        for record in records
        if record.trial in own_steps
        and record.state in ("complete", "pruned")
        and own_steps[record.trial] > record.config["steps"]
        and (best := record.best_rung(goals))
    ]
    steps_left = float("inf")
    if asked == "auto":
        spent = sum(max(r.rungs, default=0) for r in records if r.final_of is None)
        steps_left = spent * FULL_SHARE
    wanted = []
    for _, trial in sorted(cut_short) if asked else ():
        steps_left -= own_steps[trial]
        if steps_left < 0:
            break
        wanted.append(trial)
    begun = {record.final_of for record in records if record.full}
    return [trial for trial in wanted if trial not in begun]
