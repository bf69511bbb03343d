"""Early stopping as pure functions: who goes on at a rung, who waits, who is promoted.

Nothing is remembered between calls. Everything is worked out from the values that trials have
reported, which the study holds, so a resumed run decides as an uninterrupted one.

Asynchronous successive halving is that of Li et al., "A System for Massively Parallel
Hyperparameter Tuning" (MLSys 2020, arXiv 1810.05934); brackets are those of Hyperband (JMLR 2018,
arXiv 1603.06560), each an asynchronous halving of its own; the median rule is that of Golovin et
al., "Google Vizier" (KDD 2017), on values at the same step.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tuner.job.ranking import Values, ranking
from tuner.job.spec import Rule
from tuner.search.rungs import rung_steps

#: Trials that must have come as far before the median says anything.
MEDIAN_OF = 5

#: The fractional parts of its multiples spread over [0, 1) evenly, however many there are.
_GOLDEN = (math.sqrt(5) - 1) / 2


class Decision(enum.Enum):
    """What becomes of a trial that has reported."""

    CONTINUE = "go on"
    PAUSE = "wait"
    STOP = "stop"


class Rung(NamedTuple):
    """One rung of one bracket; trials of unlike brackets do not compete."""

    steps: int
    bracket: int


class Ladder:
    """What trials reported at each rung; the baseline presets do not compete and are not in it."""

    def __init__(self) -> None:
        self._at: defaultdict[Rung, dict[int, Values]] = defaultdict(dict)

    def add(self, rung: Rung, trial: int, values: Values) -> None:
        """Take in a report."""
        self._at[rung][trial] = values

    def at(self, rung: Rung) -> Mapping[int, Values]:
        """Trial -> what it reported at a rung."""
        return self._at[rung]


@dataclass(frozen=True, kw_only=True)
class Halving:
    """The early stopping of one run.

    Attributes:
        rule: ``promote``: a trial waits at its rung until it is among the best 1/reduction there;
            ``stop``: it is stopped if it is not among them when it comes; ``hyperband``: as
            ``promote``, in brackets whose first rungs differ; ``median``: it is stopped if it is
            worse than the median at that step; ``none``.
        min_steps: first rung.
        reduction: rungs grow by this, and 1/reduction goes on.
    """

    rule: Rule
    min_steps: int
    reduction: int

    def rungs(self, trial: int, max_steps: int) -> tuple[int, ...]:
        """Steps at which a trial reports, the last of them ``max_steps``."""
        rungs = rung_steps(min(self.min_steps, max_steps), max_steps, self.reduction)
        return rungs[self._bracket(trial, len(rungs)) :]

    def rung(self, rungs: Sequence[int], steps: int) -> Rung:
        """The rung that a trial with ``rungs`` is at after ``steps``."""
        return Rung(steps, rungs[0] if self.rule == "hyperband" else 0)

    def _bracket(self, trial: int, brackets: int) -> int:
        """How many of the first rungs a trial leaves out.

        Hyperband gives every bracket the same budget: one in which trials pass k halvings takes a
        share of them in proportion to reduction**k / (k + 1).
        """
        if self.rule != "hyperband":
            return 0
        shares = [self.reduction**k / (k + 1) for k in range(brackets - 1, -1, -1)]
        place = (trial * _GOLDEN) % 1.0 * sum(shares)
        for bracket, share in enumerate(shares):
            place -= share
            if place < 0:
                return bracket
        return brackets - 1

    def decide(self, trial: int, rung: Rung, ladder: Ladder, *, to_come: int) -> Decision:
        """What becomes of a trial that has just reported at a rung, not its last one.

        Args:
            trial: its number.
            rung: where it is.
            ladder: all that was reported, this report included.
            to_come: trials at most that may still come to this rung.
        """
        if self.rule == "none":
            return Decision.CONTINUE
        rivals = ladder.at(rung)
        place, count = self._places(rivals)[trial], len(rivals)
        if self.rule == "median":
            ahead = count < MEDIAN_OF or place <= (count + 1) // 2
            return Decision.CONTINUE if ahead else Decision.STOP
        if self.rule == "stop":
            ahead = place <= max(1, count // self.reduction)
            return Decision.CONTINUE if ahead else Decision.STOP
        if place <= count // self.reduction:
            return Decision.CONTINUE
        # Where more come, more go on; but nobody's place gets better by that.
        hopeless = place > max(1, (count + to_come) // self.reduction)
        return Decision.STOP if hopeless else Decision.PAUSE

    def promotable(
        self, waiting: Mapping[int, Rung], ladder: Ladder, *, last: bool = False
    ) -> int | None:
        """The trial that should go on, of those that wait: the best one of the highest rung.

        Args:
            waiting: trial -> where it waits.
            ladder: all that was reported.
            last: whether nothing runs and nothing is to come, so that one at least goes on.
        """
        for rung in sorted(set(waiting.values()), reverse=True):
            rivals = ladder.at(rung)
            places = self._places(rivals)
            here = [trial for trial, place in waiting.items() if place == rung]
            best = min(here, key=lambda trial: (places[trial], trial))
            if places[best] <= max(1 if last else 0, len(rivals) // self.reduction):
                return best
        return None

    def _places(self, rivals: Mapping[int, Values]) -> dict[int, int]:
        """Trial -> its place at a rung, 1 for the best; equals share the better place."""
        keys = dict(zip(rivals, ranking(list(rivals.values())), strict=True))
        ranked = sorted(keys.values())
        return {trial: 1 + bisect_left(ranked, key) for trial, key in keys.items()}
