"""Costs of a configuration that are known before its first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.stylizer_config import Configuration
from tuner.engine.pairs import memory_gb
from tuner.engine.workload import Workload
from tuner.job.objective import GPU_MEMORY, Goals

if TYPE_CHECKING:  # engines also run where Pydantic is not installed
    from tuner.job.spec import JobSpec


def check_costs(job: JobSpec, *, gpu: bool) -> None:
    """Raise InputError if a job uses GPU memory in its goals, but its engines have no GPU."""
    if GPU_MEMORY not in job.goals.measures or gpu:
        return
    keys = [key for key in ("constraints", "objective") if GPU_MEMORY in getattr(job, key)]
    raise InputError(
        f"{keys[0]}: {GPU_MEMORY} is the memory of a GPU, but this run would use CPUs only;"
        f" remove {GPU_MEMORY} from {' and '.join(keys)}, or run the job on a machine with a GPU"
    )


def known_costs(workload: Workload, goals: Goals, config: Configuration) -> dict[str, float]:
    """Return the costs, by name, that the goals use and that need no run to be known."""
    if GPU_MEMORY not in goals.measures or not isinstance(config, StyleConfig):
        return {}
    return {GPU_MEMORY: memory_gb(workload.pairs, config, "cuda")}
