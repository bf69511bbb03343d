"""SharedStudy: what the other drivers of a study do, where several drivers share one."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.study.records import TrialRecord
from tuner.study.study import RunStudy


class SharedStudy:
    """The trials of other drivers, as of the last `refresh`.

    A study in a journal file has one driver only; then there are no such trials.

    Args:
        study: the study of this driver's run.

    Attributes:
        begun: number of trials of the search, presets included, that other drivers have begun.
        running: number of trials that other drivers are running now; paused ones do not count.
    """

    def __init__(self, study: RunStudy):
        self._study = study
        self.begun = self.running = 0

    def refresh(self) -> Sequence[TrialRecord]:
        """Read the study again and return all trials of other drivers."""
        if not self._study.shared:
            return ()
        records = self._study.records(own=False)
        self.begun = sum(record.final_of is None for record in records)
        self.running = self._study.others_running()
        return records
