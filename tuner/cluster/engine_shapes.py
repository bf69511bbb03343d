"""Engine shapes: which engines a node has room for, and what each of them takes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from nst_core.lanes.device import CPU_LANES, GPU_LANES

#: Share of a core that an engine leaves free for the processes of its trials.
CPUS_LEFT_FOR_TRIALS = 0.1
#: Cores that an engine on a GPU reserves, if its node has as many: it launches kernels and scores.
GPU_ENGINE_CPUS = 0.5
#: Memory to plan for each engine on a CPU (an engine used 1.4 GB at 96 px with four lanes). Two
#: engines with one thread were 1.3 times as fast as one with two threads (96 px, 4 lanes), so there
#: are as many as fit into memory, up to one per core.
CPU_ENGINE_BYTES = 3 * 2**30


@dataclass(frozen=True, kw_only=True)
class EngineShape:
    """Resources of one engine.

    Attributes:
        cpus: CPU cores that the engine reserves in Ray.
        gpu: whether the engine computes on a GPU.
        engines_per_gpu: number of engines that share its GPU.
        threads: threads that torch uses; torch's default if None.
        gpus_per_worker: GPUs of its stylizer's process, which makes one picture at a time; None for
            an engine of lanes.
    """

    cpus: float
    gpu: bool = False
    engines_per_gpu: int = 1
    threads: int | None = None
    gpus_per_worker: float | None = None

    @property
    def device(self) -> str:
        """Device that the engine computes on: ``cuda`` or ``cpu``."""
        return "cuda" if self.gpu else "cpu"

    @property
    def gpus(self) -> float:
        """GPUs that the engine reserves in Ray; an engine of lanes at most 1.

        Ray counts in steps of 0.0001; a third is rounded down, so that three fit.
        """
        if self.gpus_per_worker is not None:
            return self.gpus_per_worker
        return math.floor(10_000 / self.engines_per_gpu) / 10_000 if self.gpu else 0

    def lanes(self, number: int, of_all: int | None) -> int:
        """Return the number of trials that an engine takes at a time.

        Args:
            number: number of the engine among those of its node.
            of_all: lanes of one CPU engine, or of all engines of one GPU together; None for the
                default of the device.
        """
        if self.gpus_per_worker is not None:
            return 1
        of_all = of_all or (GPU_LANES if self.gpu else CPU_LANES)
        return (of_all + number % self.engines_per_gpu) // self.engines_per_gpu


def shapes_of(
    resources: Mapping[str, float], device: str, engines_per_gpu: int = 1
) -> list[EngineShape]:
    """Return the engines for a node: some for each GPU, or one per core or group of cores.

    Args:
        resources: resources of the node, as Ray counts them.
        device: `resources.device` of the job: ``auto``, ``cpu`` or ``cuda``.
        engines_per_gpu: number of engines that share one GPU.
    """
    gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
    if engines := gpus * engines_per_gpu:
        cpus_each = resources.get("CPU", 0) / engines - CPUS_LEFT_FOR_TRIALS
        cpus = max(0.0, min(GPU_ENGINE_CPUS, cpus_each))
        return [EngineShape(cpus=cpus, gpu=True, engines_per_gpu=engines_per_gpu)] * engines
    cores = int(resources.get("CPU", 0)) if device != "cuda" else 0
    if not cores:
        return []
    engines = int(min(cores, resources.get("memory", math.inf) / CPU_ENGINE_BYTES))
    threads = -(-cores // max(1, engines))
    shape = EngineShape(cpus=threads - CPUS_LEFT_FOR_TRIALS, threads=threads)
    return [shape] * (cores // threads)


def worker_shapes(
    resources: Mapping[str, float], device: str, gpus_per_worker: float | None, cpus_per_worker: int
) -> list[EngineShape]:
    """Return the engines of a stylizer for a node: one for each of its processes.

    Args:
        resources: resources of the node, as Ray counts them.
        device: `resources.device` of the job: ``auto``, ``cpu`` or ``cuda``.
        gpus_per_worker: GPUs of each process; None: 1 if the device is a GPU.
        cpus_per_worker: cores of each process.
    """
    gpus = resources.get("GPU", 0.0) if device != "cpu" else 0.0
    if not gpus and (device == "cuda" or gpus_per_worker):
        return []
    each = float(bool(gpus)) if gpus_per_worker is None else gpus_per_worker
    by_cores = int(resources.get("CPU", 0) / cpus_per_worker)
    # A node with a GPU may have fewer cores than processes fit onto the GPU.
    count = min(by_cores, int(gpus / each + 1e-6)) if each else by_cores
    shape = EngineShape(
        cpus=cpus_per_worker - CPUS_LEFT_FOR_TRIALS,
        gpu=each > 0,
        threads=cpus_per_worker,
        gpus_per_worker=each,
    )
    return [shape] * count


def local_workers() -> tuple[str, int]:
    """Return the device of this machine's engines, ``cuda`` or ``cpu``, and their number."""
    import psutil
    import torch

    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    resources = {
        "CPU": len(affinity(0)) if affinity else os.cpu_count() or 1,
        "GPU": torch.cuda.device_count(),
        # Ray leaves the rest to its object store and to other processes.
        "memory": 0.7 * psutil.virtual_memory().available,
    }
    shapes = shapes_of(resources, "auto")
    return (shapes[0].device, len(shapes)) if shapes else ("cpu", 1)
