"""LaneEngine: an `Engine` as a Ray actor.

Whoever gets hold of an actor loads its class, and every trial is a process that does. So this
module, and what it imports, loads no torch; the actor does when it starts.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nst_core.config import StyleConfig
from nst_core.errors import WorkError
from tuner.records import EngineStats, Report

if TYPE_CHECKING:
    from tuner.backend import Workload

T = TypeVar("T")

#: Lanes that were paused come from another engine's memory.
PAUSED_WITHIN_S = 120


class LaneEngine:
    """An `Engine` as an actor: calls wait on futures while one thread advances the lanes."""

    def __init__(self, workload: Workload, *, device: str, threads: int | None):
        from tuner.engine import Engine

        self._engine = Engine(
            workload.pairs,
            workload.weights,
            holdout=workload.holdout,
            device=device,
            threads=threads,
            metrics=workload.metrics,
        )
        self._paused: dict[int, asyncio.Future[bytes]] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: dict[int, asyncio.Future[Report]] = {}
        self._loop = asyncio.get_event_loop()
        threading.Thread(target=self._work, daemon=True).start()

    async def ready(self) -> bool:
        """Answers once the engine is up."""
        return True

    async def advance(
        self,
        trial: int,
        config: StyleConfig,
        until: int,
        beyond: int | None,
        *,
        holdout: bool = False,
        waited: bool = False,
    ) -> Report:
        """Bring a trial to a step; see `Engine.submit`.

        The lanes of one that waited come by `take_up`.
        """
        paused = None
        if waited:
            paused = await asyncio.wait_for(self._arrival(trial), PAUSED_WITHIN_S)
            del self._paused[trial]
        options: Any = {"holdout": holdout, "paused": paused}
        self._waiting[trial] = self._loop.create_future()
        self._inbox.put(lambda: self._engine.submit(trial, config, until, beyond, **options))
        return await self._waiting[trial]

    async def take_up(self, trial: int, paused: bytes) -> None:
        """Bring what `pause` gave, for the next `advance` of the trial."""
        self._arrival(trial).set_result(paused)

    def _arrival(self, trial: int) -> asyncio.Future[bytes]:
        """Lanes that are on their way; they and the trial's own call come in any order."""
        return self._paused.setdefault(trial, self._loop.create_future())

    async def pause(self, trial: int) -> bytes:
        """Take a trial out to go on later; see `Engine.pause`."""
        return await self._asked(lambda: self._engine.pause(trial))

    async def images(self, trial: int) -> list[bytes]:
        """PNG files of a trial as last scored."""
        return self._engine.images(trial)

    async def snapshot(self, trial: int) -> bytes | None:
        """A trial's lanes as they are; see `Engine.snapshot`. None if it has ended meanwhile."""
        return await self._asked(
            lambda: self._engine.snapshot(trial) if self._engine.holds(trial) else None
        )

    async def stats(self) -> EngineStats:
        """What it did with its time, all that was asked of it before included."""
        return await self._asked(lambda: self._engine.stats)

    async def _asked(self, question: Callable[[], T]) -> T:
        """What the engine answers between two chunks."""
        told: asyncio.Future[T] = self._loop.create_future()

        def tell() -> None:
            self._loop.call_soon_threadsafe(told.set_result, question())

        self._inbox.put(tell)
        return await told

    async def drop(self, trial: int) -> None:
        """Forget a trial."""
        self._waiting.pop(trial, None)
        self._paused.pop(trial, None)
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
