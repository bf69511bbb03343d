"""Placement: which trial runs on which engine, and the saved lanes that move between engines.

The lanes of a trial are saved at every rung, so a trial that loses its engine loses at most the
steps since its last rung.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, cast

import ray
from ray.exceptions import RayError

from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.study.storage import database_explained

#: Seconds for an engine to encode some pictures or to save a trial's lanes; it does that between
#: two chunks of steps.
ANSWER_TIMEOUT_S = 60
#: Number of times in a row that a trial may lose its engine or its own process before it may be to
#: blame for that.
MOST_LOSSES = 3


class Slot(NamedTuple):
    """Room for one trial on an engine; trials that run at the same time have different numbers."""

    number: int
    engine: str


@dataclass(frozen=True, eq=False)
class Assignment:
    """A trial in a slot, from its start or promotion to its end or its next pause."""

    trial: int
    slot: Slot


@dataclass
class Placement:
    """Assignment of trials to engines.

    Attributes:
        supervisor: the engines.
        driver_error: an error of the driver that ends this launch, such as a full disk; Tune must
            not see it, since it would count it as an error of a trial.
    """

    supervisor: EngineSupervisor
    driver_error: OSError | None = None
    #: Trial -> its assignment.
    _assignments: dict[int, Assignment] = field(default_factory=dict)
    #: Trial -> reference to its saved lanes, which an engine is still sending.
    _arriving_lanes: dict[int, Any] = field(default_factory=dict)
    #: Trial -> number of losses since its last report.
    _losses: Counter[int] = field(default_factory=Counter)
    #: Dead engine -> the trials that were on it.
    _trials_at_death: dict[str, frozenset[int]] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether this launch cannot continue."""
        return self.driver_error is not None or self.supervisor.failure is not None

    @contextmanager
    def catch_driver_error(self) -> Iterator[None]:
        """Keep an error of the driver's files, or of its study's database, in `driver_error`."""
        try:
            with database_explained():
                yield
        except OSError as error:
            self.driver_error = error

    @property
    def full(self) -> bool:
        """Whether no engine has room for another trial."""
        return not self._engines_with_room()

    def _engines_with_room(self) -> dict[str, int]:
        """Return the engines that can take another trial, with their current number of trials."""
        load = Counter(assignment.slot.engine for assignment in self._assignments.values())
        capacity = self.supervisor.lanes
        if self._isolating:
            capacity = dict.fromkeys(capacity, 1)
        return {name: load[name] for name, most in capacity.items() if load[name] < most}

    @property
    def _isolating(self) -> bool:
        """Whether a trial may be to blame for the deaths of engines.

        Then each engine takes one trial at a time, for one rung, until the suspected trial has
        reported or has killed an engine that ran no other trial.
        """
        return any(losses >= MOST_LOSSES - 1 for losses in self._losses.values())

    def _trials_on(self, engine: str) -> frozenset[int]:
        return frozenset(a.trial for a in self._assignments.values() if a.slot.engine == engine)

    def record_loss(self, assignment: Assignment, process: str | None = None) -> bool:
        """Record that a trial lost its engine or its own process; return whether it is to blame.

        A trial is to blame after `MOST_LOSSES` losses without a report in between, if it was alone
        on its engine at the last one. A loss with a node, be it the node of the engine or of the
        process, does not count.

        Args:
            assignment: the assignment that the loss ended.
            process: id of the trial's own process if the trial lost that, else None.
        """
        engine = assignment.slot.engine
        self.supervisor.check_engine(engine)
        if self.supervisor.lost_with_node(engine):
            return False
        if process is not None and not self.supervisor.died_on_live_node(process):
            return False
        self._losses[assignment.trial] += 1
        suspects = frozenset([assignment.trial])
        if self.supervisor.actor(engine) is None:
            suspects = self._trials_at_death.setdefault(engine, self._trials_on(engine))
        blamed = self._losses[assignment.trial] >= MOST_LOSSES and suspects == {assignment.trial}
        if blamed:
            del self._losses[assignment.trial]
        return blamed

    def assign(self, trial: int) -> Assignment:
        """Assign a trial to the engine with the fewest trials."""
        load = self._engines_with_room()
        taken = {assignment.slot.number for assignment in self._assignments.values()}
        number = next(number for number in count() if number not in taken)
        self._assignments[trial] = Assignment(trial, Slot(number, min(load, key=load.__getitem__)))
        return self._assignments[trial]

    def must_leave(self, trial: int) -> bool:
        """Return whether a trial must leave its engine at this rung.

        Either the engine's node is about to leave the cluster, or another trial has to run alone.
        """
        engine = self._assignments[trial].slot.engine
        return engine not in self.supervisor.lanes or (
            self._isolating and len(self._trials_on(engine)) == 1
        )

    def pause(self, trial: int) -> None:
        """Free a trial's slot and have its lanes saved; `collect_lanes` returns them later."""
        if (assignment := self._assignments.pop(trial, None)) and (
            actor := self.supervisor.actor(assignment.slot.engine)
        ):
            self._arriving_lanes[trial] = actor.pause.remote(trial)

    def snapshot(self, trial: int) -> None:
        """Have a trial's lanes saved while it continues, without waiting for them."""
        if actor := self.supervisor.actor(self._assignments[trial].slot.engine):
            self._arriving_lanes[trial] = actor.snapshot.remote(trial)

    def collect_lanes(self, *, timeout_s: float = 0) -> Iterator[tuple[int, bytes]]:
        """Yield trial and saved lanes for all lanes that have arrived, each of them once.

        Lanes whose engine died before it sent them are lost.

        Args:
            timeout_s: seconds to wait for lanes that have not arrived.
        """
        trial_of = {reference: trial for trial, reference in self._arriving_lanes.items()}
        if not trial_of:
            return
        ready, _ = ray.wait(list(trial_of), num_returns=len(trial_of), timeout=timeout_s)
        for reference in ready:
            trial = trial_of[reference]
            del self._arriving_lanes[trial]
            with suppress(RayError):
                lanes = ray.get(reference)
                if lanes is not None:
                    yield trial, lanes

    def wait_for_lanes(self, trial: int) -> None:
        """Wait until a trial's saved lanes have arrived, if an engine is still sending them."""
        if trial in self._arriving_lanes:
            ray.wait([self._arriving_lanes[trial]], timeout=ANSWER_TIMEOUT_S)

    def send_lanes(self, assignment: Assignment, lanes: bytes | None) -> bool:
        """Send a trial's saved lanes to its engine; return whether there was anything to send."""
        actor = self.supervisor.actor(assignment.slot.engine)
        if lanes is None or actor is None:
            return False
        actor.receive_lanes.remote(assignment.trial, lanes)
        return True

    def share_an_engine(self, trial: int, other: int) -> bool:
        """Return whether two trials are assigned to the same engine."""
        one, two = self._assignments.get(trial), self._assignments.get(other)
        return one is not None and two is not None and one.slot.engine == two.slot.engine

    def images(self, trials: Sequence[int]) -> dict[int, list[bytes]]:
        """Return the PNG files of trials of one engine: trial -> one for each pair.

        Trials that the engine does not have are left out.

        Raises:
            RayError: the engine is dead, or does not answer in time.
        """
        if not trials:
            return {}
        name = self._assignments[trials[0]].slot.engine
        actor = self.supervisor.actor(name)
        if actor is None:
            raise RayError(f"{name} is gone")
        answer = ray.get(actor.images.remote(list(trials)), timeout=ANSWER_TIMEOUT_S)
        return cast("dict[int, list[bytes]]", answer)

    def record_report(self, trial: int) -> None:
        """Record that a trial reported: earlier losses and deaths do not count any more."""
        self._losses.pop(trial, None)
        self.supervisor.clear_deaths(self._assignments[trial].slot.engine)

    def release(self, trial: int, assignment: Assignment | None = None) -> None:
        """Free a trial's slot and drop its lanes.

        Args:
            trial: number of the trial.
            assignment: if given, do nothing unless this is still the trial's assignment.
        """
        current = self._assignments.get(trial)
        if current is not None and (assignment is None or assignment is current):
            del self._assignments[trial]
            if actor := self.supervisor.actor(current.slot.engine):
                actor.drop.remote(trial)
