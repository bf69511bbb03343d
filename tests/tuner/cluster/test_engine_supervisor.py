"""Which engines a run has: while there is no node for any, and when one cannot be reached."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError

from tuner.cluster.engine_supervisor import (
    DECIDED_WITHIN_S,
    MOST_DEATHS,
    NODES_WITHIN_S,
    EngineSupervisor,
)
from tuner.cluster.ray_private import ActorState
from tuner.study.records import Pulse

NODE = "a" * 56


class FakeActor:
    """An engine that answers as it is told to."""

    def __init__(self) -> None:
        self.ready = self.pulse = SimpleNamespace(remote=lambda: self)
        self.state = "ALIVE"
        self.answer: Callable[[], Pulse] = Pulse

    def vanishes(self) -> None:
        """Nobody can reach it, and nobody knows why."""

        def unreachable() -> Pulse:
            raise ActorUnavailableError("connection refused", None)

        self.answer = unreachable


def _dies() -> Pulse:
    raise RayActorError


@dataclass
class FakeCluster:
    """What Ray says of its nodes and engines."""

    now: float = 0.0
    nodes: dict[str, dict[str, float]] = field(default_factory=dict)
    actors: list[FakeActor] = field(default_factory=list)

    def make(self, *_: Any) -> FakeActor:
        self.actors.append(FakeActor())
        return self.actors[-1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A cluster without nodes, and its time."""
    made = FakeCluster()
    monkeypatch.setattr(
        "tuner.cluster.engine_supervisor.time", SimpleNamespace(monotonic=lambda: made.now)
    )
    monkeypatch.setattr("tuner.cluster.engine_supervisor._nodes", lambda: made.nodes)
    monkeypatch.setattr("tuner.cluster.engine_supervisor.draining_nodes", frozenset)
    monkeypatch.setattr("tuner.cluster.engine_supervisor.actor_id", lambda actor: actor)
    monkeypatch.setattr(
        "tuner.cluster.engine_supervisor.actor_state",
        lambda actor: ActorState(state=actor.state, node=NODE, has_process=True),
    )
    ray = SimpleNamespace(
        wait=lambda asked, timeout: (asked, []),
        get=lambda actor: actor.answer(),
        kill=lambda actor: None,
    )
    monkeypatch.setattr("tuner.cluster.engine_supervisor.ray", ray)
    return made


@pytest.mark.parametrize(("gpus", "hopeless", "lines"), [(None, True, 0), (2, False, 3)])
def test_a_run_that_has_no_node(
    gpus: int | None,
    hopeless: bool,
    lines: int,
    cluster: FakeCluster,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where an autoscaler may bring a GPU it is waited for, and that is said now and then."""
    supervisor = EngineSupervisor(cluster.make, device="auto", lanes=2, deadline_s=60, gpus=gpus)
    with caplog.at_level(logging.WARNING):
        while cluster.now < 3.5 * NODES_WITHIN_S:
            cluster.now += 100
            supervisor.look()
    assert (supervisor.hopeless is not None) == hopeless
    assert caplog.text.count("waiting for a GPU") == lines


@pytest.mark.parametrize(
    ("turns_out", "said", "left"),
    [
        ("its node is gone", "engine-0 is gone with its node", True),
        ("it died", "engine-0 died; another one starts", False),
        ("nothing", "engine-0 could not be reached; another one starts", False),
    ],
)
def test_an_engine_that_cannot_be_reached(
    turns_out: str, said: str, left: bool, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Until Ray knows better its node is taken to be gone; its place is not filled before."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = EngineSupervisor(cluster.make, device="cpu", lanes=2, deadline_s=60)
    for _ in range(2):
        supervisor.look()
    assert supervisor.lanes == {"engine-0": 2} and not supervisor.left("engine-0")
    (actor,) = cluster.actors
    actor.vanishes()
    supervisor.check("engine-0")
    for _ in range(3):
        supervisor.look()
    assert supervisor.left("engine-0") and not supervisor.lanes and len(cluster.actors) == 1
    if turns_out == "its node is gone":
        del cluster.nodes[NODE]
    elif turns_out == "it died":
        actor.state = "DEAD"
    else:
        cluster.now += DECIDED_WITHIN_S + 1
    with caplog.at_level(logging.WARNING):
        supervisor.look()
    assert caplog.messages[-1] == said
    assert supervisor.left("engine-0") == left
    assert len(cluster.actors) == (1 if left else 2)


@pytest.mark.parametrize("another", [False, True])
def test_a_run_whose_engines_die(another: bool, cluster: FakeCluster) -> None:
    """A place where engines die again and again is given up; the run only if there is no other."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = EngineSupervisor(cluster.make, device="cpu", lanes=2, deadline_s=60)
    supervisor.look()
    for death in range(MOST_DEATHS):
        assert supervisor.hopeless is None and len(cluster.actors) == death + 1
        cluster.actors[-1].answer = _dies
        if another and death == MOST_DEATHS - 1:
            cluster.nodes["b" * 56] = {"CPU": 1.0}
        supervisor.look()
    assert (supervisor.hopeless is None) == another
    assert len(cluster.actors) == MOST_DEATHS + another


def test_deaths_of_long_ago_end_no_run(cluster: FakeCluster) -> None:
    """After a place was given up another one worked; when that is gone a node is waited for."""
    cluster.nodes[NODE] = {"CPU": 1.0}
    supervisor = EngineSupervisor(cluster.make, device="cpu", lanes=2, deadline_s=60)
    supervisor.look()
    for _ in range(MOST_DEATHS - 1):
        cluster.actors[-1].answer = _dies
        supervisor.look()
    cluster.nodes["b" * 56] = {"CPU": 1.0}
    supervisor.look()
    cluster.actors[-2].answer = _dies
    supervisor.look()
    assert len(supervisor.lanes) == 1
    del cluster.nodes["b" * 56]
    supervisor.look()
    assert not supervisor.lanes and supervisor.hopeless is None


@pytest.mark.parametrize(
    ("state", "node", "outlived"),
    [("ALIVE", NODE, False), ("DEAD", NODE, True), ("DEAD", "another", False)],
)
def test_a_process_that_is_gone(
    state: str, node: str, outlived: bool, cluster: FakeCluster
) -> None:
    """Only one that is known to have died, on a node that is known to live, died by itself."""
    cluster.nodes[node] = {}
    actor: Any = FakeActor()
    actor.state = state
    supervisor = EngineSupervisor(cluster.make, device="cpu", lanes=2, deadline_s=60)
    assert supervisor.outlived(actor) == outlived


def test_a_fleet_says_how_many_engines_are_up(cluster: FakeCluster) -> None:
    """While engines start it is known how many are up; when all are, there is nothing to say."""
    cluster.nodes = {NODE: {"CPU": 2.0}}
    supervisor = EngineSupervisor(cluster.make, device="cpu", lanes=1, deadline_s=60)
    supervisor._follow_nodes()
    assert supervisor.starting == "starting the engines: 0 of 2 up"
    supervisor._listen("engine-0")
    assert supervisor.starting == "starting the engines: 1 of 2 up"
    supervisor._listen("engine-1")
    assert supervisor.starting == ""
