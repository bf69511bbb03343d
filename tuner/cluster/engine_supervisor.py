"""EngineSupervisor: starts the engines of a run on the nodes of a cluster, and restarts them.

A node that joins gets engines. A node that leaves takes its engines with it. An engine that died or
hangs is replaced.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nst_core.errors import InputError, WorkError
from tuner.cluster.engine_handle import (
    EngineLostError,
    EngineRefusedError,
    Place,
    SupervisedEngine,
)
from tuner.cluster.engine_shapes import EngineShape, shapes_of
from tuner.cluster.ray_private import actor_id, actor_state, draining_nodes
from tuner.study.records import EngineStats, Pulse

#: A sampler that learns should see so many rounds of trials: the more trials run at once, the less
#: each of them learns from the others.
LEARNING_ROUNDS = 4
#: Seconds between two checks of nodes and engines.
CHECK_INTERVAL_S = 1.0
#: Ray reports a dead process at once, but a dead node only after about 15 s. An engine that is
#: unreachable for this long counts as lost.
UNREACHABLE_TIMEOUT_S = 30
#: Seconds that a run waits for a node if all are gone. With an autoscaler, a run waits without end
#: and logs a line at this interval.
NODES_TIMEOUT_S = 600
#: A place whose engine died so often in a row, with no report in between, gets no engine any more:
#: once more often than a trial may kill its engine (`placement.MOST_LOSSES`).
MOST_DEATHS = 4
#: Seconds to wait for an engine's answer if it does not hold up the run: a pulse, or statistics.
ANSWER_TIMEOUT_S = 10

log = logging.getLogger(__name__)


class EngineSupervisor:
    """The engines of a run.

    Args:
        make: returns an engine's actor, given its shape and Ray's options of the actor.
        device: `resources.device` of the job: ``auto``, ``cpu`` or ``cuda``; ``auto`` means no CPU
            engines if there are GPUs.
        lanes: number of trials that a CPU engine, or all engines of one GPU together, take at a
            time; if None, the default of the device, or less if a search that learns has few
            trials.
        trials: number of trials of a search that learns; None if the search does not learn.
        gpus: number of GPUs to request from an autoscaler; the run waits for the first one. None
            means the GPUs that are there.
        engines_per_gpu: number of engines that share one GPU.
        shapes: return the engines for a node, given its resources and the device; None for those
            of `shapes_of`.
        deadline_s: seconds after which an engine that is busy with one task counts as hanging.

    Attributes:
        failure: why the run cannot get an engine any more; None as long as it may get one.
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
        engines_per_gpu: int = 1,
        shapes: Callable[[Mapping[str, float], str], Sequence[EngineShape]] | None = None,
    ):
        self._make, self._device, self._lanes, self._trials = make, device, lanes, trials
        self._deadline_s, self._gpus = deadline_s, gpus
        self._engines_per_gpu = engines_per_gpu
        self._for_workers = shapes is not None
        self._shapes = shapes or functools.partial(shapes_of, engines_per_gpu=engines_per_gpu)
        self.failure: str | None = None
        #: Why the last place was given up, if no engine has run since then.
        self._last_failure: str | None = None
        #: Why the last engine was refused whose device cannot do what the job asks for.
        self._refusal: str | None = None
        self._engines: dict[str, SupervisedEngine] = {}
        self._names = map("engine-{}".format, itertools.count())
        self._deaths: Counter[Place] = Counter()
        self._draining: frozenset[str] = frozenset()
        self._lost_with_node: set[str] = set()
        #: Engines that cannot be reached, and since when: their nodes may be gone.
        self._unreachable: dict[str, tuple[SupervisedEngine, float]] = {}
        #: Reasons for the loss of engines that have been logged.
        self._reasons: set[str] = set()
        self._warned_of_busy_cluster, self._warned_of_busy_machine = False, False
        self._wait_messages = 0
        self._checked_at = self._had_engine_at = time.monotonic()
        self._checks_stopped = False

    # --- what the engines are doing ---------------------------------------------------------------

    @property
    def lanes(self) -> Mapping[str, int]:
        """Engines that take trials, with the number of trials that each takes at a time."""
        up = {
            name: engine.lanes
            for name, engine in self._engines.items()
            if engine.is_up and engine.place.node not in self._draining
        }
        if self._lanes or self._trials is None or not up:
            return up
        working = sum(not engine.waits_for_room for engine in self._engines.values())
        share = max(1, self._trials // (LEARNING_ROUNDS * working))
        return {name: min(lanes, share) for name, lanes in up.items()}

    @property
    def startup_status(self) -> str:
        """Number of engines that are up, as a message; empty if all of them are up."""
        up, count = sum(engine.is_up for engine in self._engines.values()), len(self._engines)
        return f"starting the engines: {up} of {count} up" if up < count else ""

    def actor(self, name: str) -> Any:
        """Return an engine's actor; None if the engine is gone."""
        engine = self._engines.get(name)
        return engine.actor if engine else None

    def lost_with_node(self, name: str) -> bool:
        """Return whether an engine is gone because its node is gone, as far as Ray knows."""
        return name in self._lost_with_node or name in self._unreachable

    def died_on_live_node(self, process: str) -> bool:
        """Return whether a process, given the id of its actor, died while its node lives."""
        return _node_of_dead(process) in _nodes()

    @property
    def pulses(self) -> Mapping[str, Pulse]:
        """Last pulse of every engine that has been up."""
        return {name: engine.pulse for name, engine in self._engines.items() if engine.is_up}

    def clear_deaths(self, name: str) -> None:
        """Forget earlier deaths at an engine's place: the engine has produced a report."""
        if name in self._engines:
            self._deaths.pop(self._engines[name].place, None)

    def stats(self) -> list[EngineStats]:
        """Return the statistics of all engines that are up and answer."""
        stats = []
        for engine in self._engines.values():
            if engine.is_up:
                with suppress(RayError):
                    stats.append(ray.get(engine.actor.stats.remote(), timeout=ANSWER_TIMEOUT_S))
        return stats

    # --- start, check, stop -----------------------------------------------------------------------

    def start(self) -> Iterator[None]:
        """Start the engines; yields about once a second until one engine is up.

        Raises:
            InputError: the cluster does not have the device or the GPUs that the job asks for, or
                none that computes in its precision.
            WorkError: no engine could start.
        """
        if self._engines_per_gpu > 1 and not (self._gpus or self._has_gpus(_nodes())):
            raise InputError(
                f"resources.engines_per_gpu: {self._engines_per_gpu} has no effect, since the"
                " cluster has no GPU; remove this key, or run the job on a cluster with GPUs"
            )
        if self._gpus:
            request_resources(bundles=[{"GPU": 1}] * self._gpus)
        self._follow_nodes()
        if not self._engines and not self._gpus:
            if self._for_workers:
                raise InputError(
                    "resources: no node of the cluster has the gpus_per_worker and cpus_per_worker"
                    " that one process of the stylizer needs; ask for fewer, or add such a node"
                )
            if self._device == "cuda":
                raise InputError("resources.device: cuda was asked for and the cluster has no GPU")
            raise InputError("the cluster has neither a GPU nor a CPU core to run on")
        while not self.lanes:
            if answers := [engine.answer for engine in self._engines.values()]:
                ray.wait(answers, timeout=CHECK_INTERVAL_S)
            else:
                time.sleep(CHECK_INTERVAL_S)
            self.check_all()
            if self.failure:
                refused = self.failure == self._refusal
                raise InputError(self.failure) if refused else WorkError(self.failure)
            yield

    def check_if_due(self) -> bool:
        """Call `check_all` if the last check is long enough ago; return whether it was."""
        due = time.monotonic() - self._checked_at >= CHECK_INTERVAL_S
        if due:
            self.check_all()
        return due

    def check_all(self) -> None:
        """Check which nodes joined or left, and which engines live, without waiting."""
        if self._checks_stopped:
            return
        self._checked_at = time.monotonic()
        for name in list(self._engines):
            self._poll(name)
        self._decide_unreachable()
        self._follow_nodes()
        if self._engines:
            self._had_engine_at, self._wait_messages, self._last_failure = self._checked_at, 0, None
        elif self._last_failure and not self._unreachable:  # and no new node has got an engine
            self.failure = self._last_failure
        else:
            self._wait_for_nodes(self._checked_at - self._had_engine_at)

    def check_engine(self, name: str) -> None:
        """Check one engine now, waiting up to `ANSWER_TIMEOUT_S` for its answer."""
        if (engine := self._engines.get(name)) and not self._checks_stopped:
            engine.ask()
            ray.wait([engine.answer], timeout=ANSWER_TIMEOUT_S)
            self._poll(name)

    def stop_checks(self) -> None:
        """Ask Ray nothing more about nodes and engines.

        Slurm signals every process of a job: Ray's control service ends as well, and Ray aborts a
        process that asks it something then.
        """
        self._checks_stopped = True

    def close(self) -> None:
        """Stop all engines, and request no more nodes."""
        if self._gpus:
            request_resources(bundles=[])
        unreachable = [engine for engine, _ in self._unreachable.values()]
        for engine in [*self._engines.values(), *unreachable]:
            ray.kill(engine.actor)
        self._engines, self._unreachable = {}, {}

    # --- nodes ------------------------------------------------------------------------------------

    def _follow_nodes(self) -> None:
        """Drop engines whose nodes are gone, and start an engine at every free place."""
        nodes = _nodes()
        self._draining = draining_nodes()
        for name, engine in list(self._engines.items()):
            if engine.place.node not in nodes:
                self._drop_with_node(name)
        device = self._device
        if device == "auto":
            device = "cuda" if self._gpus or self._has_gpus(nodes) else "cpu"
        taken = {engine.place for engine in self._engines.values()}
        taken |= {engine.place for engine, _ in self._unreachable.values()}
        for node, resources in nodes.items():
            for number, shape in enumerate(self._shapes(resources, device)):
                place = Place(node, number)
                if place in taken or node in self._draining:
                    continue
                if self._deaths[place] < MOST_DEATHS:
                    self._start_engine(place, shape)

    @staticmethod
    def _has_gpus(nodes: Mapping[str, Mapping[str, float]]) -> bool:
        return any(node.get("GPU") for node in nodes.values())

    def _wait_for_nodes(self, waited_s: float) -> None:
        if waited_s <= NODES_TIMEOUT_S * (self._wait_messages + 1):
            return
        if not self._gpus:
            self.failure = self.failure or "no node has had room for an engine for 10 minutes"
            return
        self._wait_messages += 1
        log.warning(
            "waiting for a GPU for %.0f minutes now; `ray status` on the head says why there is"
            " none, Ctrl-C stops",
            waited_s / 60,
        )

    # --- engines ----------------------------------------------------------------------------------

    def _start_engine(self, place: Place, shape: EngineShape) -> None:
        name = next(self._names)
        options = {
            "num_cpus": shape.cpus,
            "num_gpus": shape.gpus,
            "name": name,
            "max_concurrency": 1000,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place.node, soft=False),
        }
        actor = self._make(shape, options)
        lanes = shape.lanes(place.number, self._lanes)
        self._engines[name] = SupervisedEngine(name, actor, place, lanes, self._deadline_s)
        log.info("%s starts on node %s (%s)", name, place.node[:8], shape.device)

    def _poll(self, name: str) -> None:
        engine = self._engines[name]
        try:
            engine.poll()
        except EngineRefusedError as error:
            self._deaths[engine.place] = MOST_DEATHS - 1  # another engine would be refused as well
            self._lose(name, f"cannot be used: {error}")
            self._last_failure = self._refusal = str(error)
        except EngineLostError as error:
            self._lose(name, str(error))
        except ActorUnavailableError:
            # Ray cannot say yet whether the engine died or its node; its trials continue elsewhere.
            log.warning("%s cannot be reached; perhaps its node is gone", name)
            self._unreachable[name] = self._engines.pop(name), time.monotonic()
        else:
            self._warn_once(engine)

    def _warn_once(self, engine: SupervisedEngine) -> None:
        if engine.waits_for_room and not self._warned_of_busy_cluster:
            self._warned_of_busy_cluster = True
            log.warning("the cluster is busy: waiting for room for an engine")
        if engine.core_wait is not None and not self._warned_of_busy_machine:
            self._warned_of_busy_machine = True
            log.warning(
                "%s waits for a processor core %.0f %% of the time, since other programs keep its"
                " machine busy; the run is that much slower",
                engine.name,
                100 * engine.core_wait,
            )

    def _decide_unreachable(self) -> None:
        """Replace unreachable engines that are known to be dead, or are unreachable too long."""
        nodes = _nodes() if self._unreachable else {}
        for name, (engine, since) in list(self._unreachable.items()):
            late = time.monotonic() - since > UNREACHABLE_TIMEOUT_S
            if late or engine.place.node not in nodes or _node_of_dead(actor_id(engine.actor)):
                del self._unreachable[name]
                self._engines[name] = engine
                self._lose(name, "could not be reached" if late else "died")

    def _lose(self, name: str, reason: str) -> None:
        """Drop an engine, and give up its place if engines died there too often."""
        if self._engines[name].place.node not in _nodes():
            self._drop_with_node(name)
            return
        engine = self._engines.pop(name)
        ray.kill(engine.actor)
        self._deaths[engine.place] += 1
        given_up = self._deaths[engine.place] >= MOST_DEATHS
        # The same reason is quoted once: a missing driver fails every engine of every node.
        known = reason in self._reasons
        happened = "failed in the same way" if known else reason
        self._reasons.add(reason)
        level = logging.INFO if known and not given_up else logging.WARNING
        sequel = "given up" if given_up else "another one starts"
        log.log(level, "%s %s; %s", name, happened, sequel)
        if given_up:
            self._last_failure = f"engines died {MOST_DEATHS} times in a row; the last one {reason}"

    def _drop_with_node(self, name: str) -> None:
        log.warning("%s is gone with its node", name)
        del self._engines[name]
        self._lost_with_node.add(name)


def _nodes() -> dict[str, Mapping[str, float]]:
    """Return the resources of all nodes that are alive, by node id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def _node_of_dead(actor: str) -> str | None:
    """Return the node of an actor, given its id, if Ray knows that the actor is dead; else None."""
    state = actor_state(actor)
    return state.node if state and state.state == "DEAD" else None
