"""Early stopping: which trials continue at a rung, pause there, stop, or are promoted.

A decision depends on reported values only. The study holds these, so a resumed run decides like an
uninterrupted one.

Sources: asynchronous successive halving by Li et al., "A System for Massively Parallel
Hyperparameter Tuning" (MLSys 2020, arXiv 1810.05934); the brackets of Hyperband (JMLR 2018, arXiv
1603.06560), each with an asynchronous halving of its own; the median rule by Golovin et al.,
"Google Vizier" (KDD 2017), applied to values at the same step.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple

from tuner.job.ranking import Values, ranking
from tuner.job.spec import HalvingSpec, Rule
from tuner.search.rungs import first_rung, rung_steps

#: Number of trials at a step from which the median rule applies.
MEDIAN_OF = 5

#: The fractional parts of its multiples are spread evenly over [0, 1), however many there are.
_GOLDEN = (math.sqrt(5) - 1) / 2
#: Number of trials over which rungs are averaged; in Hyperband they differ between trials.
_SAMPLE = 64


class Decision(enum.Enum):
    """What a trial does after a report."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Rung(NamedTuple):
    """One rung of one bracket; trials of different brackets do not compete.

    Attributes:
        steps: optimizer steps of a trial at this rung.
        bracket: steps of the bracket's first rung with Hyperband; otherwise 0.
    """

    steps: int
    bracket: int


class RungValues:
    """Values that trials of the search reported at each rung; baseline presets do not compete."""

    def __init__(self) -> None:
        self._values: defaultdict[Rung, dict[int, Values]] = defaultdict(dict)

    def add(self, rung: Rung, trial: int, values: Values) -> None:
        """Add a trial's report at a rung."""
        self._values[rung][trial] = values

    def at(self, rung: Rung) -> Mapping[int, Values]:
        """Return the values at a rung, by trial number."""
        return self._values[rung]


@dataclass(frozen=True, kw_only=True)
class Halving:
    """The early stopping of one run.

    Attributes:
        rule: ``promote``: a trial pauses at a rung until it is among the best 1/reduction there;
            ``stop``: a trial stops if it is not among these when it reports; ``hyperband``: like
            ``promote``, in brackets with different first rungs; ``median``: a trial stops if it is
            worse than the median at that step; ``none``: every trial runs to its end.
        min_steps: steps of the first rung.
        reduction: factor between the steps of two rungs; 1/reduction of the trials continue.
    """

    rule: Rule
    min_steps: int
    reduction: int

    @classmethod
    def of(cls, spec: HalvingSpec) -> Halving:
        """Return the early stopping that a job asks for."""
        return cls(rule=spec.rule, min_steps=first_rung(spec), reduction=spec.reduction)

    def rungs(self, trial: int, max_steps: int) -> tuple[int, ...]:
        """Return the steps at which a trial reports; the last of them is ``max_steps``."""
        rungs = rung_steps(min(self.min_steps, max_steps), max_steps, self.reduction)
        return rungs[self._bracket(trial, len(rungs)) :]

    def rung(self, rungs: Sequence[int], steps: int) -> Rung:
        """Return the rung of a trial that reports at ``rungs`` and has done ``steps``."""
        return Rung(steps, rungs[0] if self.rule == "hyperband" else 0)

    def _bracket(self, trial: int, brackets: int) -> int:
        """Return how many of the first rungs a trial skips.

        Hyperband gives every bracket the same budget. A bracket with k halvings therefore gets a
        share of the trials that is proportional to reduction**k / (k + 1).
        """
        if self.rule != "hyperband":
            return 0
        shares = [self.reduction**k / (k + 1) for k in range(brackets - 1, -1, -1)]
        position = (trial * _GOLDEN) % 1.0 * sum(shares)
        for bracket, share in enumerate(shares):
            position -= share
            if position < 0:
                return bracket
        return brackets - 1

    def decide(self, trial: int, rung: Rung, reported: RungValues, *, to_come: int) -> Decision:
        """Decide about a trial that has just reported at a rung which is not its last.

        Args:
            trial: number of the trial.
            rung: the rung of the report.
            reported: all reports so far, with this one.
            to_come: maximum number of trials that may still report at this rung.
        """
        if self.rule == "none":
            return Decision.CONTINUE
        rivals = reported.at(rung)
        place, count = self._places(rivals)[trial], len(rivals)
        if self.rule == "median":
            ahead = count < MEDIAN_OF or place <= (count + 1) // 2
            return Decision.CONTINUE if ahead else Decision.STOP
        if self.rule == "stop":
            ahead = place <= max(1, count // self.reduction)
            return Decision.CONTINUE if ahead else Decision.STOP
        if place <= count // self.reduction:
            return Decision.CONTINUE
        # More reports make room for more trials, but they never improve the place of this one.
        hopeless = place > max(1, (count + to_come) // self.reduction)
        return Decision.STOP if hopeless else Decision.PAUSE

    def promotable(
        self, paused: Mapping[int, Rung], reported: RungValues, *, last: bool = False
    ) -> int | None:
        """Return the paused trial to promote: the best one at the highest rung; None without any.

        Args:
            paused: trial -> the rung at which it is paused.
            reported: all reports so far.
            last: whether nothing runs and no trial is to come, so that one trial must be promoted.
        """
        for rung in sorted(set(paused.values()), reverse=True):
            rivals = reported.at(rung)
            places = self._places(rivals)
            here = [trial for trial, its_rung in paused.items() if its_rung == rung]
            best = min(here, key=lambda trial: (places[trial], trial))
            if places[best] <= max(1 if last else 0, len(rivals) // self.reduction):
                return best
        return None

    def _places(self, rivals: Mapping[int, Values]) -> dict[int, int]:
        """Return the place of each trial, 1 for the best; equal trials share the better place."""
        keys = dict(zip(rivals, ranking(list(rivals.values())), strict=True))
        ranked = sorted(keys.values())
        return {trial: 1 + bisect_left(ranked, key) for trial, key in keys.items()}


def expected_steps(halving: HalvingSpec) -> float:
    """Return the mean number of steps of a trial, if each rung promotes its share of the trials.

    Args:
        halving: of the job.
    """
    rule = Halving.of(halving)
    share = {"none": 1.0, "median": 0.5}.get(halving.rule, 1 / halving.reduction)

    def steps(trial: int) -> float:
        rungs = (0, *rule.rungs(trial, halving.max_steps))
        return sum((rungs[k + 1] - rungs[k]) * share**k for k in range(len(rungs) - 1))

    return mean(steps(trial) for trial in range(_SAMPLE))
