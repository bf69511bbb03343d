"""Plain records that cross from the engine to the search and from the study to its readers."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces import Params


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
    """

    trial: int
    steps: int
    scores: Mapping[str, float] = field(default_factory=dict)
    pair_scores: Sequence[Mapping[str, float]] = ()
    losses: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class RungRecord:
    """What a trial had reached at one rung.

    Attributes:
        objective: value of the objective, mean over the pairs.
        scores: metric -> mean over the pairs.
        pair_scores: the same for each pair, in the order of the job.
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


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One configuration and what came of it.

    Attributes:
        trial: its number, from 0.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        params: drawn parameters; empty for a preset.
        config: the full configuration, as plain JSON; its ``steps`` are the job's maximum.
        preset: name of the baseline preset it is, or None.
        rungs: steps done -> what was reached there.
        reason: why it failed or was stopped, in words.
    """

    trial: int
    state: str
    params: Params
    config: Mapping[str, Any]
    preset: str | None
    note: str | None
    rungs: Mapping[int, RungRecord]
    reason: str | None

    def best_rung(self, higher_is_better: bool) -> tuple[int, RungRecord] | None:
        """(steps, record) of its best report; the fewest steps among equals."""
        if not self.rungs:
            return None
        sign = -1 if higher_is_better else 1
        return min(self.rungs.items(), key=lambda item: (sign * item[1].objective, item[0]))

    @property
    def seconds(self) -> float:
        """Engine time spent on it."""
        return max((rung.seconds for rung in self.rungs.values()), default=0.0)
