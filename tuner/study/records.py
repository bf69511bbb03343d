"""Records of a run: what engines report to the search, and what the study stores of trials."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from search_spaces import Params
from tuner.job.objective import COSTS, Goals
from tuner.job.ranking import Values

#: Measure -> value.
Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The scores and losses of a trial after a number of steps.

    Attributes:
        scores: measure -> mean over the pairs of the search; the costs are among them.
        pair_scores: the metrics of each pair, in the order of the job; held-out pairs come last.
        losses: weighted loss terms, mean over the pairs.
        seconds: engine time spent on the trial so far; lanes of a batch share its time evenly.
        worker: host and process that ran the trial, ``HOST:PID``.
    """

    scores: Scores
    pair_scores: Sequence[Scores] = ()
    losses: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""

    def on_pair(self, index: int) -> Scores:
        """Return the metrics of one pair, with the costs, which are the same for all pairs."""
        costs = {name: value for name, value in self.scores.items() if name in COSTS}
        return {**costs, **self.pair_scores[index]}


@dataclass(frozen=True, kw_only=True)
class RungRecord(Measurement):
    """The measurement of a trial at a rung, as the study stores it.

    Attributes:
        objective: value of the objective, or of the first of several, mean over the pairs.
    """

    objective: float


@dataclass(frozen=True, kw_only=True)
class Report(Measurement):
    """An engine's report on a trial: its measurement at the requested step, or why it ended.

    Attributes:
        trial: number of the trial.
        steps: optimizer steps done.
        scores: empty if the trial failed.
        failure: why the trial cannot continue, or None.
        resumed_at: step of the saved lanes from which the trial was resumed since its last report,
            or None.
        arrived_at: when the engine received the trial, in seconds since 1970, if that was since the
            trial's last report; otherwise None.
        remark: a sentence to record with the trial, or None.
    """

    trial: int
    steps: int
    scores: Scores = field(default_factory=dict)
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    failure: str | None = None
    resumed_at: int | None = None
    arrived_at: float | None = None
    remark: str | None = None

    def record(self, goals: Goals) -> RungRecord:
        """Return the measurement as a record of the study."""
        measured = {shared.name: getattr(self, shared.name) for shared in fields(Measurement)}
        return RungRecord(objective=goals.first.of(self.scores), **measured)


@dataclass(kw_only=True)
class EngineStats:
    """How an engine spent its time.

    Attributes:
        alive_s: seconds since the engine got its first trial.
        advancing_s: seconds spent on advancing lanes.
        chunks: number of times that a batch was advanced.
        lane_steps: optimizer steps of all lanes.
        lane_steps_lost: those of the lane steps that ran ahead for trials that were then dropped.
        device: name of the device that the engine computed on.
    """

    alive_s: float = 0.0
    advancing_s: float = 0.0
    chunks: int = 0
    lane_steps: int = 0
    lane_steps_lost: int = 0
    device: str = ""

    def at(self, alive_s: float) -> EngineStats:
        """Return a copy with this age of the engine."""
        return replace(self, alive_s=alive_s)

    @property
    def busy(self) -> float:
        """Share of the engine's time spent on advancing lanes."""
        return self.advancing_s / self.alive_s if self.alive_s else 0.0


class CpuTimes(NamedTuple):
    """Seconds that a process ran on a core, and seconds that it waited for one."""

    ran_s: float = 0.0
    waited_s: float = 0.0


class Pulse(NamedTuple):
    """A sign of life of an engine, with its state.

    Attributes:
        busy_s: seconds since the engine began its current operation; 0 if it is idle.
        warnings: warnings since the last pulse, such as that the engine uses a slower method.
        steps: trial -> current step, of the trials whose lanes are advancing.
        stats: how the engine spent its time.
        memory_gb: used and total memory of its GPU; None on a CPU.
        cpu: processor time of its process since the start.
    """

    busy_s: float = 0.0
    warnings: tuple[str, ...] = ()
    steps: Mapping[int, int] = MappingProxyType({})
    stats: EngineStats | None = None
    memory_gb: tuple[float, float] | None = None
    cpu: CpuTimes = CpuTimes()


#: Note of the trial that has the defaults of another stylizer.
DEFAULTS = "the stylizer's defaults"


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial: a configuration and its reports.

    Attributes:
        trial: number of the trial, from 0.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        params: drawn parameters; empty for a preset.
        config: the full configuration, as plain JSON; its ``steps`` are the job's maximum.
        preset: name of the baseline preset that the trial runs, or None.
        final_of: number of the trial that this one runs again, with another seed and on all pairs,
            or None.
        full: whether this trial runs the preset of trial ``final_of`` to the preset's own steps.
        asked_by: id of the command by which a person asked for this trial, or None.
        note: a remark for people, or None.
        rungs: steps done -> the report at that rung.
        reason: why the trial failed or was pruned, or None.
        failed_s: engine time that the trial had used when it failed.
    """

    trial: int
    state: str
    params: Params
    config: Mapping[str, Any]
    preset: str | None
    final_of: int | None = None
    full: bool = False
    asked_by: str | None = None
    note: str | None
    rungs: Mapping[int, RungRecord]
    reason: str | None
    failed_s: float = 0.0

    @property
    def is_baseline(self) -> bool:
        """Whether it shows what the search has to beat: a preset, or a stylizer's defaults."""
        return self.preset is not None or self.note == DEFAULTS

    @property
    def searched(self) -> bool:
        """Whether the search chose the configuration: the trial is neither a preset nor a final."""
        return self.preset is None and self.final_of is None

    def best_rung(self, goals: Goals) -> tuple[int, RungRecord] | None:
        """Return (steps, record) of the trial's best report, or None if there is no report.

        Reports are compared by constraints, then by the first objective, then by the others, so no
        other report of the trial dominates the best one. Of equal reports the earliest is the best.
        """
        if not self.rungs:
            return None
        return min(self.rungs.items(), key=lambda item: (goals.values(item[1].scores), item[0]))

    @property
    def seconds(self) -> float:
        """Seconds of engine time spent on the trial."""
        return max([self.failed_s, *(rung.seconds for rung in self.rungs.values())])


def earlier_values(best: Iterable[tuple[TrialRecord, int]], goals: Goals) -> list[Values]:
    """Return the values of all reports of these trials except their best ones.

    They take part in a Pareto ranking, because an earlier report of one trial may dominate the best
    report of another.

    Args:
        best: each trial with the steps of its best report.
        goals: objectives and constraints of the run.
    """
    return [
        goals.values(rung.scores)
        for record, best_steps in best
        for steps, rung in record.rungs.items()
        if steps != best_steps
    ]


def mean_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """Return the mean of each metric; empty if there are no scores."""
    if not scores:
        return {}
    return {metric: sum(s[metric] for s in scores) / len(scores) for metric in scores[0]}


def mean_baselines(
    per_pair: Sequence[Mapping[str, Scores]],
) -> dict[str, dict[str, float]]:
    """Return baseline -> mean scores over the pairs; empty if there are no pairs."""
    names = per_pair[0] if per_pair else ()
    return {name: mean_scores([scores[name] for scores in per_pair]) for name in names}
