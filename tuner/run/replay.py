"""Replay: a run that tries exactly the configurations of another run (`search.replay`)."""

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
    """Return the parameters of the run that ``search.replay`` names, in order; None without one.

    Args:
        job: the job that replays another run.
        space: the job's search space.
        presets: number of baseline presets in the job, which are not taken from the other run.

    Raises:
        RunError: the folder holds no run.
        ConfigError: see `check_replay`.
    """
    if job.search.replay is None:
        return None
    records, _ = load_records(RunDir(Path(job.search.replay)).require().path)
    return check_replay(job, space, records, presets=presets)


def check_replay(
    job: JobSpec, space: Space, recorded: Sequence[TrialRecord], *, presets: int
) -> list[Params]:
    """Return the parameters to replay, after checking them against the job's search space.

    Args:
        job: the job that replays another run.
        space: the job's search space.
        recorded: all trials of the other run.
        presets: number of baseline presets in the job.

    Raises:
        ConfigError: the other run has another search space or too few trials.
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
