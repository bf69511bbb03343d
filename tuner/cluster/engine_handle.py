"""SupervisedEngine: one engine's actor as the supervisor sees it.

The supervisor never waits for an engine: it asks for a pulse, and later looks for the answer.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray.exceptions import ActorUnavailableError, RayError

from nst_core.errors import InputError, WorkError
from tuner.cluster.cpu_share import CpuShare
from tuner.cluster.engine_loss import loss_reason
from tuner.cluster.ray_private import actor_id, actor_state
from tuner.study.records import Pulse

#: Seconds for an engine to import torch, load the weights and be ready, once its node has room.
START_TIMEOUT_S = 600
#: An engine that is not ready after so many seconds may be waiting for room on its node.
ROOM_TIMEOUT_S = 20

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A place for one engine: a node, and a number among the engines of that node."""

    node: str
    number: int


class EngineLostError(Exception):
    """The engine cannot be used any more; the message says why, and continues its name."""


class EngineRefusedError(EngineLostError):
    """The engine's device cannot do what the job asks for; the message is a whole sentence."""


@dataclass
class SupervisedEngine:
    """An engine's actor and what is known about it.

    Attributes:
        name: name of the actor.
        actor: handle of the actor.
        place: where it runs.
        lanes: number of trials that it takes at a time.
        deadline_s: longest time in seconds for one task of the engine.
        is_up: whether it has been ready.
        waits_for_room: whether other programs of the cluster occupy its node.
        pulse: its last pulse.
        core_wait: share of the last window that it waited for a processor core, from 0 to 1, if
            that was too much; else None.
        answer: reference to the answer to the last question: is it ready, or what is its pulse?
    """

    name: str
    actor: Any
    place: Place
    lanes: int
    deadline_s: float
    is_up: bool = False
    waits_for_room: bool = False
    pulse: Pulse = field(default_factory=Pulse)
    core_wait: float | None = None
    answer: Any = field(init=False)
    _asked_at: float = field(init=False)
    _cpu_share: CpuShare = field(default_factory=CpuShare)

    def __post_init__(self) -> None:
        self.answer, self._asked_at = self.actor.ready.remote(), time.monotonic()

    def poll(self) -> None:
        """Read the answer if it has arrived, and ask for the next pulse.

        Raises:
            EngineRefusedError: the device of the engine cannot do what the job asks for.
            EngineLostError: the engine failed, died, hangs, or did not answer in time.
            ActorUnavailableError: Ray cannot reach the engine and does not know why.
        """
        now = time.monotonic()
        answered, _ = ray.wait([self.answer], timeout=0)
        if not answered:
            self._check_deadline(now)
            return
        try:
            pulse: Pulse = ray.get(self.answer)
        except ActorUnavailableError:
            raise
        except InputError as error:  # Ray raises it with the traceback as its message
            raise EngineRefusedError(str(getattr(error, "cause", error))) from None
        except (RayError, WorkError) as error:
            raise EngineLostError(loss_reason(error)) from None
        for warning in pulse.warnings:
            log.warning("%s: %s", self.name, warning)
        if pulse.busy_s > self.deadline_s:
            raise EngineLostError(f"hangs: its current task has taken {pulse.busy_s:.0f} s so far")
        if not self.is_up:
            log.info("%s is up", self.name)
        self.is_up, self.waits_for_room, self.pulse = True, False, pulse
        self.core_wait = self._cpu_share.waiting(pulse.cpu, now)
        self.ask()
        self._asked_at = now

    def ask(self) -> None:
        """Ask for a pulse; the deadline of an earlier question stays."""
        self.answer = self.actor.pulse.remote()

    def _check_deadline(self, now: float) -> None:
        limit_s = self.deadline_s if self.is_up else START_TIMEOUT_S
        if self._is_waiting_for_room(now):
            self._asked_at = now
        elif now - self._asked_at > limit_s:
            raise EngineLostError(f"gave no sign of life for {limit_s:.0f} s")

    def _is_waiting_for_room(self, now: float) -> bool:
        """Return whether the engine has not started because its node's cores or GPUs are in use."""
        if self.is_up or now - self._asked_at < ROOM_TIMEOUT_S:
            return False
        state = actor_state(actor_id(self.actor))
        # While an actor waits for room it has a node, but no process yet.
        self.waits_for_room = (
            state is not None
            and not state.has_process
            and state.state in ("DEPENDENCIES_UNREADY", "PENDING_CREATION")
        )
        return self.waits_for_room
