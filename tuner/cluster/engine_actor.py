"""EngineActor: an `Engine` as a Ray actor.

Whoever gets hold of an actor loads its class, and every trial is a process that does. So this
module, and what it imports, loads no torch; the actor does when it starts.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from nst_core.config import StyleConfig
from nst_core.errors import WorkError
from tuner.cluster.cpu_share import cpu_times
from tuner.study.records import EngineStats, Pulse, Report

if TYPE_CHECKING:
    from tuner.engine.workload import Workload

T = TypeVar("T")

#: Lanes that were paused come from another engine's memory.
PAUSED_WITHIN_S = 120


class _Warnings(logging.Handler):
    """Keeps warnings until they are taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.put(record.getMessage())

    def taken(self) -> tuple[str, ...]:
        """Those since the last time."""
        return tuple(self._kept.get() for _ in range(self._kept.qsize()))


class EngineActor:
    """An `Engine` as an actor: calls wait on futures while one thread advances the lanes."""

    def __init__(self, workload: Workload, *, device: str, threads: int | None):
        from tuner.engine.engine import Engine

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
        self._warnings = _Warnings()
        logging.getLogger("nst_core").addHandler(self._warnings)
        self._at_it_since: float | None = None
        self._seen: tuple[Mapping[int, int], EngineStats | None] = ({}, None)
        self._on_gpu = device == "cuda"
        self._broken: str | None = None
        self._loop = asyncio.get_event_loop()
        threading.Thread(target=self._work, daemon=True).start()

    async def ready(self) -> Pulse:
        """Answers once the engine is up."""
        return Pulse()

    async def pulse(self) -> Pulse:
        """A sign of life, with what was warned of in this process since the last.

        Raises:
            WorkError: it broke, and has to be started anew.
        """
        if self._broken:
            raise WorkError(self._broken)
        since = self._at_it_since
        busy_s = 0.0 if since is None else time.monotonic() - since
        steps, stats = self._seen
        return Pulse(busy_s, self._warnings.taken(), steps, stats, self._memory_gb(), cpu_times())

    def _memory_gb(self) -> tuple[float, float] | None:
        if not self._on_gpu:
            return None
        import torch

        free, total = torch.cuda.mem_get_info()
        return (total - free) / 1e9, total / 1e9

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
        """What the engine answers between two chunks; what goes wrong is the asker's alone."""
        told: asyncio.Future[T] = self._loop.create_future()

        def tell() -> None:
            try:
                answer = question()
            except Exception as error:
                self._loop.call_soon_threadsafe(told.set_exception, error)
            else:
                self._loop.call_soon_threadsafe(told.set_result, answer)

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
                    self._at_it_since = None
                    job = self._inbox.get()
                    self._at_it_since = time.monotonic()
                    job()
                self._at_it_since = time.monotonic()
                reports = self._engine.advance()
                self._seen = (self._engine.steps, self._engine.stats)
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
        self._broken = repr(error)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkError(self._broken))
        self._waiting.clear()
