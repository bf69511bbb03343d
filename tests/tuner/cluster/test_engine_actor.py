"""An engine as an actor, without Ray."""

import asyncio
import logging

from tuner.cluster.engine_actor import EngineActor
from tuner.engine.workload import Workload


def test_warnings_cross_with_the_pulse() -> None:
    """What an engine's process warns of is heard once, with its next sign of life."""

    async def heard() -> list[tuple[str, ...]]:
        workload = Workload(pairs=(), weights={}, metrics=())
        engine = EngineActor(workload, device="cpu", threads=None)
        logging.getLogger("nst_core.lanes.step_graph").warning("steps are taken one by one")
        return [(await engine.pulse()).warnings for _ in range(2)]

    assert asyncio.run(heard()) == [("steps are taken one by one",), ()]
