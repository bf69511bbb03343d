"""Own GPU: engines on real Ray nodes that declare GPUs; no GPU is needed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import ray

from nst_core.errors import InputError
from tests.tuner.processes import cluster_with_head
from tuner.cluster.engine_shapes import EngineShape
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.cluster.own_gpu import own_gpu
from tuner.study.records import Pulse

#: With this variable, Ray hides no GPU from an engine.
HIDES_NOTHING = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}


class Placed:
    """An engine that says where it is; a local class is pickled by value."""

    async def ready(self) -> Pulse:
        """Return an empty pulse."""
        return Pulse()

    pulse = ready

    async def place(self) -> tuple[str, str, str | None]:
        """Return the node, torch's name of the GPU, and the GPUs that torch can see."""
        node = ray.get_runtime_context().get_node_id()
        return node, own_gpu(), os.environ.get("CUDA_VISIBLE_DEVICES")


def places(engines_per_gpu: int, environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Start the engines of a cluster with GPUs; return the place of each."""
    actors: list[Any] = []

    class Local(Placed):
        pass

    def make(_: EngineShape, options: Mapping[str, Any]) -> Any:
        runtime = {"env_vars": dict(environment)}
        actors.append(ray.remote(Local).options(**options, runtime_env=runtime).remote())
        return actors[-1]

    supervisor = EngineSupervisor(
        make, device="auto", lanes=9, deadline_s=600, engines_per_gpu=engines_per_gpu
    )
    list(supervisor.start())
    found = ray.get([actor.place.remote() for actor in actors], timeout=120)
    while supervisor.startup_status:
        supervisor.check_all()
        time.sleep(0.1)
    assert sum(supervisor.lanes.values()) == 9 * len(actors) // engines_per_gpu
    supervisor.close()
    return found


def test_engines_share_the_gpus_of_all_nodes() -> None:
    """Each GPU of each node gets its engines, and an engine sees its own GPU only."""
    with cluster_with_head(0) as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=2, num_gpus=2)
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            found = places(2, {})
            assert {device for _, device, _ in found} == {"cuda:0"}
            assert set(Counter((node, seen) for node, _, seen in found).values()) == {2}
            assert len(found) == 2 * 2 * 2
            assert {seen for _, _, seen in found} == {"0", "1"}
        finally:
            ray.shutdown()


@pytest.mark.slow
def test_engine_uses_its_own_gpu_if_ray_hides_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where engines see all GPUs, each uses the one that Ray assigned, and never always the first.

    The GPUs of the node may be a part of those of the machine: then torch counts that part.
    """
    for visible in (None, "2,5"):
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with cluster_with_head(2, num_gpus=2) as cluster:
            ray.init(address=cluster.address, log_to_driver=False)
            try:
                found = places(2, HIDES_NOTHING)
            finally:
                ray.shutdown()
        assert Counter(device for _, device, _ in found) == {"cuda:0": 2, "cuda:1": 2}
        assert {seen for _, _, seen in found} == {visible}


def test_engines_per_gpu_without_a_gpu_is_refused() -> None:
    """On a cluster without a GPU, the key would have no effect; the error says what to do."""
    with cluster_with_head(1) as cluster:
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            supervisor = EngineSupervisor(
                lambda *_: pytest.fail("an engine was started"),
                **{"device": "auto", "lanes": None, "deadline_s": 600, "engines_per_gpu": 4},
            )
            with pytest.raises(InputError, match=r"engines_per_gpu: 4 has no effect.*remove this"):
                next(supervisor.start())
        finally:
            ray.shutdown()
