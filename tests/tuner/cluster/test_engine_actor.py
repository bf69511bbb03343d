"""EngineActor, called in this process without Ray."""

import asyncio
import logging

from tuner.cluster.engine_actor import EngineActor
from tuner.engine.workload import Workload


def test_pulse_contains_new_warnings() -> None:
    """A warning in the engine's process is part of its next pulse, and of no later one."""

    async def warnings_of_two_pulses() -> list[tuple[str, ...]]:
        workload = Workload(pairs=(), weights={}, metrics=())
        engine = EngineActor(workload, device="cpu", threads=None)
        logging.getLogger("nst_core.lanes.step_graph").warning("steps are taken one by one")
        return [(await engine.pulse()).warnings for _ in range(2)]

    assert asyncio.run(warnings_of_two_pulses()) == [("steps are taken one by one",), ()]
