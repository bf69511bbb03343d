"""An engine that one of the trials kills.

As `tuner.cluster.engine_actor`, this module loads no torch: every trial's process imports it.
"""

from __future__ import annotations

import os
from typing import Any

from tuner.cluster.engine_actor import EngineActor
from tuner.study.records import Report

#: The trial that does it.
POISON = 3


class PoisonedEngine(EngineActor):
    """An engine whose process does not survive one of the trials."""

    async def advance(self, trial: int, *arguments: Any, **options: Any) -> Report:
        """As `EngineActor.advance`."""
        if trial == POISON:
            os._exit(1)
        return await super().advance(trial, *arguments, **options)
