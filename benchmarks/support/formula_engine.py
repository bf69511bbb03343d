"""An engine whose work is a formula: what is left of a run is what deciding costs.

As `tuner.cluster.engine_actor`, this module loads no torch: every trial's process imports it.
"""

from __future__ import annotations

import asyncio
import time
from math import log10
from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.metrics.registry import METRICS
from tuner.study.records import EngineStats, Pulse, Report

if TYPE_CHECKING:
    from tuner.engine.workload import Workload

MAX_STEPS = 90


def objective(config: StyleConfig, steps: int) -> float:
    """A made-up score: a bowl in the logarithms of weight and rate, better with more steps."""
    ratio = log10(config.style_weight / config.content_weight)
    return abs(ratio - 1.2) + abs(log10(config.lr) + 1.7) + 10 / steps


class FormulaEngine:
    """An engine whose work is `objective`; it answers at once."""

    #: Seconds that a trial takes to its last step.
    TRIAL_S = 0.0

    def __init__(self, workload: Workload, *, device: str, threads: int | None):
        self._done: dict[int, int] = {}
        self._since = time.perf_counter()
        self._worked_s = 0.0

    async def ready(self) -> Pulse:
        """Answers once the engine is up."""
        return Pulse()

    async def pulse(self) -> Pulse:
        """As `EngineActor.pulse`."""
        return Pulse()

    async def advance(
        self,
        trial: int,
        config: StyleConfig,
        until: int,
        beyond: int | None,
        *,
        holdout: bool = False,
        has_saved_lanes: bool = False,
    ) -> Report:
        """As `EngineActor.advance`."""
        seconds = self.TRIAL_S * (until - self._done.get(trial, 0)) / MAX_STEPS
        if seconds:
            await asyncio.sleep(seconds)
        self._worked_s += seconds
        self._done[trial] = until
        scores = dict.fromkeys(METRICS, objective(config, until))
        return Report(trial=trial, steps=until, scores=scores, pair_scores=[scores])

    async def images(self, trial: int) -> list[bytes]:
        """As `EngineActor.images`."""
        return [b"no picture"]

    async def pause(self, trial: int) -> None:
        """As `EngineActor.pause`: there is nothing worth saving, its steps are remembered here."""

    async def snapshot(self, trial: int) -> None:
        """As `EngineActor.snapshot`: there is nothing worth saving."""

    async def drop(self, trial: int) -> None:
        """As `EngineActor.drop`."""
        self._done.pop(trial, None)

    async def stats(self) -> EngineStats:
        """Seconds that its slots worked, as if they were one."""
        return EngineStats(alive_s=time.perf_counter() - self._since, advancing_s=self._worked_s)


class SleepingEngine(FormulaEngine):
    """An engine whose trials take time; nothing is pruned of a trial with one rung."""

    TRIAL_S = 10.0


class QuickSleepingEngine(FormulaEngine):
    """The same, for a quick look."""

    TRIAL_S = 2.0
