"""An engine that keeps running out of memory, for `benchmarks.soak`.

As `tuner.cluster.engine_actor`, this module loads no torch: every trial's process imports it.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tuner.cluster.engine_actor import EngineActor
from tuner.study.records import EngineStats

if TYPE_CHECKING:
    from nst_core.lanes.batch import LaneBatch
    from nst_core.losses.batch_loss import Losses
    from tuner.engine.workload import Workload

#: Name of the environment variable with the file that the census goes to.
CENSUS = "NST_TUNER_SOAK_CENSUS"
SAMPLE_S = 0.5

#: Share of turns of a batch that fail for want of memory, and of a lane that is alone, which ends
#: its trial.
LACKING, LACKING_ALONE = 0.05, 0.005


class LackingEngine(EngineActor):
    """An engine that keeps running out of memory, and writes down what it holds."""

    def __init__(self, workload: Workload, *, device: str, threads: int | None):
        super().__init__(workload, device=device, threads=threads)
        import torch

        from nst_core.lanes.batch import LaneBatch

        chance = random.Random(0)
        advance = LaneBatch.advance

        def lacking(batch: LaneBatch, steps: int) -> Losses:
            lacking_now = LACKING if len(batch) > 1 else LACKING_ALONE
            if chance.random() >= lacking_now:
                return advance(batch, steps)
            if steps > 1:  # a real lack comes in the middle of a step, after whole ones
                advance(batch, steps - 1)
            raise torch.OutOfMemoryError("injected")

        LaneBatch.advance = lacking  # type: ignore[method-assign, assignment]
        threading.Thread(target=self._keep_census, daemon=True).start()

    async def stats(self) -> EngineStats:
        """As `EngineActor.stats`, which is asked for when all trials are over."""
        found = await super().stats()
        self._census()
        return found

    def _keep_census(self) -> None:
        while True:
            self._census()
            time.sleep(SAMPLE_S)

    def _census(self) -> None:
        held = {"trials": self._engine.trials, "lanes": self._engine.lanes}
        row = json.dumps({"pid": os.getpid(), "rss": psutil.Process().memory_info().rss, **held})
        with Path(os.environ[CENSUS]).open("a", encoding="utf-8") as file:
            file.write(row + "\n")
