"""Checks of a job with another stylizer: its keys, its search space and its pairs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nst_core.errors import ConfigError
from nst_core.files import is_file
from search_spaces import Space, StylizerSpace, stylizer_space_from_dict
from tuner.job.command_template import parameter_problems
from tuner.job.key_errors import place_of
from tuner.job.objective import COST, GPU_MEMORY
from tuner.job.spec import JobSpec
from tuner.job.yaml_file import KeyPath, YamlFile, read_yaml

#: Keys of `resources` that only our engine uses, with their defaults.
_OF_LANES = {"lanes": None, "engines_per_gpu": 1, "precision": None}
#: Keys of `resources` that only the processes of other stylizers use.
_OF_WORKERS = ("gpus_per_worker", "cpus_per_worker")


def stylizer_space(job: JobSpec) -> StylizerSpace:
    """Return the search space of a job with another stylizer.

    Raises:
        ConfigError: `space` names no file, or the file is not valid.
    """
    assert job.stylizer is not None
    name = os.path.basename(job.space_name)  # noqa: PTH119
    if not is_file(job.space_name):
        raise ConfigError(
            job.space_name,
            [
                f"expected a file with the parameters of {job.stylizer.name} and their ranges, got"
                f" {name!r}, which is no such file"
            ],
        )
    return stylizer_space_from_dict(read_yaml(Path(job.space_name)).data, job.space_name)


def stylizer_key_problems(job: JobSpec, file: YamlFile) -> list[str]:
    """Return every key that contradicts the stylizer of a job, or that only another one uses."""
    problems = _of_other_stylizers(job) if job.stylizer else _of_our_engine(job)
    return [f"{place_of(file, path)}: {problem}" for path, problem in problems]


def _of_our_engine(job: JobSpec) -> Iterator[tuple[KeyPath, str]]:
    for key in _OF_WORKERS:
        if getattr(job.resources, key) is not None:
            yield ("resources", key), "has no effect without `stylizer`; remove this key"
    if COST in job.goals.measures:
        yield _goal_with(job, COST), f"only a stylizer of your own reports `{COST}`; remove it"


def _of_other_stylizers(job: JobSpec) -> Iterator[tuple[KeyPath, str]]:
    assert job.stylizer is not None
    if job.search.presets:
        yield (
            ("search", "presets"),
            "the built-in presets are for our engine only; remove this key. The first trial has the"
            " `defaults` of the space",
        )
    for key, default in _OF_LANES.items():
        if getattr(job.resources, key) != default:
            yield (
                ("resources", key),
                "is for our engine only; gpus_per_worker and cpus_per_worker say how many processes"
                " of a stylizer run",
            )
    gpus = job.resources.gpus_per_worker or 0.0
    if gpus and job.resources.device == "cpu":
        yield ("resources", "gpus_per_worker"), "contradicts `device: cpu`; remove one of them"
    if gpus > 1 and gpus != int(gpus):
        yield ("resources", "gpus_per_worker"), "expected at most 1, or a whole number"
    if GPU_MEMORY in job.goals.measures:
        yield _goal_with(job, GPU_MEMORY), f"{GPU_MEMORY} is known for our engine only; remove it"
    if job.stylizer.command is not None and job.halving.max_steps > 1:
        yield ("halving", "max_steps"), "a command makes one picture; remove this key"


def _goal_with(job: JobSpec, measure: str) -> KeyPath:
    return ("constraints",) if measure in job.constraints else ("objective",)


def fit_problems(job: JobSpec, space: Space, file: YamlFile) -> list[str]:
    """Return what the pairs and the space of a job ask of its stylizer but it cannot do."""
    if job.stylizer is None:
        return []
    assert isinstance(space, StylizerSpace)
    problems = []
    for key, pairs in (("pairs", job.pairs), ("holdout", job.holdout)):
        for index, pair in enumerate(pairs):
            used = {
                "start": bool(pair.start),
                "style": any(s.region or s.style_region or s.weight != 1 for s in pair.style),
            }
            problems += [
                f"{place_of(file, (key, index, name))}: start pictures, and masks and weights of"
                " styles, are for our engine only; a stylizer gets whole pictures"
                for name in used
                if used[name]
            ]
    if job.stylizer.command is not None:
        styles = max(len(pair.style) for pair in [*job.pairs, *job.holdout])
        place = place_of(file, ("stylizer", "command"))
        problems += [
            f"{place}: {problem}"
            for problem in parameter_problems(job.stylizer.command, space.conditional(), styles)
        ]
    return problems
