"""EngineSupervisor: the engines of a run, as actors on the nodes of a cluster.

Engines follow the nodes: one that joins gets its engines, one that leaves takes its own with it,
and an engine that died or hangs is replaced.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import ActorUnavailableError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nst_core.errors import InputError, WorkError
from nst_core.lanes.device import CPU_LANES, GPU_LANES
from tuner.cluster.cpu_share import CpuShare
from tuner.cluster.engine_shapes import EngineShape, shapes_of
from tuner.cluster.ray_private import actor_id, actor_state, draining_nodes
from tuner.study.records import EngineStats, Pulse

#: A sampler that learns should see so many rounds of trials: the more run at once, the less each
#: knows of the others.
LEARNING_ROUNDS = 4
#: Seconds between two looks at nodes and engines.
LOOK_EVERY_S = 1.0
#: To import torch, take the weights and be up, once there is room on the node.
STARTS_WITHIN_S = 600
#: A node with room gives it within this; after that others have it.
ROOM_WITHIN_S = 20
#: Ray says that a process died as soon as it did, but that a node did after some 15 s.
DECIDED_WITHIN_S = 30
#: How long a run waits for a node when all are gone; where an autoscaler may bring one, it says so
#: as often, and waits.
NODES_WITHIN_S = 600
#: An engine that died so often in one place, with no report in between, is not started there again:
#: once more than where a trial killed it (`engine_pool.MOST_LOSSES`).
MOST_DEATHS = 4
#: For what is asked of an engine when nobody waits long: a sign of life, figures.
ANSWERS_WITHIN_S = 10

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where an engine stands: on which node, and which one of its engines it is."""

    node: str
    number: int


@dataclass
class _Engine:
    """An engine's actor.

    Attributes:
        asked: the answer to come to what it was asked last: whether it is ready, then its pulse.
        asked_at: when that was.
        up: whether it has been ready.
        waits: whether others have its node's room.
        pulse: its last sign of life.
        cpu_share: of the processor time that it wants, how much it gets.
    """

    actor: Any
    place: Place
    lanes: int
    asked: Any
    asked_at: float
    up: bool = False
    waits: bool = False
    pulse: Pulse = field(default_factory=Pulse)
    cpu_share: CpuShare = field(default_factory=CpuShare)


