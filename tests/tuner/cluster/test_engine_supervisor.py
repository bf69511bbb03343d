"""EngineSupervisor: nodes that join and leave, and engines that die or cannot be reached."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError

from nst_core.errors import InputError
from tuner.cluster.engine_supervisor import (
    MOST_DEATHS,
    NODES_TIMEOUT_S,
    UNREACHABLE_TIMEOUT_S,
    EngineSupervisor,
)
from tuner.cluster.ray_private import ActorState
from tuner.study.records import Pulse

NODE, OTHER_NODE = "a" * 56, "b" * 56


class FakeActor:
    """An engine's actor whose answers a test chooses."""

    def __init__(self) -> None:
        self.ready = self.pulse = SimpleNamespace(remote=lambda: self)
        self.state = "ALIVE"
        self.answer: Callable[[], Pulse] = Pulse

    def disconnect(self) -> None:
        """Make the actor unreachable for an unknown reason."""

        def unreachable() -> Pulse:
            raise ActorUnavailableError("connection refused", None)

        self.answer = unreachable

    def refuse(self, reason: str) -> None:
        """Make every call fail because the device cannot do what the job asks for."""

        def refused() -> Pulse:
            raise InputError(reason)

        self.answer = refused

    def die(self) -> None:
        """Make every call fail because the actor is dead."""

        def dead() -> Pulse:
            raise RayActorError

        self.answer = dead


@dataclass
class FakeCluster:
    """Nodes and actors that Ray reports, and the time."""

    now: float = 0.0
    nodes: dict[str, dict[str, float]] = field(default_factory=dict)
    actors: list[FakeActor] = field(default_factory=list)

    def make(self, *_: Any) -> FakeActor:
        self.actors.append(FakeActor())
        return self.actors[-1]

    def supervisor(self, *, lanes: int = 2) -> EngineSupervisor:
        """Return a supervisor of engines on CPUs."""
        return EngineSupervisor(self.make, device="cpu", lanes=lanes, deadline_s=60)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Cluster without nodes, whose time stands still until a test moves it."""
    fake = FakeCluster()
    replacements = {
        "time": SimpleNamespace(monotonic=lambda: fake.now),
        "ray": SimpleNamespace(
            wait=lambda answers, timeout: (answers, []),
            get=lambda actor: actor.answer(),
            kill=lambda actor: None,
        ),
        "actor_id": lambda actor: actor,
        "actor_state": lambda actor: ActorState(state=actor.state, node=NODE, has_process=True),
    }
    for module in ("engine_supervisor", "engine_handle"):
        for name, replacement in replacements.items():
            monkeypatch.setattr(f"tuner.cluster.{module}.{name}", replacement)
    monkeypatch.setattr("tuner.cluster.engine_supervisor._nodes", lambda: fake.nodes)
    monkeypatch.setattr("tuner.cluster.engine_supervisor.draining_nodes", frozenset)
    return fake


@pytest.mark.parametrize(("gpus", "fails", "messages"), [(None, True, 0), (2, False, 3)])
def test_run_without_a_node_waits_only_for_an_autoscaler(
    gpus: int | None,
    fails: bool,
    messages: int,
    cluster: FakeCluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With requested GPUs a run waits and logs that regularly; without, it fails after a time."""
    supervisor = EngineSupervisor(cluster.make, device="auto", lanes=2, deadline_s=60, gpus=gpus)
    with caplog.at_level(logging.WARNING):
        while cluster.now < 3.5 * NODES_TIMEOUT_S:
            cluster.now += 100
            supervisor.check_all()
    assert (supervisor.failure is not None) == fails
    assert caplog.text.count("waiting for a GPU") == messages


