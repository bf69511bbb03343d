"""TrialResult: the best report of a trial, together with the trial's finals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, stdev
from typing import Any

from nst_core.stylizer_config import configuration_from_dict
from tuner.job.objective import Objective
from tuner.study.records import RungRecord, TrialRecord


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of a trial: its best report and its finals.

    Attributes:
        record: the trial.
        steps: number of steps after which the trial reported this result.
        rung: the report after these steps.
        finals: seed -> last report of the final that completed with this seed.
        failed: number of finals that failed.
    """

    record: TrialRecord
    steps: int
    rung: RungRecord
    finals: Mapping[int, RungRecord] = field(default_factory=dict)
    failed: int = 0

    @classmethod
    def from_records(
        cls, record: TrialRecord, best: tuple[int, RungRecord], finals: Sequence[TrialRecord]
    ) -> TrialResult:
        """Return the result of a trial.

        Args:
            record: the trial.
            best: steps and report of its best rung.
            finals: the trials that ran it again, in any state.
        """
        complete = [final for final in finals if final.state == "complete"]
        return cls(
            record=record,
            steps=best[0],
            rung=best[1],
            finals={final.config["seed"]: final.rungs[max(final.rungs)] for final in complete},
            failed=sum(final.state == "failed" for final in finals),
        )

    @property
    def name(self) -> str:
        """Name of the trial: that of its preset, else ``trial N``."""
        return self.record.preset or f"trial {self.record.trial}"

    @property
    def final_scores(self) -> list[float]:
        """First objective of each completed final."""
        return [rung.objective for rung in self.finals.values()]

    @property
    def spread(self) -> float | None:
        """Standard deviation of the final scores; None if all are equal.

        Without random noise at the start all seeds give the same picture, so equal scores say
        nothing about the spread.
        """
        scores = self.final_scores
        return stdev(scores) if len(set(scores)) > 1 else None

    def held_out(self, objective: Objective, pairs: int) -> float | None:
        """Return the mean of an objective over the held-out pairs; None without such finals.

        Args:
            objective: the objective.
            pairs: number of pairs of the search, which come before the held-out pairs.
        """
        scores = [
            objective.of(rung.on_pair(index))
            for rung in self.finals.values()
            for index in range(pairs, len(rung.pair_scores))
        ]
        return mean(scores) if scores else None

    def at(self, steps: int) -> TrialResult:
        """Return the result of the same trial after other steps, which must be one of its rungs."""
        if steps == self.steps:
            return self
        return replace(self, steps=steps, rung=self.record.rungs[steps], finals={}, failed=0)

    @property
    def config(self) -> dict[str, Any]:
        """Configuration that reproduces the picture of this result, as plain JSON."""
        config = configuration_from_dict(self.record.config, source=f"trial {self.record.trial}")
        return config.stopped_at(self.steps).to_dict()