class EngineSupervisor:
    """The engines of a run.

    Args:
        make: makes an engine's actor from its shape and Ray's options.
        device: of the job: ``auto``, ``cpu`` or ``cuda``; ``auto`` takes no CPU where there are
            GPUs.
        lanes: trials that an engine takes at a time; if None by its device, and no more than leave
            a search something to learn from.
        trials: of a search that learns; None if it does not.
        gpus: to ask an autoscaling cluster for, and to wait for the first of; None: those that are
            up.
        deadline_s: an engine that is at one thing for so long hangs.

    Attributes:
        hopeless: why there will be no engine any more; None as long as there may be.
    """

    def __init__(
        self,
        make: Callable[[EngineShape, Mapping[str, Any]], Any],
        *,
        device: str,
        lanes: int | None,
        trials: int | None = None,
        deadline_s: float,
        gpus: int | None = None,
    ):
        self._make, self._device, self._lanes, self._trials = make, device, lanes, trials
        self._deadline_s, self._gpus = deadline_s, gpus
        self.hopeless: str | None = None
        self._last_words: str | None = None
        self._engines: dict[str, _Engine] = {}
        self._names = map("engine-{}".format, itertools.count())
        self._deaths: Counter[Place] = Counter()
        self._leaving: frozenset[str] = frozenset()
        self._left: set[str] = set()
        #: Engines that cannot be reached, and since when: perhaps their nodes are gone.
        self._doubted: dict[str, tuple[_Engine, float]] = {}
        self._said_busy, self._said_slow, self._said_waiting = False, False, 0
        self._looked_at = self._had_one_at = time.monotonic()
        self._ending = False

    # --- who is there -----------------------------------------------------------------------------

    @property
    def lanes(self) -> Mapping[str, int]:
        """Engines that take trials, and how many each."""
        up = {
            name: engine.lanes
            for name, engine in self._engines.items()
            if engine.up and engine.place.node not in self._leaving
        }
        if self._lanes or self._trials is None or not up:
            return up
        working = sum(not engine.waits for engine in self._engines.values())
        share = max(1, self._trials // (LEARNING_ROUNDS * working))
        return {name: min(most, share) for name, most in up.items()}

    @property
    def starting(self) -> str:
        """How many engines are up, in words, as long as some are not; then nothing."""
        up, count = sum(engine.up for engine in self._engines.values()), len(self._engines)
        return f"starting the engines: {up} of {count} up" if up < count else ""

    def actor(self, name: str) -> Any:
        """An engine's actor; None if it is no more."""
        engine = self._engines.get(name)
        return engine.actor if engine else None

    def left(self, name: str) -> bool:
        """Whether an engine is no more because its node went, for all that is known."""
        return name in self._left or name in self._doubted

    def outlived(self, process: str) -> bool:
        """Whether a process, by the id of its actor, is known to have died on a node that lives."""
        return _died_on(process) in _nodes()

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """The last sign of life of every engine that has been up."""
        return {name: engine.pulse for name, engine in self._engines.items() if engine.up}

    def progressed(self, name: str) -> None:
        """An engine did something useful, so that its place is not to blame for earlier deaths."""
        if name in self._engines:
            self._deaths.pop(self._engines[name].place, None)

    def stats(self) -> list[EngineStats]:
        """What the engines that are there did with their time."""
        found = []
        for engine in self._engines.values():
            if engine.up:
                with suppress(RayError):
                    found.append(ray.get(engine.actor.stats.remote(), timeout=ANSWERS_WITHIN_S))
        return found

    # --- coming and going -------------------------------------------------------------------------

    def opening(self) -> Iterator[None]:
        """Start the engines; yields about once a second until one is up.

        Raises:
            InputError: the cluster has not what the job asks for.
            WorkError: no engine could start.
        """
        if self._gpus:
            request_resources(bundles=[{"GPU": 1}] * self._gpus)
        self._follow_nodes()
        if not self._engines and not self._gpus:
            if self._device == "cuda":
                raise InputError("resources.device: cuda was asked for and the cluster has no GPU")
            raise InputError("the cluster has neither a GPU nor a CPU core to run on")
        while not self.lanes:
            if asked := [engine.asked for engine in self._engines.values()]:
                ray.wait(asked, timeout=LOOK_EVERY_S)
            else:
                time.sleep(LOOK_EVERY_S)
            self.look()
            if self.hopeless:
                raise WorkError(self.hopeless)
            yield

    def tend(self) -> bool:
        """`look`, if it is time to; for whoever comes by often. Returns whether it was."""
        due = time.monotonic() - self._looked_at >= LOOK_EVERY_S
        if due:
            self.look()
        return due

    def look(self) -> None:
        """See which nodes came and went, and which engines live; waits for nothing."""
        if self._ending:
            return
        self._looked_at = time.monotonic()
        for name in list(self._engines):
            self._listen(name)
        self._decide_doubts()
        self._follow_nodes()
        if self._engines:
            self._had_one_at, self._said_waiting, self._last_words = self._looked_at, 0, None
        elif self._last_words and not self._doubted:  # nor has a node come that takes one
            self.hopeless = self._last_words
        else:
            self._wait_for_nodes(self._looked_at - self._had_one_at)

    def _wait_for_nodes(self, waited_s: float) -> None:
        if waited_s <= NODES_WITHIN_S * (self._said_waiting + 1):
            return
        if not self._gpus:
            self.hopeless = self.hopeless or "no node has had room for an engine for 10 minutes"
            return
        self._said_waiting += 1
        log.warning(
            "waiting for a GPU for %.0f minutes now; `ray status` on the head says why there is"
            " none, Ctrl-C stops",
            waited_s / 60,
        )

    def check(self, name: str) -> None:
        """Find out now whether an engine lives, waiting a little for its answer."""
        if (engine := self._engines.get(name)) and not self._ending:
            engine.asked = engine.actor.pulse.remote()
            ray.wait([engine.asked], timeout=ANSWERS_WITHIN_S)
            self._listen(name)

    def end(self) -> None:
        """Ask Ray no more about nodes and engines.

        Slurm signals every process of a job: Ray's control service ends as well, and Ray aborts a
        process that asks it something meanwhile.
        """
        self._ending = True

    def close(self) -> None:
        """Stop all engines, and ask for no more nodes."""
        if self._gpus:
            request_resources(bundles=[])
        doubted = [engine for engine, _ in self._doubted.values()]
        for engine in [*self._engines.values(), *doubted]:
            ray.kill(engine.actor)
        self._engines, self._doubted = {}, {}

    def _follow_nodes(self) -> None:
        nodes = _nodes()
        self._leaving = draining_nodes()
        for name, engine in list(self._engines.items()):
            if engine.place.node not in nodes:
                self._leave(name)
        device = self._device
        if device == "auto":
            gpus = self._gpus or any(node.get("GPU") for node in nodes.values())
            device = "cuda" if gpus else "cpu"
        taken = {engine.place for engine in self._engines.values()}
        taken |= {engine.place for engine, _ in self._doubted.values()}
        for node, resources in nodes.items():
            for index, shape in enumerate(shapes_of(resources, device)):
                place = Place(node, index)
                if place in taken or node in self._leaving:
                    continue
                if self._deaths[place] < MOST_DEATHS:
                    self._start(place, shape)

    def _start(self, place: Place, shape: EngineShape) -> None:
        name = next(self._names)
        options = {
            "num_cpus": shape.cpus,
            "num_gpus": shape.gpus,
            "name": name,
            "max_concurrency": 1000,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place.node, soft=False),
        }
        actor = self._make(shape, options)
        lanes = self._lanes or (GPU_LANES if shape.gpus else CPU_LANES)
        asked = actor.ready.remote()
        self._engines[name] = _Engine(actor, place, lanes, asked, time.monotonic())
        log.info("%s starts on node %s (%s)", name, place.node[:8], shape.device)

    def _listen(self, name: str) -> None:
        """Take in what an engine answered, and ask again; it is lost if it did not in time."""
        engine, now = self._engines[name], time.monotonic()
        answered, _ = ray.wait([engine.asked], timeout=0)
        if not answered:
            within_s = self._deadline_s if engine.up else STARTS_WITHIN_S
            if self._waits_for_room(engine, now):
                engine.asked_at = now
            elif now - engine.asked_at > within_s:
                self._lose(name, f"gave no sign of life for {within_s:.0f} s")
            return
        try:
            pulse: Pulse = ray.get(engine.asked)
        except ActorUnavailableError:
            self._doubt(name)
            return
        except (RayError, WorkError) as error:
            self._lose(name, _reason(error))
            return
        for warning in pulse.warnings:
            log.warning("%s: %s", name, warning)
        if pulse.busy_s > self._deadline_s:
            self._lose(name, f"hangs: it has been at one thing for {pulse.busy_s:.0f} s")
            return
        if not engine.up:
            log.info("%s is up", name)
        engine.up, engine.waits, engine.pulse = True, False, pulse
        self._tell_of_others(name, engine.cpu_share.waiting(pulse.cpu, now))
        engine.asked, engine.asked_at = engine.actor.pulse.remote(), now

    def _waits_for_room(self, engine: _Engine, now: float) -> bool:
        """Whether an engine could not start yet, as others have its node's cores or GPUs."""
        if engine.up or now - engine.asked_at < ROOM_WITHIN_S:
            return False
        known = actor_state(actor_id(engine.actor))
        # An actor has a node while it waits for room there, and a process only afterwards.
        engine.waits = (
            known is not None
            and not known.has_process
            and known.state in ("DEPENDENCIES_UNREADY", "PENDING_CREATION")
        )
        if engine.waits and not self._said_busy:
            self._said_busy = True
            log.warning("the cluster is busy: waiting for room for an engine")
        return engine.waits

    def _tell_of_others(self, name: str, waiting: float | None) -> None:
        if waiting is not None and not self._said_slow:
            self._said_slow = True
            log.warning(
                "%s waits for a processor core %.0f %% of the time, since other programs keep its"
                " machine busy; the run is that much slower",
                name,
                100 * waiting,
            )

    def _leave(self, name: str) -> None:
        log.warning("%s is gone with its node", name)
        del self._engines[name]
        self._left.add(name)

    def _doubt(self, name: str) -> None:
        """Ray cannot say yet whether an engine died or its node did; its trials go on elsewhere."""
        log.warning("%s cannot be reached; perhaps its node is gone", name)
        self._doubted[name] = self._engines.pop(name), time.monotonic()

    def _decide_doubts(self) -> None:
        nodes = _nodes() if self._doubted else {}
        for name, (engine, since) in list(self._doubted.items()):
            late = time.monotonic() - since > DECIDED_WITHIN_S
            if late or engine.place.node not in nodes or _died_on(actor_id(engine.actor)):
                del self._doubted[name]
                self._engines[name] = engine
                self._lose(name, "could not be reached" if late else "died")

    def _lose(self, name: str, reason: str) -> None:
        if self._engines[name].place.node not in _nodes():
            self._leave(name)
            return
        engine = self._engines.pop(name)
        ray.kill(engine.actor)
        self._deaths[engine.place] += 1
        given_up = self._deaths[engine.place] >= MOST_DEATHS
        log.warning("%s %s; %s", name, reason, "given up" if given_up else "another one starts")
        if given_up:
            self._last_words = f"engines died {MOST_DEATHS} times in a row; the last one {reason}"


def _nodes() -> dict[str, Mapping[str, float]]:
    """Nodes that live, and what each has."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def _died_on(actor: str) -> str | None:
    """The node of an actor, given its id, if Ray knows that it is no more; else None."""
    known = actor_state(actor)
    return known.node if known and known.state == "DEAD" else None


def _reason(error: Exception) -> str:
    """What happened to an engine, in one line."""
    if not isinstance(error, RayActorError):
        cause = getattr(error, "cause", None) or error
        return f"failed: {str(cause).strip().splitlines()[0]}"
    last_line = error.error_msg.strip().splitlines()[-1].strip()
    if error.actor_init_failed:
        return f"could not start: {last_line}"
    return f"died ({last_line})"
