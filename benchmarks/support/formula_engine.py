"""FormulaEngine: an engine that computes scores by a formula, to measure the cost of decisions.

Like `tuner.cluster.engine_actor`, this module does not load torch: every trial process imports it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING, Any

from nst_core.config import StyleConfig
from nst_core.metrics.registry import METRICS
from tuner.study.records import EngineStats, Pulse, Report

if TYPE_CHECKING:
    from tuner.engine.workload import Workload

MAX_STEPS = 90
#: Lanes of each engine, so that about 16 trials run at the same time on one engine per core.
LANES = max(1, 16 // (os.cpu_count() or 1))


def objective(config: StyleConfig, steps: int) -> float:
    """Return an artificial score with one minimum in style weight and learning rate."""
    ratio = log10(config.style_weight / config.content_weight)
    return abs(ratio - 1.2) + abs(log10(config.lr) + 1.7) + 10 / steps


class FormulaEngine:
    """An engine that reports `objective` at once."""

    #: Duration of a whole trial in seconds.
    TRIAL_S = 0.0

    def __init__(
        self, workload: Workload, *, device: str, threads: int | None, engines_per_gpu: int = 1
    ):
        self._done: dict[int, int] = {}
        self._since = time.perf_counter()
        self._worked_s = 0.0

    async def ready(self) -> Pulse:
        """Return when the engine is ready."""
        return Pulse()

    async def pulse(self) -> Pulse:
        """See `EngineActor.pulse`."""
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
    ) -> list[Report]:
        """See `EngineActor.advance`."""
        seconds = self.TRIAL_S * (until - self._done.get(trial, 0)) / MAX_STEPS
        if seconds:
            await asyncio.sleep(seconds)
        self._worked_s += seconds
        self._done[trial] = until
        scores = dict.fromkeys(METRICS, objective(config, until))
        return [Report(trial=trial, steps=until, scores=scores, pair_scores=[scores])]

    async def images(self, trials: Sequence[int]) -> dict[int, list[bytes]]:
        """See `EngineActor.images`."""
        return {trial: [b"no picture"] for trial in trials}

    async def pause(self, trial: int) -> None:
        """See `EngineActor.pause`; there are no lanes to save."""

    async def snapshot(self, trial: int) -> None:
        """See `EngineActor.snapshot`; there are no lanes to save."""

    async def drop(self, trial: int) -> None:
        """See `EngineActor.drop`."""
        self._done.pop(trial, None)

    async def stats(self) -> EngineStats:
        """Return the seconds that all slots worked, summed up."""
        return EngineStats(alive_s=time.perf_counter() - self._since, advancing_s=self._worked_s)


class SleepingEngine(FormulaEngine):
    """An engine whose trials take `TRIAL_S` seconds."""

    TRIAL_S = 10.0


class QuickSleepingEngine(FormulaEngine):
    """The same with shorter trials."""

    TRIAL_S = 2.0


class TurnsEngine(FormulaEngine):
    """An engine whose trials report in turns: all that wait for a report get it at the same time.

    The first turn is when all `LANES` trials have arrived. As in `EngineActor`, the reports of a
    turn travel in one call.
    """

    #: Whether a call also returns the reports of the other trials of its turn.
    TOGETHER = True
    #: Longest time in seconds from the first trial that waits to the end of the turn.
    TURN_S = 0.1

    def __init__(self, workload: Workload, **options: Any):
        super().__init__(workload, **options)
        self._waiting: dict[int, tuple[asyncio.Future[list[Report]], Report]] = {}
        self._begun = False

    async def advance(self, trial: int, *arguments: Any, **options: Any) -> list[Report]:
        """See `EngineActor.advance`."""
        (report,) = await super().advance(trial, *arguments, **options)
        answer: asyncio.Future[list[Report]] = asyncio.get_running_loop().create_future()
        self._waiting[trial] = answer, report
        if len(self._waiting) == LANES:
            self._begun = True
            self._end_turn()
        elif self._begun and len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(self.TURN_S, self._end_turn)
        return await answer

    def _end_turn(self) -> None:
        waiting, self._waiting = list(self._waiting.values()), {}
        others = [report for _, report in waiting[1:]] if self.TOGETHER else []
        for answer, report in waiting:
            answer.set_result([report, *others])
            others = []


class SingleReportsEngine(TurnsEngine):
    """The same engine, whose reports travel one by one."""

    TOGETHER = False
