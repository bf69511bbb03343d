"""OutOfMemoryEngine: an engine with injected out-of-memory errors, for `benchmarks.soak`.

Like `tuner.cluster.engine_actor`, this module does not load torch: every trial process imports it.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tuner.cluster.engine_actor import EngineActor
from tuner.study.records import EngineStats

if TYPE_CHECKING:
    from nst_core.lanes.batch import LaneBatch
    from nst_core.losses.batch_loss import Losses
    from tuner.engine.workload import Workload

#: Environment variable with the file to which engines write their memory, trials and lanes.
CENSUS = "NST_TUNER_SOAK_CENSUS"
SAMPLE_S = 0.5

#: Share of turns that run out of memory, for batches and for single lanes, whose trial then fails.
OOM_SHARE, OOM_SHARE_ALONE = 0.05, 0.005


class OutOfMemoryEngine(EngineActor):
    """An engine that runs out of memory at random, and logs its memory, trials and lanes."""

    def __init__(self, workload: Workload, **options: Any):
        super().__init__(workload, **options)
        import torch

        from nst_core.lanes.batch import LaneBatch

        rng = random.Random(0)
        advance = LaneBatch.advance

        def advance_or_fail(batch: LaneBatch, steps: int) -> Losses:
            share = OOM_SHARE if len(batch) > 1 else OOM_SHARE_ALONE
            if rng.random() >= share:
                return advance(batch, steps)
            if steps > 1:  # real errors occur within a step, after complete steps
                advance(batch, steps - 1)
            raise torch.OutOfMemoryError("injected")

        LaneBatch.advance = advance_or_fail  # type: ignore[method-assign, assignment]
        threading.Thread(target=self._keep_census, daemon=True).start()

    async def stats(self) -> EngineStats:
        """See `EngineActor.stats`; called after the last trial."""
        stats = await super().stats()
        self._census()
        return stats

    def _keep_census(self) -> None:
        while True:
            self._census()
            time.sleep(SAMPLE_S)

    def _census(self) -> None:
        from tuner.engine.engine import Engine

        assert isinstance(self._engine, Engine)
        held = {"trials": self._engine.trials, "lanes": self._engine.lanes}
        row = json.dumps({"pid": os.getpid(), "rss": psutil.Process().memory_info().rss, **held})
        with Path(os.environ[CENSUS]).open("a", encoding="utf-8") as file:
            file.write(row + "\n")
