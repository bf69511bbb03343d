"""Plan and Callback: what the search tells those who run its trials and those who watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nst_core.stylizer_config import Configuration
from tuner.search.rungs import next_rungs
from tuner.study.records import Pulse, RungRecord

if TYPE_CHECKING:  # the processes of trials import this module
    from tuner.job.spec import JobSpec
    from tuner.study.commands import CommandRecord


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One trial to start or to resume.

    Attributes:
        trial: number of the trial.
        config: configuration of the trial.
        rungs: steps at which the trial has still to report, ascending; it ends at the last one.
        final: whether the trial is a final, which also runs on the held-out pairs.
    """

    trial: int
    config: Configuration
    rungs: tuple[int, ...]
    final: bool = False

    def next_rung(self, steps: int) -> int:
        """Return the first rung after ``steps``."""
        return next_rungs(self.rungs, steps)[0]

    def next_two(self, steps: int) -> tuple[int, int | None]:
        """Return the first rung after ``steps``, and the second one or None."""
        return next_rungs(self.rungs, steps)


class Callback:
    """Receives the events of a run; subclasses override the methods that they need."""

    def doing(self, what: str) -> None:
        """Called when the launch begins something other than trials, and with "" when that is done.

        Args:
            what: the activity in a few words.
        """

    def planned(self, plan: Plan, preset: str | None) -> None:
        """Called when a trial is about to start or to resume.

        Args:
            plan: the trial's plan.
            preset: name of the baseline preset that the trial runs, or None.
        """

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """Called when a trial has reported at a rung."""

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """Called when a trial has ended as ``complete``, ``pruned`` or ``failed``."""

    def commanded(self, record: CommandRecord, job: JobSpec) -> None:
        """Called when a command of a person was carried out or refused.

        Args:
            record: the command, and why it was refused.
            job: the job after the command.
        """

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """Called about once a second with the state of every engine, by its name."""
