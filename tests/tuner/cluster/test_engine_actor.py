"""EngineActor, called in this process without Ray."""

import asyncio
import logging

import pytest

from nst_core.lanes.memory import LANES_SHARE
from tuner.cluster.engine_actor import EngineActor
from tuner.engine.workload import Workload
from tuner.study.records import Report


def test_pulse_contains_new_warnings() -> None:
    """A warning in the engine's process is part of its next pulse, and of no later one."""

    async def warnings_of_two_pulses() -> list[tuple[str, ...]]:
        workload = Workload(pairs=(), weights={}, metrics=())
        engine = EngineActor(workload, device="cpu", threads=None)
        logging.getLogger("nst_core.lanes.step_graph").warning("steps are taken one by one")
        return [(await engine.pulse()).warnings for _ in range(2)]

    assert asyncio.run(warnings_of_two_pulses()) == [("steps are taken one by one",), ()]


def test_reports_of_a_turn_travel_in_one_call() -> None:
    """The first waiting trial of a turn gets all reports, its own in front; others get their own.

    A trial that was dropped meanwhile gets none, and is in no other trial's answer.
    """

    async def answers() -> list[list[int]]:
        engine = EngineActor(Workload(pairs=(), weights={}, metrics=()), device="cpu", threads=None)
        loop = asyncio.get_running_loop()
        engine._reports = {trial: loop.create_future() for trial in (0, 1, 2, 3, 4)}
        waiting = dict(engine._reports)
        await engine.drop(0)
        waiting[1].cancel()  # its process has died
        engine._deliver([Report(trial=trial, steps=5) for trial in (0, 1, 2, 3)])
        assert not waiting[0].done() and not waiting[4].done()
        assert list(engine._reports) == [4]
        return [[report.trial for report in await waiting[trial]] for trial in (2, 3)]

    assert asyncio.run(answers()) == [[2, 3], [3]]


@pytest.mark.parametrize("engines", [1, 4])
def test_engines_of_one_device_divide_its_memory(engines: int) -> None:
    """The lanes of an engine may use its part of the memory that lanes may use."""

    async def share() -> float:
        workload = Workload(pairs=(), weights={}, metrics=())
        actor = EngineActor(workload, device="cpu", threads=None, engines_per_gpu=engines)
        return actor._engine._scheduler._memory_share

    assert asyncio.run(share()) == LANES_SHARE / engines
