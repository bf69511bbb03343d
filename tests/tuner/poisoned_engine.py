"""An engine that dies when it advances a certain trial.

Like `tuner.cluster.engine_actor`, this module must not load torch: the process of every trial
imports it.
"""

from __future__ import annotations

import os
from typing import Any

from tuner.cluster.engine_actor import EngineActor
from tuner.study.records import Report

#: Number of the trial that kills its engine.
POISON = 3


class PoisonedEngine(EngineActor):
    """An engine whose process ends when it advances trial `POISON`."""

    async def advance(self, trial: int, *arguments: Any, **options: Any) -> list[Report]:
        """See `EngineActor.advance`."""
        if trial == POISON:
            os._exit(1)
        return await super().advance(trial, *arguments, **options)
