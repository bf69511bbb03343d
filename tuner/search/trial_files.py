"""TrialFiles: the images and saved lanes of trials, in the run directory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nst_core.files import read_limited
from tuner.job.objective import Goals
from tuner.job.ranking import Values
from tuner.study.records import RungRecord
from tuner.study.run_dir import MAX_BYTES, RunDir
from tuner.study.study import RunStudy


class TrialFiles:
    """Files that a run keeps of its trials.

    Of every trial it keeps the images of the best report. The images of each report are kept in
    finals, to show how the result develops, and in a search with several objectives, where an early
    report may be a good trade-off. Saved lanes are kept until their trial ends.

    Args:
        run: the run directory.
        study: the run's study.
        goals: how reports are ranked.
    """

    def __init__(self, run: RunDir, study: RunStudy, goals: Goals):
        self._run, self._study, self._goals = run, study, goals
        self._best: dict[int, Values] = {}
        #: Ended trials whose lanes are deleted once the study is written.
        self._ended: list[int] = []

    def keep_images(
        self,
        number: int,
        steps: int,
        rung: RungRecord,
        images: Callable[[], Sequence[bytes]],
        *,
        final: bool,
    ) -> None:
        """Save the images of a report if they are to be kept; call this before recording it.

        Args:
            number: number of the trial.
            steps: optimizer steps that the trial has done.
            rung: the report.
            images: return the trial's PNG files; called only if they are kept.
            final: whether the trial is a final.
        """
        if number not in self._best:
            best = self._study.record(number).best_rung(self._goals)
            self._best[number] = self._goals.values(best[1].scores) if best else (math.inf,)
        values = self._goals.values(rung.scores)
        is_best = values < self._best[number]
        every = final or self._goals.pareto
        if is_best or every:
            self._run.save_images(number, images(), best=is_best, steps=steps if every else None)
        self._best[number] = min(values, self._best[number])

    def save_lanes(self, number: int, lanes: bytes) -> None:
        """Save the lanes of a trial, as an engine wrote them at its last rung."""
        self._run.save_lanes(number, lanes)

    def lanes(self, number: int) -> bytes | None:
        """Return the saved lanes of a trial, of this launch or an earlier one; None without any.

        A file that cannot be read is noted with the trial, which then starts from step 0.
        """
        path = self._run.lanes_file(number)
        if not path.is_file():
            return None
        try:
            return read_limited(path, MAX_BYTES)
        except OSError as error:
            self._study.remark(number, f"its saved lanes could not be read ({error})")
            return None

    def ended(self, number: int) -> None:
        """Mark the lanes of a trial that has ended for `delete_ended`."""
        self._best.pop(number, None)
        self._ended.append(number)

    def delete_ended(self) -> None:
        """Delete the saved lanes of ended trials."""
        while self._ended:
            self._run.lanes_file(self._ended.pop()).unlink(missing_ok=True)
