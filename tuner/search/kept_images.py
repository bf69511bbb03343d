"""KeptImages: which of a trial's images are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tuner.job.objective import Goals
from tuner.job.ranking import Values
from tuner.study.records import RungRecord, TrialRecord
from tuner.study.run_dir import RunDir


class KeptImages:
    """Keeps every trial's images as of its best report.

    Those of each report are kept of a final, which show how its result comes to be, and in a Pareto
    search, where a trial may be worth having after fewer steps, for less.

    Args:
        run: where they go.
        goals: what reports are ranked by.
        record: gives what a trial, by its number, has reported so far.
    """

    def __init__(self, run: RunDir, goals: Goals, record: Callable[[int], TrialRecord]):
        self._run, self._goals, self._record = run, goals, record
        self._best: dict[int, Values] = {}

    def keep(
        self,
        number: int,
        steps: int,
        rung: RungRecord,
        images: Callable[[], Sequence[bytes]],
        *,
        final: bool,
    ) -> None:
        """Keep the images of a report that the study does not hold yet, if they are wanted.

        Args:
            number: of the trial.
            steps: where it is.
            rung: what it reported.
            images: gives its PNG files; asked only then.
            final: whether it runs a finalist again.
        """
        if number not in self._best:
            best = self._record(number).best_rung(self._goals)
            self._best[number] = self._goals.values(best[1].scores) if best else (math.inf,)
        values = self._goals.values(rung.scores)
        is_best = values < self._best[number]
        every = final or self._goals.pareto
        if is_best or every:
            self._run.save_images(number, images(), best=is_best, steps=steps if every else None)
        self._best[number] = min(values, self._best[number])

    def ended(self, number: int) -> None:
        """A trial is over; nothing more is to be remembered of it."""
        self._best.pop(number, None)
