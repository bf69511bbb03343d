"""Roster: this driver's trials that have begun and have not ended."""

from __future__ import annotations

from collections.abc import Callable

from tuner.search.halving import Rung
from tuner.search.protocol import Plan
from tuner.study.study import Resumption, RunStudy


class Roster:
    """The unfinished trials of one driver, each of them running, paused or orphaned.

    Args:
        study: the run's study, which records every pause and promotion.

    Attributes:
        running: trial -> the plan that a backend carries out.
        paused: trial -> the rung at which it waits to be promoted.
        orphaned: trial -> how it stopped, for trials that lost their engine or their driver and
            are to be resumed.
    """

    def __init__(self, study: RunStudy):
        self._study = study
        self.running: dict[int, Plan] = {}
        self.paused: dict[int, Rung] = {}
        self.orphaned: dict[int, Resumption] = {}

    def restore(self, rung: Callable[[int, int], Rung]) -> None:
        """Take over the trials that a killed driver left running or paused.

        Args:
            rung: return the rung of a trial by its number and its steps.
        """
        for number, resumption in self._study.unfinished().items():
            self._study.revive(number)
            if resumption.paused_at is None:
                self.orphaned[number] = resumption
            else:
                self.paused[number] = rung(number, resumption.paused_at)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of all unfinished trials."""
        return (*self.orphaned, *self.running, *self.paused)

    @property
    def waiting(self) -> tuple[int, ...]:
        """Numbers of the unfinished trials that no backend is running."""
        return (*self.orphaned, *self.paused)

    @property
    def searching(self) -> bool:
        """Whether any trial of the search is running; finals do not count."""
        return any(not plan.final for plan in self.running.values())

    def pause(self, number: int, rung: Rung) -> None:
        """Pause a running trial at a rung."""
        del self.running[number]
        self.paused[number] = rung
        self._study.wait(number, rung.steps)

    def promote(self, number: int) -> None:
        """Take a paused trial off the roster, to be started again; the study keeps the decision.

        A promotion is final: a trial that loses its engine afterwards is not judged again.
        """
        rung = self.paused.pop(number)
        self._study.wait(number, None)
        self._study.record_continue(number, rung.steps)

    def orphan(self, number: int) -> bool:
        """Mark a running trial to be resumed; return whether it was running."""
        if self.running.pop(number, None) is None:
            return False
        self.orphaned[number] = self._study.resumption(number)
        return True

    def next_orphan(self) -> tuple[int, Resumption]:
        """Take the first orphaned trial off the roster; return its number and how it stopped."""
        number = next(iter(self.orphaned))
        return number, self.orphaned.pop(number)

    def remove(self, number: int) -> None:
        """Take a trial that has ended off the roster."""
        for trials in (self.running, self.paused, self.orphaned):
            trials.pop(number, None)
