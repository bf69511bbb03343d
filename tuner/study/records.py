"""Plain records that cross from the engine to the search and from the study to its readers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from search_spaces import Params
from tuner.job.objective import COSTS, Goals
from tuner.job.ranking import Values

#: Measure -> value.
Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a trial had reached when it came to the step it was asked for, or why it ended.

    Attributes:
        trial: its number.
        steps: optimizer steps done.
        scores: metric -> mean over the pairs; empty if it failed.
        pair_scores: the same for each pair.
        losses: weighted loss terms, mean over the pairs.
        seconds: engine time spent on the trial so far; lanes of a batch share its time evenly.
        worker: host and process that ran it, ``HOST:PID``.
        failure: why it cannot go on, or None.
        taken_up: the step that its saved lanes were at, if it went on from these since its last
            report.
        came_at: when the engine took it in, in seconds since 1970, if that was since its last
            report.
        remark: what is to be known about it from here on, or None.
    """

    trial: int
    steps: int
    scores: Mapping[str, float] = field(default_factory=dict)
    pair_scores: Sequence[Mapping[str, float]] = ()
    losses: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    failure: str | None = None
    taken_up: int | None = None
    came_at: float | None = None
    remark: str | None = None


@dataclass(kw_only=True)
class EngineStats:
    """What an engine did with its time.

    Attributes:
        alive_s: since the first trial came.
        advancing_s: of these, spent on advancing lanes.
        chunks: turns that batches had.
        lane_steps: optimizer steps of all lanes.
        lane_steps_lost: of these, run ahead in vain, since the trial was dropped.
        device: what it computed on.
    """

    alive_s: float = 0.0
    advancing_s: float = 0.0
    chunks: int = 0
    lane_steps: int = 0
    lane_steps_lost: int = 0
    device: str = ""

    def at(self, alive_s: float) -> EngineStats:
        """A copy that knows how long the engine has been there."""
        return replace(self, alive_s=alive_s)

    @property
    def busy(self) -> float:
        """Share of its time spent on advancing lanes."""
        return self.advancing_s / self.alive_s if self.alive_s else 0.0


class CpuTimes(NamedTuple):
    """Seconds that a process computed, and that it was ready to compute and had no core."""

    ran_s: float = 0.0
    waited_s: float = 0.0


class Pulse(NamedTuple):
    """An engine's sign of life, and how it is doing.

    Attributes:
        busy_s: seconds that it has been at one thing; 0 if it has nothing to do.
        warnings: what it has to say since the last one, such as that it fell back to something.
        steps: trial -> the step that it is at, of those whose lanes are under way.
        stats: what it did with its time.
        memory_gb: taken and in all, of its GPU.
        cpu: processor time of its process, since the start.
    """

    busy_s: float = 0.0
    warnings: tuple[str, ...] = ()
    steps: Mapping[int, int] = MappingProxyType({})
    stats: EngineStats | None = None
    memory_gb: tuple[float, float] | None = None
    cpu: CpuTimes = CpuTimes()


@dataclass(frozen=True, kw_only=True)
class RungRecord:
    """What a trial had reached at one rung.

    Attributes:
        objective: value of the objective, or of the first of several, mean over the pairs.
        scores: measure -> mean over the pairs; the costs among them.
        pair_scores: the metrics of each pair, in the order of the job; held-out pairs come last.
        losses: weighted loss terms, mean over the pairs.
        seconds: engine time spent on this trial so far.
        worker: host and process that ran it, ``HOST:PID``.
    """

    objective: float
    scores: Mapping[str, float]
    pair_scores: Sequence[Mapping[str, float]] = ()
    losses: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""

    def on_pair(self, index: int) -> Scores:
        """The scores of one pair, with the costs, which are not told apart by pairs."""
        costs = {name: value for name, value in self.scores.items() if name in COSTS}
        return {**costs, **self.pair_scores[index]}


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One configuration and what came of it.

    Attributes:
        trial: its number, from 0.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        params: drawn parameters; empty for a preset.
        config: the full configuration, as plain JSON; its ``steps`` are the job's maximum.
        preset: name of the baseline preset it is, or None.
        final_of: number of the trial that it runs again, with another seed and on all pairs, or
            None.
        full: whether it runs a preset again, ``final_of``, to the preset's own steps.
        rungs: steps done -> what was reached there.
        reason: why it failed or was stopped, in words.
        failed_s: engine time spent on it when it failed.
    """

    trial: int
    state: str
    params: Params
    config: Mapping[str, Any]
    preset: str | None
    final_of: int | None = None
    full: bool = False
    note: str | None
    rungs: Mapping[int, RungRecord]
    reason: str | None
    failed_s: float = 0.0

    @property
    def searched(self) -> bool:
        """Whether the search chose it: it is neither a preset nor another run of a finalist."""
        return self.preset is None and self.final_of is None

    def best_rung(self, goals: Goals) -> tuple[int, RungRecord] | None:
        """(steps, record) of its best report; the fewest steps among equals.

        Of several objectives the first one counts, after the constraints; the others where that
        is equal, so that no report of its own beats it.
        """
        if not self.rungs:
            return None
        return min(self.rungs.items(), key=lambda item: (goals.values(item[1].scores), item[0]))

    @property
    def seconds(self) -> float:
        """Engine time spent on it."""
        return max([self.failed_s, *(rung.seconds for rung in self.rungs.values())])


def values_beside(best: Iterable[tuple[TrialRecord, int]], goals: Goals) -> list[Values]:
    """What these trials reported beside their best, which is after so many steps.

    It takes part in a trade-off: what a trial had earlier may beat the best of another.
    """
    return [
        goals.values(rung.scores)
        for record, best_steps in best
        for steps, rung in record.rungs.items()
        if steps != best_steps
    ]


def mean_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """Mean of each metric; none of nothing."""
    if not scores:
        return {}
    return {metric: sum(s[metric] for s in scores) / len(scores) for metric in scores[0]}


def mean_baselines(
    per_pair: Sequence[Mapping[str, Scores]],
) -> dict[str, dict[str, float]]:
    """Baseline -> its mean scores over the pairs; none of no pairs."""
    names = per_pair[0] if per_pair else ()
    return {name: mean_scores([scores[name] for scores in per_pair]) for name in names}
