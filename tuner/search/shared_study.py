"""SharedStudy: trials by driver, where several drivers may share one study."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.study.records import TrialRecord
from tuner.study.study import RunStudy


class SharedStudy:
    """Counts of the trials of this driver, and of other drivers as of the last `refresh`.

    A study in a journal file has one driver only.

    Args:
        study: the study of this driver's run.

    Attributes:
        begun_here: number of trials, without finals, that this driver has begun.
        begun_elsewhere: number of trials, without finals, that other drivers have begun.
        running_elsewhere: number of trials that other drivers are running; paused ones do not
            count.
        count: number of trials that have begun, with finals, as far as this driver knows.
    """

    def __init__(self, study: RunStudy):
        self._study = study
        self.begun_here = self.begun_elsewhere = self.running_elsewhere = self.count = 0

    def restore(self) -> Sequence[TrialRecord]:
        """Count and return the trials that this driver began in earlier launches."""
        records = self._study.records(own=True)
        self.begun_here = _count_begun(records)
        self._see(records)
        return records

    def refresh(self) -> Sequence[TrialRecord]:
        """Read the study again; count and return the trials of other drivers."""
        if not self._study.shared:
            return ()
        records = self._study.records(own=False)
        self.begun_elsewhere = _count_begun(records)
        self.running_elsewhere = self._study.others_running()
        self._see(records)
        return records

    def begin(self, *, final: bool = False) -> int:
        """Begin a trial and return its number."""
        number = self._study.begin()
        self.begun_here += not final
        self.count = max(self.count, number + 1)
        return number

    def _see(self, records: Sequence[TrialRecord]) -> None:
        self.count = max([self.count, *(record.trial + 1 for record in records)])


def _count_begun(records: Sequence[TrialRecord]) -> int:
    return sum(record.final_of is None for record in records)
