"""Budget: when a search ends before all of its trials have begun; finals are not counted."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tuner.job.ranking import Values, at_least_as_good
from tuner.job.spec import JobSpec
from tuner.study.records import TrialRecord
from tuner.study.study import RunStudy

#: Notes of a study: working time of all launches, and `Budget.improved_after`.
WORKED_S, IMPROVED = "worked_s", "improved_after"


class Budget:
    """What a search has spent and what it has gained, compared with the limits of its job.

    Args:
        study: the run's study, which keeps what does not follow from its trials.
        job: the job with its limits.
        clock: return the time in seconds.
        paused: numbers of the trials that are paused; the caller keeps this collection up to date.

    Attributes:
        limits: the limits; they may change.
        improved_after: how many trials had begun at the last improvement.
    """

    def __init__(
        self,
        study: RunStudy,
        job: JobSpec,
        *,
        clock: Callable[[], float],
        paused: Collection[int] = (),
    ):
        self._study, self.limits, self._goals = study, job.budget, job.goals
        self._clock, self._started_s = clock, clock()
        #: When the clock was stopped; None while it runs.
        self._still_s: float | None = None
        self._earlier_s = float(study.notes.get(WORKED_S, 0.0))
        self._seconds: dict[int, float] = {}
        self._ended: set[int] = set()
        self._paused = paused
        self._best: tuple[Values, int] | None = None
        self._front: list[Values] = []
        self.improved_after = 0

    @property
    def worked_s(self) -> float:
        """Working time of all launches, in seconds."""
        now_s = self._clock() if self._still_s is None else self._still_s
        return self._earlier_s + now_s - self._started_s

    def stand_still(self, still: bool) -> None:
        """Stop the clock of the working time, or let it go on."""
        if still and self._still_s is None:
            self._still_s = self._clock()
        elif not still and self._still_s is not None:
            self._started_s += self._clock() - self._still_s
            self._still_s = None

    def add_trial(self, record: TrialRecord) -> None:
        """Count a trial of an earlier launch or of another driver."""
        if record.final_of is None:
            self.add_seconds(record.trial, record.seconds)
        if record.state != "running":
            self.add_ended(record)

    def add_seconds(self, trial: int, seconds: float) -> None:
        """Count the engine seconds that a trial has taken so far."""
        self._seconds[trial] = max(seconds, self._seconds.get(trial, 0.0))

    def add_ended(self, record: TrialRecord) -> None:
        """Count a trial that has ended, if the search chose it."""
        if record.searched:
            self._ended.add(record.trial)

    def add_report(self, trial: int, values: Values, *, begun: int) -> bool:
        """Count a report of a trial of the search.

        Args:
            trial: number of the trial.
            values: what the report is ranked by; see `Goals.values`.
            begun: how many trials have begun.

        Returns:
            Whether the report is an improvement: no earlier one was as good in every objective.
        """
        if self._best is None or (values[:2], trial) < self._best:
            self._best = (values[:2], trial)
        if any(at_least_as_good(known, values) for known in self._front):
            return False
        rivals = [known for known in self._front if not at_least_as_good(values, known)]
        self._front = [*rivals, values]
        self.improved_after = begun
        return True

    def save(self, *, improved: bool) -> None:
        """Note the working time in the study, and the last improvement if it is new."""
        self._study.note(WORKED_S, self.worked_s)  # without a time limit too: one may be set later
        if improved:
            self._study.note(IMPROVED, self.improved_after)

    def restore_improvement(self) -> None:
        """Read the last improvement from the study; the order of its trials does not tell it."""
        self.improved_after = self._study.notes.get(IMPROVED, self.improved_after)

    @property
    def exhausted(self) -> str | None:
        """Why no trial of the search may continue; None while trials may."""
        limits = self.limits
        if limits.minutes is not None and self.worked_s >= limits.minutes * 60:
            return "the time budget was spent"
        if (
            limits.engine_seconds is not None
            and sum(self._seconds.values()) >= limits.engine_seconds
        ):
            return "the budget of engine seconds was spent"
        return None

    @property
    def spent(self) -> str | None:
        """Why the search begins no more trials; None while it does."""
        return self.exhausted or self._satisfied()

    def _satisfied(self) -> str | None:
        """Return why the result is good enough, or not worth more trials; None otherwise."""
        if self._best is None:
            return None
        (violation, loss), best = self._best
        target, patience = self.limits.target, self.limits.patience
        if target is not None and not violation and loss <= self._goals.first.loss(target):
            return f"the target was reached by trial {best}"
        if patience is not None:
            # Only trials that began after the last improvement count. Running trials may still
            # improve; paused trials were surpassed.
            surpassed = {*self._ended, *self._paused}
            if sum(trial >= self.improved_after for trial in surpassed) >= patience:
                better = "the trade-off so far" if self._goals.pareto else f"trial {best}"
                return f"{patience} trials brought nothing better than {better}"
        return None