@pytest.mark.parametrize(
    ("reason", "message", "lost_with_node"),
    [
        ("node is gone", "engine-0 is gone with its node", True),
        ("engine died", "engine-0 died; another one starts", False),
        ("unknown", "engine-0 could not be reached; another one starts", False),
    ],
)
def test_unreachable_engine_is_replaced_once_ray_knows_the_reason(
    reason: str,
    message: str,
    lost_with_node: bool,
    cluster: FakeCluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An unreachable engine counts as lost with its node, and its place stays free until then."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = cluster.supervisor()
    for _ in range(2):
        supervisor.check_all()
    assert supervisor.lanes == {"engine-0": 2} and not supervisor.lost_with_node("engine-0")
    (actor,) = cluster.actors
    actor.disconnect()
    supervisor.check_engine("engine-0")
    for _ in range(3):
        supervisor.check_all()
    assert supervisor.lost_with_node("engine-0")
    assert not supervisor.lanes and len(cluster.actors) == 1
    if reason == "node is gone":
        del cluster.nodes[NODE]
    elif reason == "engine died":
        actor.state = "DEAD"
    else:
        cluster.now += UNREACHABLE_TIMEOUT_S + 1
    with caplog.at_level(logging.WARNING):
        supervisor.check_all()
    assert caplog.messages[-1] == message
    assert supervisor.lost_with_node("engine-0") == lost_with_node
    assert len(cluster.actors) == (1 if lost_with_node else 2)


@pytest.mark.parametrize("other_node", [False, True])
def test_place_is_given_up_after_too_many_deaths(other_node: bool, cluster: FakeCluster) -> None:
    """A place where engines keep dying is given up; the run fails only if there is no other."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = cluster.supervisor()
    supervisor.check_all()
    for death in range(MOST_DEATHS):
        assert supervisor.failure is None and len(cluster.actors) == death + 1
        cluster.actors[-1].die()
        if other_node and death == MOST_DEATHS - 1:
            cluster.nodes[OTHER_NODE] = {"CPU": 1.0}
        supervisor.check_all()
    assert (supervisor.failure is None) == other_node
    assert len(cluster.actors) == MOST_DEATHS + other_node


@pytest.mark.parametrize("other_node", [False, True])
def test_refused_engine_is_not_tried_again(other_node: bool, cluster: FakeCluster) -> None:
    """A device that lacks the job's precision gets one engine; without another, it is bad input."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = cluster.supervisor()
    supervisor.check_all()
    cluster.actors[0].refuse("this device has no TF32")
    if other_node:
        cluster.nodes[OTHER_NODE] = {"CPU": 1.0}
        list(supervisor.start())
        assert list(supervisor.lanes) == ["engine-1"]
    else:
        with pytest.raises(InputError, match=r"^this device has no TF32$"):
            list(supervisor.start())
    assert len(cluster.actors) == 1 + other_node


def test_earlier_deaths_do_not_end_a_run(cluster: FakeCluster) -> None:
    """If another place worked after one was given up, a run without nodes waits for a new one."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = cluster.supervisor()
    supervisor.check_all()
    for _ in range(MOST_DEATHS - 1):
        cluster.actors[-1].die()
        supervisor.check_all()
    cluster.nodes[OTHER_NODE] = {"CPU": 1.0}
    supervisor.check_all()
    cluster.actors[-2].die()
    supervisor.check_all()
    assert len(supervisor.lanes) == 1
    del cluster.nodes[OTHER_NODE]
    supervisor.check_all()
    assert not supervisor.lanes and supervisor.failure is None


@pytest.mark.parametrize(
    ("state", "node", "expected"),
    [("ALIVE", NODE, False), ("DEAD", NODE, True), ("DEAD", OTHER_NODE, False)],
)
def test_process_died_alone_only_if_its_node_lives(
    state: str, node: str, expected: bool, cluster: FakeCluster
) -> None:
    """A process died by itself only if Ray knows that it is dead and that its node is alive."""
    cluster.nodes[node] = {}
    actor: Any = FakeActor()
    actor.state = state
    assert cluster.supervisor().died_on_live_node(actor) == expected


def test_startup_status_counts_engines_that_are_up(cluster: FakeCluster) -> None:
    """The status counts engines until all are up, and is empty then."""
    cluster.nodes = {NODE: {"CPU": 2.0}}
    supervisor = cluster.supervisor(lanes=1)
    supervisor._follow_nodes()
    assert supervisor.startup_status == "starting the engines: 0 of 2 up"
    supervisor._poll("engine-0")
    assert supervisor.startup_status == "starting the engines: 1 of 2 up"
    supervisor._poll("engine-1")
    assert supervisor.startup_status == ""
