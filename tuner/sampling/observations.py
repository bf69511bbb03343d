"""Observations: what the default sampler knows of the trials of a study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Params
from tuner.job.ranking import Values, ranking

#: Largest number of trials with reports that the sampler uses. The time of a draw grows with the
#: cube of the number of their reports.
MOST_SEEN = 160
#: Largest number of reports of one trial of a plain study that the sampler uses, and the ratio of
#: their steps. Training loops often report after every step.
MOST_REPORTS, RATIO = 6, 3


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The reports and the state of a trial.

    Attributes:
        params: parameters of the trial.
        losses: steps -> loss of each objective, lower is better; empty if there is no report yet.
        violations: steps -> constraint -> violation, 0 or less if the constraint is kept. Steps
            and constraints may be missing.
        pending: whether the trial will report again.
        failed: whether the trial failed, whatever it had reported before.
    """

    params: Params
    losses: Mapping[int, Sequence[float]] = field(default_factory=dict)
    violations: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    pending: bool = False
    failed: bool = False

    def values(self, steps: int) -> Values:
        """Return what `ranking` compares, for the report after these steps."""
        violation = sum(max(0.0, excess) for excess in self.violations.get(steps, {}).values())
        return (violation, *self.losses[steps])


def observation_of(
    trial: FrozenTrial, directions: Sequence[StudyDirection], max_steps: int | None
) -> Observation:
    """Return the observation of a trial of any study, from the fields that Optuna has.

    The constraints of a trial hold for its last report. Reports that are not finite are left out. A
    complete trial without a finite value, or an infeasible one without a report, counts as failed.

    Args:
        trial: a trial with parameters.
        directions: the directions of the study.
        max_steps: steps of a complete trial; None if only final values count.
    """
    signs = [-1.0 if way is StudyDirection.MAXIMIZE else 1.0 for way in directions]
    losses: dict[int, Sequence[float]] = {}
    if max_steps is not None:
        reports = trial.intermediate_values
        within = [step for step in sorted(reports) if 1 <= step <= max_steps]
        losses = {step: [signs[0] * reports[step]] for step in _spread(within, max_steps)}
    if trial.state is TrialState.COMPLETE:
        values = zip(signs, trial.values, strict=True)
        losses[max_steps or 1] = [sign * value for sign, value in values]
    losses = {step: row for step, row in losses.items() if all(map(isfinite, row))}
    excess = trial.constraints
    without_value = trial.state is TrialState.COMPLETE or any(v > 0 for v in excess.values())
    return Observation(
        params=trial.params,
        losses=losses,
        violations={max(losses): excess} if losses and excess else {},
        pending=not trial.state.is_finished(),
        failed=trial.state is TrialState.FAIL or (not losses and without_value),
    )


def _spread(steps: Sequence[int], max_steps: int) -> list[int]:
    """Return at most `MOST_REPORTS` + 1 of the steps: the last, and near ones in each trial."""
    if len(steps) <= MOST_REPORTS:
        return list(steps)
    ends = [max_steps / RATIO**power for power in range(MOST_REPORTS)]
    chosen = {max((step for step in steps if step <= end), default=steps[0]) for end in ends}
    return sorted(chosen | {steps[-1]})


def thinned(reported: Sequence[Observation]) -> Sequence[Observation]:
    """Return at most `MOST_SEEN` trials with reports, in their order.

    A quarter of them are the best of those with the most steps; the others are spread evenly.
    """
    if len(reported) <= MOST_SEEN:
        return reported
    by_steps: dict[int, list[int]] = defaultdict(list)
    for index, trial in enumerate(reported):
        by_steps[max(trial.losses)].append(index)
    ranked: list[int] = []
    for steps in sorted(by_steps, reverse=True):
        indices = by_steps[steps]
        if len(ranked) < MOST_SEEN // 4:  # the order of the others does not matter, and takes long
            keys = ranking([reported[index].values(steps) for index in indices])
            indices = [index for _, index in sorted(zip(keys, indices, strict=True))]
        ranked += indices
    best, rest = ranked[: MOST_SEEN // 4], sorted(ranked[MOST_SEEN // 4 :])
    count = MOST_SEEN - len(best)
    spread = [rest[k * len(rest) // count] for k in range(count)]
    return [reported[index] for index in sorted([*best, *spread])]
