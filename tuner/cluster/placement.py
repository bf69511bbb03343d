"""Placement: which trial is on which engine, and its lanes on their way from there.

What a trial loses with its engine is one rung at most, since lanes are saved at every rung.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.study.storage import database_explained

#: To encode some pictures, or to save a trial's lanes, between two chunks of an engine.
ANSWERS_WITHIN_S = 60
#: Times in a row that a trial may lose its engine, or its own process, before it may be to blame.
MOST_LOSSES = 3


class Slot(NamedTuple):
    """Room for one trial on an engine; of trials at the same time each has another number."""

    number: int
    engine: str


@dataclass(frozen=True, eq=False)
class Assignment:
    """A trial in a slot, from its start or its promotion to its end or its next wait."""

    trial: int
    slot: Slot


@dataclass
class Placement:
    """Which trial is where.

    Attributes:
        supervisor: the engines.
        fault: what kept the driver from going on, such as a full disk; Tune would take it for a
            fault of a trial.
    """

    supervisor: EngineSupervisor
    fault: OSError | None = None
    _on: dict[int, Assignment] = field(default_factory=dict)
    _saved: dict[int, Any] = field(default_factory=dict)
    _losses: Counter[int] = field(default_factory=Counter)
    #: Engine that died -> the trials that were on it.
    _died_with: dict[str, frozenset[int]] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether nothing more can be done in this launch."""
        return self.fault is not None or self.supervisor.hopeless is not None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep an error of the driver's own files, or of its study's database, from Tune."""
        try:
            with database_explained():
                yield
        except OSError as error:
            self.fault = error

    @property
    def full(self) -> bool:
        """Whether no engine takes another trial now."""
        return not self._with_room()

    def _with_room(self) -> dict[str, int]:
        """Engines that take another trial, and how many they have."""
        load = Counter(assignment.slot.engine for assignment in self._on.values())
        lanes = {name: 1 if self._careful else most for name, most in self.supervisor.lanes.items()}
        return {name: load[name] for name, most in lanes.items() if load[name] < most}

    @property
    def _careful(self) -> bool:
        """Whether a trial may be to blame for the deaths of engines.

        Then engines take one trial at a time, for a rung each, until that trial has reported or
        killed an engine alone.
        """
        return any(losses >= MOST_LOSSES - 1 for losses in self._losses.values())

    def _beside(self, engine: str) -> frozenset[int]:
        return frozenset(s.trial for s in self._on.values() if s.slot.engine == engine)

    def lost(self, assignment: Assignment, process: str | None = None) -> bool:
        """Note that a trial lost its engine, or its own process; returns whether it is to blame.

        It is if that befell it `MOST_LOSSES` times without a report between, the last time alone on
        its engine. Nobody is to blame for a node that went, be it the engine's or the process's.

        Args:
            assignment: that ended so.
            process: id of the trial's own process, if that is what it lost.
        """
        engine = assignment.slot.engine
        self.supervisor.check(engine)
        if self.supervisor.left(engine):
            return False
        if process is not None and not self.supervisor.outlived(process):
            return False
        self._losses[assignment.trial] += 1
        suspects = frozenset([assignment.trial])
        if self.supervisor.actor(engine) is None:
            suspects = self._died_with.setdefault(engine, self._beside(engine))
        blamed = self._losses[assignment.trial] >= MOST_LOSSES and suspects == {assignment.trial}
        if blamed:
            del self._losses[assignment.trial]
        return blamed

    def take(self, trial: int) -> Assignment:
        """Put a trial on the engine with the fewest."""
        room = self._with_room()
        taken = {assignment.slot.number for assignment in self._on.values()}
        number = next(number for number in count() if number not in taken)
        self._on[trial] = Assignment(trial, Slot(number, min(room, key=room.__getitem__)))
        return self._on[trial]

    def leaves(self, trial: int) -> bool:
        """Whether a trial gives up its place: its node is to go, or it is another's turn alone."""
        engine = self._on[trial].slot.engine
        return engine not in self.supervisor.lanes or (
            self._careful and len(self._beside(engine)) == 1
        )

    def pause(self, trial: int) -> None:
        """Free a trial's slot; its lanes are on their way, for `arrived` or `waited_for`."""
        if (assignment := self._on.pop(trial, None)) and (
            actor := self.supervisor.actor(assignment.slot.engine)
        ):
            self._saved[trial] = actor.pause.remote(trial)

    def snapshot(self, trial: int) -> None:
        """Have a trial's lanes saved while they go on; nobody waits for it."""
        if actor := self.supervisor.actor(self._on[trial].slot.engine):
            self._saved[trial] = actor.snapshot.remote(trial)

    def arrived(self, *, within_s: float = 0) -> Iterator[tuple[int, bytes]]:
        """Lanes that were saved and have come, each once; what an engine took with it is lost."""
        by_ref = {ref: trial for trial, ref in self._saved.items()}
        if not by_ref:
            return
        ready, _ = ray.wait(list(by_ref), num_returns=len(by_ref), timeout=within_s)
        for ref in ready:
            trial = by_ref[ref]
            del self._saved[trial]
            with suppress(RayError):
                lanes = ray.get(ref)
                if lanes is not None:
                    yield trial, lanes

    def waited_for(self, trial: int) -> None:
        """Wait until a trial's lanes have come, if they are on their way."""
        if trial in self._saved:
            ray.wait([self._saved[trial]], timeout=ANSWERS_WITHIN_S)

    def take_up(self, assignment: Assignment, lanes: bytes | None) -> bool:
        """Bring the lanes of a trial to its slot; False if there are none."""
        actor = self.supervisor.actor(assignment.slot.engine)
        if lanes is None or actor is None:
            return False
        actor.take_up.remote(assignment.trial, lanes)
        return True

    def images(self, trial: int) -> list[bytes]:
        """PNG files of a trial.

        Raises:
            RayError: the engine is dead, or does not answer.
        """
        name = self._on[trial].slot.engine
        actor = self.supervisor.actor(name)
        if actor is None:
            raise RayError(f"{name} is gone")
        pngs: list[bytes] = ray.get(actor.images.remote(trial), timeout=ANSWERS_WITHIN_S)
        return pngs

    def progressed(self, trial: int) -> None:
        """A trial reported."""
        self._losses.pop(trial, None)
        self.supervisor.progressed(self._on[trial].slot.engine)

    def release(self, trial: int, assignment: Assignment | None = None) -> None:
        """Free a trial's slot; of a certain assignment, only if that is not over."""
        here = self._on.get(trial)
        if here is not None and (assignment is None or assignment is here):
            del self._on[trial]
            if actor := self.supervisor.actor(here.slot.engine):
                actor.drop.remote(trial)
