"""Workload: the data that every engine of a run needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nst_core.metrics.registry import DEFAULT_METRICS
from nst_core.networks.weights import Weights
from tuner.engine.pairs import Pair


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Data that every engine of a run needs; each node receives it once.

    Attributes:
        pairs: pairs on which every trial runs.
        weights: weights of every network that a trial or a metric may need, by name.
        holdout: held-out pairs.
        metrics: names of the metrics that score images.
        precision: precision that the device of every engine must support, `resources.precision` of
            the job; None: each configuration has its own.
        stylizer: another stylizer, `StylizerSpec.to_plain`; None: the engine of lanes.
    """

    pairs: Sequence[Pair]
    weights: Mapping[str, Weights]
    holdout: Sequence[Pair] = ()
    metrics: Sequence[str] = DEFAULT_METRICS
    precision: str | None = None
    stylizer: Mapping[str, Any] | None = None
