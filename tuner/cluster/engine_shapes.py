"""Engine shapes: which engines a node has room for, and what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: Share of a core that an engine leaves free for the processes of its trials.
CPUS_LEFT_FOR_TRIALS = 0.1
#: Memory to plan for each engine on a CPU (an engine used 1.4 GB at 96 px with four lanes). Two
#: engines with one thread were 1.3 times as fast as one with two threads (96 px, 4 lanes), so there
#: are as many as fit into memory, up to one per core.
CPU_ENGINE_BYTES = 3 * 2**30


@dataclass(frozen=True, kw_only=True)
class EngineShape:
    """Resources of one engine.

    Attributes:
        cpus: CPU cores that the engine reserves in Ray.
        gpus: number of GPUs, 0 or 1.
        threads: threads that torch uses; torch's default if None.
    """

    cpus: float
    gpus: int = 0
    threads: int | None = None

    @property
    def device(self) -> str:
        """Device that the engine computes on: ``cuda`` or ``cpu``."""
        return "cuda" if self.gpus else "cpu"


def shapes_of(resources: Mapping[str, float], device: str) -> list[EngineShape]:
    """Return the engines for a node: one per GPU, or one per core or group of cores.

    Args:
        resources: resources of the node, as Ray counts them.
        device: `resources.device` of the job: ``auto``, ``cpu`` or ``cuda``.
    """
    gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
    if gpus:
        return [EngineShape(cpus=0.5, gpus=1)] * gpus
    cores = int(resources.get("CPU", 0)) if device != "cuda" else 0
    if not cores:
        return []
    engines = int(min(cores, resources.get("memory", math.inf) / CPU_ENGINE_BYTES))
    threads = -(-cores // max(1, engines))
    shape = EngineShape(cpus=threads - CPUS_LEFT_FOR_TRIALS, threads=threads)
    return [shape] * (cores // threads)
