"""Workload: what every engine of a run needs to work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nst_core.metrics.registry import DEFAULT_METRICS
from nst_core.networks.weights import Weights
from tuner.engine.pairs import Pair


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What every engine of a run needs; sent to workers once.

    Attributes:
        pairs: what every trial runs on.
        weights: of every network that a trial or a metric may read, by name.
        metrics: what images are scored by.
    """

    pairs: Sequence[Pair]
    weights: Mapping[str, Weights]
    holdout: Sequence[Pair] = ()
    metrics: Sequence[str] = DEFAULT_METRICS
