"""Replaying the recorded suggestions of another run."""

from __future__ import annotations

from collections.abc import Sequence

from nst_core.errors import ConfigError
from search_spaces import Params, Space
from tuner.job import JobSpec
from tuner.records import TrialRecord


def check_replay(job: JobSpec, space: Space, recorded: Sequence[TrialRecord]) -> dict[int, Params]:
    """Parameters to replay by trial number, checked against this job's space.

    Raises:
        ConfigError: the recorded run searched another space, or has too few trials.
    """
    problems = []
    if len(recorded) < job.search.trials:
        problems.append(
            f"it holds {len(recorded)} trials, expected at least the {job.search.trials} of the job"
        )
    replay = {}
    for record in recorded[: job.search.trials]:
        if record.preset is None:
            replay[record.trial] = record.params
            try:
                space.build(record.params)
            except ConfigError as error:
                problems.append(f"trial {record.trial}: {error.problems[0]}")
    if problems:
        raise ConfigError(f"search.replay: {job.search.replay}", problems)
    return replay
