"""How far a run is, counted in steps of its trials, and how long it may still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import mean

from tuner.job.spec import HalvingSpec
from tuner.search.halving import Halving

#: The pace is that of this long, so that a run on a machine that became busier soon says so.
PACE_S = 120.0
#: With less behind it a pace says nothing.
MEASURED_S = 5.0
#: Trials that stand for all where their rungs differ, as in the brackets of Hyperband.
_SAMPLE = 64


def expected_steps(halving: HalvingSpec) -> float:
    """Steps that a trial of the search takes on average, if each rung lets its share pass."""
    rule = Halving(rule=halving.rule, min_steps=halving.min_steps, reduction=halving.reduction)
    share = {"none": 1.0, "median": 0.5}.get(halving.rule, 1 / halving.reduction)

    def steps(trial: int) -> float:
        rungs = (0, *rule.rungs(trial, halving.max_steps))
        return sum((rungs[k + 1] - rungs[k]) * share**k for k in range(len(rungs) - 1))

    return mean(steps(trial) for trial in range(_SAMPLE))


class StepCount:
    """The steps of a run, done and to come.

    Args:
        trials: of the search.
        halving: of the job.
        clock: seconds.
    """

    def __init__(
        self, trials: int, halving: HalvingSpec, clock: Callable[[], float] = time.monotonic
    ):
        self._trials, self._clock = trials, clock
        self._expected = expected_steps(halving)
        self._at: dict[int, int] = {}
        #: Steps that each trial under way takes in all, as far as is known.
        self._until: dict[int, float] = {}
        self._extra: set[int] = set()
        self._seen: deque[tuple[float, int]] = deque()

    def begun(self, trial: int, until: int, *, sure: bool, extra: bool = False) -> None:
        """Count a trial that is about to run, or to go on.

        Args:
            trial: its number.
            until: its next rung, or its last one.
            sure: whether ``until`` is all that it takes; else a share of the trials goes further.
            extra: whether it comes on top of the search's trials.
        """
        self._at.setdefault(trial, 0)
        self._until[trial] = until if sure else max(until, self._expected)
        if extra:
            self._extra.add(trial)

    def at(self, trial: int, step: int) -> None:
        """Take in the step that a trial is at."""
        self._at[trial] = max(step, self._at.get(trial, 0))
        if trial not in self._until:
            self._until[trial] = self._expected

    def ended(self, trial: int) -> None:
        """A trial is over: it takes no more steps than it did."""
        self._until[trial] = self._at.setdefault(trial, 0)

    @property
    def done(self) -> int:
        """Steps done."""
        return sum(self._at.values())

    @property
    def total(self) -> float:
        """Steps in all: of trials that began, and what those to come take on average."""
        begun = sum(max(self._until[trial], at) for trial, at in self._at.items())
        to_come = max(0, self._trials - len(self._at.keys() - self._extra))
        return begun + to_come * self._expected

    @property
    def share(self) -> float:
        """Share of the steps that is done."""
        total = self.total
        return min(1.0, self.done / total) if total else 0.0

    def look(self) -> None:
        """Measure the pace; to be called now and then."""
        now, done = self._clock(), self.done
        if not self._seen or now > self._seen[-1][0]:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > PACE_S:
            self._seen.popleft()

    @property
    def left_s(self) -> float | None:
        """Seconds that the steps to come take at the present pace; None while it is unknown."""
        if len(self._seen) < 2:
            return None
        (then, before), (now, done) = self._seen[0], self._seen[-1]
        if now - then < MEASURED_S or done <= before:
            return None
        return (self.total - done) * (now - then) / (done - before)


def left_text(left_s: float | None) -> str:
    """The time left, in words."""
    if left_s is None:
        return "time left: measuring"
    if left_s < 60:
        return "less than a minute left"
    minutes = round(left_s / 60)
    return f"about {minutes} min left" if minutes < 100 else f"about {minutes / 60:.0f} h left"
