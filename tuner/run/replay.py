"""Replaying the recorded suggestions of another run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_core.errors import ConfigError
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.study.records import TrialRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records


def replay_of(job: JobSpec, space: Space, *, presets: int) -> list[Params] | None:
    """What the job's ``search.replay`` tried, in order; None if it names no run.

    Args:
        job: that replays.
        space: its space.
        presets: baseline presets that it begins with, which are replayed by themselves.

    Raises:
        RunError: there is no such run.
        ConfigError: as `check_replay`.
    """
    if job.search.replay is None:
        return None
    records, _ = load_records(RunDir(Path(job.search.replay)).require().path)
    return check_replay(job, space, records, presets=presets)


def check_replay(
    job: JobSpec, space: Space, recorded: Sequence[TrialRecord], *, presets: int
) -> list[Params]:
    """Parameters to replay, checked against this job's space; for the arguments see `replay_of`.

    Raises:
        ConfigError: the recorded run searched another space, or has too few trials.
    """
    wanted = job.search.trials - presets
    searched = [record for record in recorded if record.searched]
    problems = []
    if len(searched) < wanted:
        problems.append(
            f"its search has {len(searched)} trials, expected at least the {wanted} of the job"
        )
    for record in searched[:wanted]:
        try:
            space.build(record.params)
        except ConfigError as error:
            problems.append(f"trial {record.trial}: {error.problems[0]}")
    if problems:
        raise ConfigError(f"search.replay: {job.search.replay}", problems)
    return [record.params for record in searched[:wanted]]
