"""The engine of a workload: lanes of our own stylizer, or a worker of any other."""

from __future__ import annotations

import torch

from nst_core.lanes.memory import LANES_SHARE
from tuner.engine.engine import Engine
from tuner.engine.protocol import TrialEngine
from tuner.engine.workload import Workload
from tuner.stylizers.engine import StylizerEngine


def engine_of(
    workload: Workload,
    *,
    device: torch.device | str,
    threads: int | None = None,
    memory_share: float = LANES_SHARE,
) -> TrialEngine:
    """Return the engine that runs the trials of a workload; arguments as `Engine`."""
    if workload.stylizer is not None:
        return StylizerEngine(workload, device=str(device), threads=threads)
    return Engine(
        workload.pairs,
        workload.weights,
        holdout=workload.holdout,
        device=device,
        threads=threads,
        metrics=workload.metrics,
        memory_share=memory_share,
    )
