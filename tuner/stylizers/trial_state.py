"""The state of a trial on the engine of a stylizer, and what its worker is doing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nst_core.stylizer_config import StylizerConfig
from tuner.engine.scoring import ScoreResult


@dataclass
class StylizerTrial:
    """A trial on the engine.

    Attributes:
        config: its settings.
        pairs: number of its pairs.
        until: step of the requested report.
        images: pictures of the first pairs at this step.
        costs: costs of these pictures, as far as the stylizer says them.
        done: pair -> step at which the worker holds the trial; other pairs begin anew.
        seconds: time that the worker has spent on it.
        step: present step on the present pair.
        scores: scores of the pictures, once all of them are there.
        reported: pictures of the last report.
        failure: why the trial cannot continue.
    """

    config: StylizerConfig
    pairs: int
    until: int
    images: list[np.ndarray] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    step: int = 0
    scores: ScoreResult | None = None
    reported: Sequence[np.ndarray] = ()
    failure: str | None = None
    arrived_s: float | None = field(default_factory=time.time)

    @property
    def waits(self) -> bool:
        """Whether a picture of the requested step is missing."""
        return self.failure is None and len(self.images) < self.pairs


@dataclass
class Request:
    """What the worker is doing now, for which trial, and since when."""

    what: str
    trial: int
    started_s: float
