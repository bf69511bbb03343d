"""What a run optimises: metrics, sums of metrics, costs; one number, or several as a Pareto search.

No torch here: tables and `status` read it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nst_core.errors import near_miss
from nst_core.metric_names import METRICS, Metric
from tuner.halving import Values

#: What a result costs, reported beside its scores.
COSTS: Mapping[str, Metric] = {
    "seconds_per_image": Metric(
        higher_is_better=False,
        unit="s",
        meaning="engine time of one image; lanes of a batch share its time evenly",
    ),
    "vram_gb": Metric(
        higher_is_better=False,
        unit="GB",
        meaning="memory that one image needs on its device, as estimated from the network",
    ),
}

#: Everything that may be an objective or bounded.
MEASURES: Mapping[str, Metric] = {**METRICS, **COSTS}

#: More at once, and nearly every trial is as good as any other.
MOST_OBJECTIVES = 3

_BOUND = re.compile(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One number to optimise.

    Attributes:
        weights: measure -> weight. A single measure is optimised in its own direction; a sum is
            minimised, and takes measures where higher is better with their sign turned.
    """

    weights: Mapping[str, float]

    @property
    def single(self) -> str | None:
        """The measure, if it is just one."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None

    @property
    def name(self) -> str:
        """As people write it: ``lpips``, or ``0.7 lpips + 0.3 color``."""
        if self.single:
            return self.single
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())

    @property
    def higher_is_better(self) -> bool:
        """Its direction."""
        return self.single is not None and MEASURES[self.single].higher_is_better

    def of(self, scores: Mapping[str, float]) -> float:
        """Its value."""
        if self.single:
            return scores[self.single]
        return sum(
            weight * (-scores[name] if MEASURES[name].higher_is_better else scores[name])
            for name, weight in self.weights.items()
        )

    def known(self, scores: Mapping[str, float]) -> bool:
        """Whether ``scores`` have all it needs; those of an image that was not made lack costs."""
        return all(name in scores for name in self.weights)

    def loss(self, value: float) -> float:
        """A value turned so that lower is better."""
        return -value if self.higher_is_better else value


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A bound that a result must keep.

    Attributes:
        at_most: whether ``bound`` is an upper bound.
    """

    measure: str
    at_most: bool
    bound: float

    @classmethod
    def parse(cls, measure: str, text: str) -> Constraint:
        """From ``"<= 5"`` or ``">= 0.4"``.

        Raises:
            ValueError: it is neither, or there is no such measure.
        """
        if measure not in MEASURES:
            raise ValueError(
                f"{measure!r} is none of {', '.join(MEASURES)}{near_miss(measure, MEASURES)}"
            )
        found = _BOUND.fullmatch(text)
        if found is None:
            raise ValueError(f'{measure}: expected a bound such as "<= 5", got {text!r}')
        return cls(measure=measure, at_most=found[1] == "<=", bound=float(found[2]))

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.measure} {'<=' if self.at_most else '>='} {self.bound:g}"

    def excess(self, scores: Mapping[str, float]) -> float:
        """By how much it is broken; 0 or less where it is kept."""
        over = scores[self.measure] - self.bound
        return over if self.at_most else -over

    @property
    def lasting(self) -> bool:
        """Whether a trial that breaks it does so for ever: costs do not fall with more steps."""
        return self.at_most and self.measure in COSTS


@dataclass(frozen=True, kw_only=True)
class Goals:
    """What a run asks of a result.

    Attributes:
        objectives: one, or up to `MOST_OBJECTIVES` for a Pareto search.
        constraints: bounds that come before any objective.
    """

    objectives: Sequence[Objective]
    constraints: Sequence[Constraint] = ()

    @property
    def first(self) -> Objective:
        """The one that tables sort by."""
        return self.objectives[0]

    @property
    def name(self) -> str:
        """As people write them."""
        return ", ".join(objective.name for objective in self.objectives)

    @property
    def measures(self) -> set[str]:
        """Everything that it reads."""
        bounds = {bound.measure for bound in self.constraints}
        return bounds.union(*(objective.weights for objective in self.objectives))

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Of the objectives, as studies name them."""
        return ["maximize" if o.higher_is_better else "minimize" for o in self.objectives]

    @property
    def pareto(self) -> bool:
        """Whether there are several."""
        return len(self.objectives) > 1

    def excess(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Constraint -> by how much it is broken."""
        return {bound.name: bound.excess(scores) for bound in self.constraints}

    def not_finite(self, scores: Mapping[str, float]) -> list[str]:
        """Measures that are asked for and are not finite: such a constraint would pass as kept."""
        return [name for name in sorted(self.measures) if not math.isfinite(scores[name])]

    def broken(self, scores: Mapping[str, float]) -> list[str]:
        """The constraints that are broken, as people write them."""
        return [name for name, over in self.excess(scores).items() if over > 0]

    def values(self, scores: Mapping[str, float]) -> Values:
        """What results are ranked by, lower is better: what is broken, then the objectives.

        Excesses are added up in units of their bounds, so that seconds and gigabytes compare.
        """
        broken = sum(
            max(0.0, bound.excess(scores)) / (abs(bound.bound) or 1.0) for bound in self.constraints
        )
        return (broken, *(o.loss(o.of(scores)) for o in self.objectives))


def ranking(values: Sequence[Values]) -> Sequence[Any]:
    """Sort keys of `Goals.values`: what keeps the bounds first, by non-dominated rank.

    What breaks them counts for nothing else (Deb's constrained domination, Deb et al., IEEE TEC
    2002).

    Within a rank, results far from their neighbours come first (the crowding distance of NSGA-II,
    the same paper), so that what is kept spreads over the trade-offs. The ends of a front are equal
    then, so this does not tell the best: see `Results.ranked`.
    """
    if not values or len(values[0]) == 2:  # one objective
        return values
    keys = [(value[0], 0, 0.0) for value in values]
    kept = [i for i, value in enumerate(values) if not value[0]]
    ranks, crowding = non_dominated([values[i][1:] for i in kept])
    for i, rank, distance in zip(kept, ranks, crowding, strict=True):
        keys[i] = (0.0, rank, -distance)
    return keys


def non_dominated(points: Sequence[Values]) -> tuple[list[int], list[float]]:
    """Rank of each point, 0 for the front, and its crowding distance within the rank."""
    values_NK = np.asarray(points, dtype=np.float64)
    nowhere_worse_NN = (values_NK[:, None] <= values_NK[None]).all(-1)
    better_NN = np.logical_and(nowhere_worse_NN, np.logical_not(nowhere_worse_NN.T))
    rank_N, crowding_N = np.full(len(points), -1), np.zeros(len(points))
    for level in range(len(points)):
        left_N = rank_N < 0
        front = np.flatnonzero(left_N & ~better_NN[left_N].any(0))
        if not len(front):
            break
        rank_N[front], crowding_N[front] = level, _crowding(values_NK[front])
    return rank_N.tolist(), crowding_N.tolist()


def _crowding(values_NK: np.ndarray) -> np.ndarray:
    """Sum over objectives of the gap between a point's neighbours, as a share of the range."""
    distance_N = np.zeros(len(values_NK))
    for value_N in values_NK.T:
        order = np.argsort(value_N, kind="stable")
        ranked = value_N[order]
        extent = ranked[-1] - ranked[0]
        distance_N[order[[0, -1]]] = np.inf
        if extent > 0:
            distance_N[order[1:-1]] += (ranked[2:] - ranked[:-2]) / extent
    return distance_N
