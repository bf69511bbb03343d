"""TrialResult: a trial's best, and what came of it when it was run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, stdev
from typing import Any

from nst_core.config import StyleConfig
from tuner.job.objective import Objective
from tuner.study.records import RungRecord, TrialRecord


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A trial's best: the configuration with the steps at which it was reached.

    Attributes:
        finals: what the same configuration reached when it was run again, by seed.
        failed: how many of those runs failed.
    """

    record: TrialRecord
    steps: int
    rung: RungRecord
    finals: Mapping[int, RungRecord] = field(default_factory=dict)
    failed: int = 0

    @property
    def final_scores(self) -> list[float]:
        """The objective of each run again."""
        return [rung.objective for rung in self.finals.values()]

    @property
    def spread(self) -> float | None:
        """Standard deviation of these; None where all are one, as from a start without noise."""
        scores = self.final_scores
        return stdev(scores) if len(set(scores)) > 1 else None

    def held_out(self, objective: Objective, pairs: int) -> float | None:
        """The objective on the held-out pairs, which come after the ``pairs`` of the search."""
        scores = [
            objective.of(rung.on_pair(index))
            for rung in self.finals.values()
            for index in range(pairs, len(rung.pair_scores))
        ]
        return mean(scores) if scores else None

    def at(self, steps: int) -> TrialResult:
        """The same trial after another number of steps at which it reported."""
        if steps == self.steps:
            return self
        return replace(self, steps=steps, rung=self.record.rungs[steps], finals={}, failed=0)

    @property
    def config(self) -> dict[str, Any]:
        """Settings that reproduce this very image."""
        return StyleConfig.from_dict(self.record.config).stopped_at(self.steps).to_dict()


def found_of(
    record: TrialRecord, best: tuple[int, RungRecord], finals: Sequence[TrialRecord]
) -> TrialResult:
    """A trial with its best report and what came of its finals."""
    complete = [final for final in finals if final.state == "complete"]
    return TrialResult(
        record=record,
        steps=best[0],
        rung=best[1],
        finals={final.config["seed"]: final.rungs[max(final.rungs)] for final in complete},
        failed=sum(final.state == "failed" for final in finals),
    )
