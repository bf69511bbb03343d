"""Rank correlation between the rungs of a run: whether early rungs rank trials as later ones do."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, sqrt
from statistics import StatisticsError, correlation
from typing import TYPE_CHECKING

from tuner.job.ranking import Values, ranking

if TYPE_CHECKING:  # commands that only print JSON must not load Optuna
    from tuner.results.results import Results

#: Fewest trials that a rank correlation is shown for.
MIN_TRIALS = 8
#: A rung ranks poorly if its rank correlation is below this by more than chance explains: the upper
#: limit of the one-sided 90 % confidence interval is below it. Without this, two of five runs would
#: warn whose first rung has a rank correlation of 0.75 with the next one, since promoted trials are
#: alike (`python -m benchmarks.rungs`).
POOR = 0.5
_Z_90 = 1.2816


@dataclass(frozen=True, kw_only=True)
class RungCorrelation:
    """How a rung ranks trials, compared with a later rung.

    Attributes:
        steps: steps of the rung.
        later: steps of the later rung.
        correlation: Spearman's rank correlation between the two rungs, -1 to 1, over the trials
            that reported at both.
        trials: number of these trials.
        reported: number of trials that reported at the earlier rung.
    """

    steps: int
    later: int
    correlation: float
    trials: int
    reported: int

    @property
    def poor(self) -> bool:
        """Whether the rung ranks trials poorly, see `POOR`.

        The standard error of Spearman's correlation after Fisher's transformation is that of
        Fieller, Hartley and Pearson, "Tests for Rank Correlation Coefficients" (Biometrika 1957).
        """
        error = sqrt(1.06 / (self.trials - 3))
        transformed = atanh(min(max(self.correlation, -0.999), 0.999))
        return transformed + _Z_90 * error < atanh(POOR)

    def __str__(self) -> str:
        trials = f"{self.trials} of {self.reported} trials"
        return f"{self.steps} and {self.later} steps: {self.correlation:.2f} ({trials})"


def rung_correlations(results: Results) -> list[RungCorrelation]:
    """Return how each rung ranks the trials of the search, compared with the last later rung.

    The last rung is the latest that `MIN_TRIALS` of its trials have reached; rungs without one are
    left out. Trials are ranked as the search ranks them, by constraints and all objectives. Presets
    and finals do not count, since they do not compete.
    """
    rungs: dict[int, dict[int, Values]] = {}
    for record in results.records:
        if record.searched:
            for steps, rung in record.rungs.items():
                rungs.setdefault(steps, {})[record.trial] = results.goals.values(rung.scores)
    correlations = []
    for steps, values in sorted(rungs.items()):
        for later in sorted((later for later in rungs if later > steps), reverse=True):
            shared = sorted(values.keys() & rungs[later].keys())
            if len(shared) < MIN_TRIALS:
                continue
            value = _spearman(*([rungs[at][trial] for trial in shared] for at in (steps, later)))
            if value is not None:
                correlations.append(
                    RungCorrelation(
                        steps=steps,
                        later=later,
                        correlation=value,
                        trials=len(shared),
                        reported=len(values),
                    )
                )
            break
    return correlations


def rung_warning(results: Results) -> str | None:
    """Return a sentence about the first rung that ranks trials poorly, or None.

    With ``rule: none`` no trial is stopped, so it does not matter how early rungs rank.
    """
    if results.job.halving.rule == "none":
        return None
    correlations = rung_correlations(results)
    poor = next((rung for rung in correlations if rung.poor), None)
    if poor is None:
        return None
    good = (c.steps for c in correlations if c.steps > poor.steps and not c.poor)
    promoted = ""
    if poor.trials < poor.reported:
        promoted = " that were promoted; over all trials it tends to be higher"
    return (
        f"The rung at {poor.steps} steps may stop good trials: its rank correlation with the rung"
        f" at {poor.later} steps is {poor.correlation:.2f}, over {poor.trials} trials{promoted}."
        " For the next run, consider a later first rung:"
        f" `halving: {{min_steps: {next(good, poor.later)}}}`."
    )


def _spearman(first: Sequence[Values], second: Sequence[Values]) -> float | None:
    """Return Spearman's rank correlation, or None if all values of one are equal.

    It is Pearson's correlation of the ranks. `scipy.stats` needs seconds to import.
    """
    try:
        return correlation(_ranks(first), _ranks(second))
    except StatisticsError:
        return None


def _ranks(values: Sequence[Values]) -> list[float]:
    """Return the rank of each result; equal ones share the mean of their ranks."""
    keys = ranking(values)
    ordered = sorted(keys)
    return [(bisect_left(ordered, key) + bisect_right(ordered, key)) / 2 for key in keys]
