"""Progress of a run, counted in steps of its trials, and the time that it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from tuner.job.spec import HalvingSpec
from tuner.search.halving import expected_steps

#: Seconds over which the pace is measured. If the machine becomes slower, the time left follows
#: after this time.
PACE_S = 120.0
#: Seconds that must be measured before a time left is shown.
MEASURED_S = 5.0


class StepCount:
    """The steps of a run: done, expected in total, and the pace.

    Args:
        trials: number of trials of the search.
        halving: of the job.
        clock: returns the time in seconds.
    """

    def __init__(
        self, trials: int, halving: HalvingSpec, clock: Callable[[], float] = time.monotonic
    ):
        self._trials, self._clock = trials, clock
        self._expected = expected_steps(halving)
        #: Trial -> steps done.
        self._done: dict[int, int] = {}
        #: Trial -> steps that it is expected to take in total.
        self._total: dict[int, float] = {}
        self._extra: set[int] = set()
        #: (time, steps done) within the last `PACE_S` seconds.
        self._measured: deque[tuple[float, int]] = deque()

    def expect(self, trials: int) -> None:
        """Change the number of trials of the search."""
        self._trials = trials

    def begun(self, trial: int, until: int, *, sure: bool, extra: bool = False) -> None:
        """Count a trial that is about to start or to continue.

        Args:
            trial: its number.
            until: steps at its next rung, or at its last one.
            sure: whether the trial ends at ``until``; if not, it may be promoted further.
            extra: whether it is not one of the search's trials, such as a final.
        """
        self._done.setdefault(trial, 0)
        self._total[trial] = until if sure else max(until, self._expected)
        if extra:
            self._extra.add(trial)

    def at(self, trial: int, step: int) -> None:
        """Record the step that a trial has reached; an older, smaller step changes nothing."""
        self._done[trial] = max(step, self._done.get(trial, 0))
        if trial not in self._total:
            self._total[trial] = self._expected

    def ended(self, trial: int) -> None:
        """Record that a trial is over: it takes no more steps."""
        self._total[trial] = self._done.setdefault(trial, 0)

    @property
    def done(self) -> int:
        """Number of steps done, over all trials."""
        return sum(self._done.values())

    @property
    def total(self) -> float:
        """Expected number of steps of the whole run: of trials that began and of those to come."""
        begun = sum(max(self._total[trial], done) for trial, done in self._done.items())
        to_come = max(0, self._trials - len(self._done.keys() - self._extra))
        return begun + to_come * self._expected

    @property
    def share(self) -> float:
        """Share of the steps that is done, 0 to 1."""
        total = self.total
        return min(1.0, self.done / total) if total else 0.0

    def measure(self) -> None:
        """Measure the pace; call this every second or so."""
        now, done = self._clock(), self.done
        if not self._measured or now > self._measured[-1][0]:
            self._measured.append((now, done))
        while len(self._measured) > 2 and now - self._measured[1][0] > PACE_S:
            self._measured.popleft()

    @property
    def left_s(self) -> float | None:
        """Seconds that the other steps will take at the present pace; None while it is unknown."""
        if len(self._measured) < 2:
            return None
        (then, before), (now, done) = self._measured[0], self._measured[-1]
        if now - then < MEASURED_S or done <= before:
            return None
        return (self.total - done) * (now - then) / (done - before)


def left_text(left_s: float | None) -> str:
    """Return the time left as text.

    Args:
        left_s: seconds left; None if unknown.
    """
    if left_s is None:
        return "time left: measuring"
    if left_s < 60:
        return "less than a minute left"
    minutes = round(left_s / 60)
    return f"about {minutes} min left" if minutes < 100 else f"about {minutes / 60:.0f} h left"
