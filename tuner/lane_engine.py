"""LaneEngine: an `Engine` as a Ray actor.

Whoever gets hold of an actor loads its class, and every trial is a process that does. So this
module, and what it imports, loads no torch; the actor does when it starts.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.errors import WorkError
from tuner.records import EngineStats, Report

if TYPE_CHECKING:
    from tuner.backend import Workload


class LaneEngine:
    """An `Engine` as an actor: calls wait on futures while one thread advances the lanes."""

    def __init__(self, workload: Workload, *, device: str, threads: int | None):
        from tuner.engine import Engine

        self._engine = Engine(
            workload.pairs,
            workload.weights,
            device=device,
            threads=threads,
            metrics=workload.metrics,
        )
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: dict[int, asyncio.Future[Report]] = {}
        self._loop = asyncio.get_event_loop()
        threading.Thread(target=self._work, daemon=True).start()

    async def ready(self) -> bool:
        """Answers once the engine is up."""
        return True

    async def advance(
        self, trial: int, config: StyleConfig, until: int, beyond: int | None
    ) -> Report:
        """Bring a trial to a step; see `Engine.submit`."""
        self._waiting[trial] = self._loop.create_future()
        self._inbox.put(lambda: self._engine.submit(trial, config, until, beyond))
        return await self._waiting[trial]

    async def images(self, trial: int) -> list[bytes]:
        """PNG files of a trial as last scored."""
        return self._engine.images(trial)

    async def stats(self) -> EngineStats:
        """What it did with its time, all that was asked of it before included."""
        told: asyncio.Future[EngineStats] = self._loop.create_future()

        def tell() -> None:
            self._loop.call_soon_threadsafe(told.set_result, self._engine.stats)

        self._inbox.put(tell)
        return await told

    async def drop(self, trial: int) -> None:
        """Forget a trial."""
        self._waiting.pop(trial, None)
        self._inbox.put(lambda: self._engine.drop(trial))

    def _work(self) -> None:
        """The engine's own thread: only here is it changed, between two chunks."""
        while True:
            try:
                while not self._engine.busy or not self._inbox.empty():
                    self._inbox.get()()
                reports = self._engine.advance()
            except Exception as error:  # every trial that waits must hear of it, whatever it is
                self._loop.call_soon_threadsafe(self._fail_all, error)
                return
            for report in reports:
                self._loop.call_soon_threadsafe(self._answer, report)

    def _answer(self, report: Report) -> None:
        future = self._waiting.pop(report.trial, None)
        if future is not None and not future.done():
            future.set_result(report)

    def _fail_all(self, error: Exception) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkError(f"the engine failed: {error!r}"))
        self._waiting.clear()
