"""When a search ends before all of its trials have begun; the finals come on top."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tuner.job.ranking import Values, at_least_as_good
from tuner.job.spec import JobSpec


class Budget:
    """What a run has spent and found so far, worked out anew from the study when it is resumed.

    Args:
        job: the limits.
        clock: seconds.
        worked_s: working time of earlier launches.
        waiting: trials that wait at a rung, as they stand.

    Attributes:
        improved_after: how many trials had begun when one last brought something better.
    """

    def __init__(
        self,
        job: JobSpec,
        *,
        clock: Callable[[], float],
        worked_s: float,
        waiting: Collection[int] = (),
    ):
        self._limits, self._goals = job.budget, job.goals
        self._clock, self._before_s, self._started = clock, worked_s, clock()
        self._seconds: dict[int, float] = {}
        self._ended: set[int] = set()
        self._waiting = waiting
        self._best: tuple[Values, int] | None = None
        self._front: list[Values] = []
        self.improved_after = 0

    @property
    def worked_s(self) -> float:
        """Working time of all launches."""
        return self._before_s + self._clock() - self._started

    def worked(self, trial: int, seconds: float) -> None:
        """Count engine seconds of a trial so far."""
        self._seconds[trial] = max(seconds, self._seconds.get(trial, 0.0))

    def found(self, trial: int, values: Values, *, begun: int) -> bool:
        """Take in what a trial of the search is ranked by.

        Args:
            trial: its number.
            values: as `Goals.values`.
            begun: how many trials have begun.

        Returns:
            Whether nothing before was as good, in every objective.
        """
        if self._best is None or (values[:2], trial) < self._best:
            self._best = (values[:2], trial)
        if any(at_least_as_good(known, values) for known in self._front):
            return False
        rivals = [known for known in self._front if not at_least_as_good(values, known)]
        self._front = [*rivals, values]
        self.improved_after = begun
        return True

    def ended(self, trial: int, *, searched: bool) -> None:
        """Count a trial that is over."""
        if searched:
            self._ended.add(trial)

    @property
    def exhausted(self) -> str | None:
        """Why no trial of the search may go on, or None."""
        limits = self._limits
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
        """Why the search begins nothing more, or None."""
        return self.exhausted or self._satisfied()

    def _satisfied(self) -> str | None:
        if self._best is None:
            return None
        (broken, loss), best = self._best
        target, patience = self._limits.target, self._limits.patience
        if target is not None and not broken and loss <= self._goals.first.loss(target):
            return f"the target was reached by trial {best}"
        if patience is not None:
            # Those that were under way then may have been handed out before; those that go on may
            # still get better; those that wait were passed.
            passed = sum(trial >= self.improved_after for trial in {*self._ended, *self._waiting})
            if passed >= patience:
                better = "the trade-off so far" if self._goals.pareto else f"trial {best}"
                return f"{patience} trials brought nothing better than {better}"
        return None
