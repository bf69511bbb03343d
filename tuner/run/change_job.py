"""Changes to the job of a run that is to be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_core.errors import ConfigError, near_miss
from tuner.job.load import load_job
from tuner.run.replay import replay_of
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records

#: Keys that may change between two launches of a run: its trials stay comparable.
CHANGEABLE = (
    "search.trials",
    *(f"budget.{name}" for name in ("minutes", "engine_seconds", "patience", "target")),
    *("finals.count", "finals.seeds", "baselines.full", "present.size_px"),
    *(f"resources.{name}" for name in ("lanes", "device", "gpus", "engines_per_gpu")),
    *("resources.gpus_per_worker", "resources.cpus_per_worker"),
    "resources.engine_deadline_s",
    *("storage", "watch"),
)
#: Paths of weights, such as `weights.vgg16`, may change as well: they differ between machines.
_WEIGHTS = "weights."


def change_job(folder: Path, assignments: Sequence[str]) -> None:
    """Change keys of a run's job; nothing is written if any change is wrong.

    Args:
        folder: the run directory.
        assignments: the changes; see `check_changes`.

    Raises:
        InputError: see `check_changes`.
    """
    check_changes(folder, assignments)
    RunDir(folder).change_job(assignments)


def check_changes(folder: Path, assignments: Sequence[str]) -> None:
    """Check changes to a run's job, as a job file is checked; write nothing.

    Args:
        folder: the run directory.
        assignments: ``key=value`` with keys of `CHANGEABLE`, or ``weights.NAME=FILE``; paths are
            relative to the run directory, as in its job.

    Raises:
        RunError: the folder holds no run.
        ConfigError: a key may not change in a run that has begun, a value is invalid, or the job
            replays a run that has fewer trials than the job asks for.
    """
    run = RunDir(folder).require()
    problems = [
        f"`{key}` cannot change in a run that has begun{near_miss(key, CHANGEABLE)}; keys that can:"
        f" {', '.join(CHANGEABLE)} and {_WEIGHTS}NAME"
        for assignment in assignments
        if (key := assignment.partition("=")[0].strip()) not in CHANGEABLE
        and not key.startswith(_WEIGHTS)
    ]
    if problems:
        raise ConfigError(f"{run.job_file}", problems)
    job, space = load_job(run.job_file, assignments)
    _, notes = load_records(folder)
    replay_of(job, space, presets=len(notes.get("presets", [])))
