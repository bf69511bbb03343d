"""An engine as an actor, without Ray."""

import asyncio
import logging

from tuner.backend import Workload
from tuner.lane_engine import LaneEngine


def test_warnings_cross_with_the_pulse() -> None:
    """What an engine's process warns of is heard once, with its next sign of life."""

    async def heard() -> list[tuple[str, ...]]:
        workload = Workload(pairs=(), weights={}, metrics=())
        engine = LaneEngine(workload, device="cpu", threads=None)
        logging.getLogger("nst_core.step_graph").warning("steps are taken one by one")
        return [(await engine.pulse()).warnings for _ in range(2)]

    assert asyncio.run(heard()) == [("steps are taken one by one",), ()]
