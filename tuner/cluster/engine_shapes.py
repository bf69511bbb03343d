"""Which engines a node has room for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: What an engine leaves of its cores for the trials' sake.
CPUS_LEFT_FOR_TRIALS = 0.1
#: Memory to plan with for an engine on a CPU (one had 1.4 GB at 96 px with four lanes). Two engines
#: of one thread did 1.3 times what one of two threads did (96 px, 4 lanes), so there are as many as
#: memory allows, up to one per core.
CPU_ENGINE_BYTES = 3 * 2**30


@dataclass(frozen=True, kw_only=True)
class EngineShape:
    """What one engine takes of a node."""

    cpus: float
    gpus: int = 0
    threads: int | None = None

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cuda" if self.gpus else "cpu"


def shapes_of(resources: Mapping[str, float], device: str) -> list[EngineShape]:
    """The engines that a node has room for: one per GPU, or one per core or group of cores.

    Args:
        resources: of the node, as Ray counts them.
        device: of the job: ``auto``, ``cpu`` or ``cuda``.
    """
    gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
    if gpus:
        return [EngineShape(cpus=0.5, gpus=1)] * gpus
    cores = int(resources.get("CPU", 0)) if device != "cuda" else 0
    if not cores:
        return []
    fit = int(min(cores, resources.get("memory", math.inf) / CPU_ENGINE_BYTES))
    threads = -(-cores // max(1, fit))
    shape = EngineShape(cpus=threads - CPUS_LEFT_FOR_TRIALS, threads=threads)
    return [shape] * (cores // threads)
