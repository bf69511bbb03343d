"""What crosses from the search to those who carry it out and those who watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nst_core.config import StyleConfig
from tuner.records import RungRecord
from tuner.rungs import next_rungs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One trial to run, or to take up again: ``config`` until the last of ``rungs``.

    Attributes:
        rungs: steps at which it is still to report.
        holdout: whether it runs on the held-out pairs as well.
    """

    trial: int
    config: StyleConfig
    rungs: tuple[int, ...]
    holdout: bool = False

    def next_rung(self, steps: int) -> int:
        """The step at which it reports next."""
        return next_rungs(self.rungs, steps)[0]

    def next_two(self, steps: int) -> tuple[int, int | None]:
        """The step at which it reports next, and the one after, if there is one."""
        return next_rungs(self.rungs, steps)


class Watcher(Protocol):
    """Is told what happens in a run, to show it."""

    def planned(self, plan: Plan, preset: str | None) -> None:
        """A trial is about to start, or to go on after waiting."""

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """A trial reached a rung."""

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """A trial is over."""
