"""What crosses from the search to those who carry it out and those who watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nst_core.config import StyleConfig
from tuner.search.rungs import next_rungs
from tuner.study.records import Pulse, RungRecord


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One trial to run, or to take up again: ``config`` until the last of ``rungs``.

    Attributes:
        rungs: steps at which it is still to report.
        final: whether it runs a finalist again, and on the held-out pairs as well.
    """

    trial: int
    config: StyleConfig
    rungs: tuple[int, ...]
    final: bool = False

    def next_rung(self, steps: int) -> int:
        """The step at which it reports next."""
        return next_rungs(self.rungs, steps)[0]

    def next_two(self, steps: int) -> tuple[int, int | None]:
        """The step at which it reports next, and the one after, if there is one."""
        return next_rungs(self.rungs, steps)


class Callback:
    """Is told what happens in a run, to show it; whoever inherits may leave things out."""

    def doing(self, what: str) -> None:
        """What the launch is at while no trial advances, in a few words; empty when it is done."""

    def planned(self, plan: Plan, preset: str | None) -> None:
        """A trial is about to start, or to go on after waiting."""

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """A trial reached a rung."""

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """A trial is over."""

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """What the engines do, by their names; about once a second."""
