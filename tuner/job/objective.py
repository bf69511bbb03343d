"""Objectives and constraints of a run: metrics, weighted sums of metrics, and costs.

One objective makes a search with a single best result, several make a Pareto search. Tables and
`status` read this module, so it must not import torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nst_core.errors import near_miss
from nst_core.metrics.registry import METRICS, Metric
from tuner.job.ranking import Values

#: Costs of a result, reported beside its metrics.
COSTS: Mapping[str, Metric] = {
    "seconds_per_image": Metric(
        label="Seconds per image",
        decimals=1,
        higher_is_better=False,
        unit="s",
        meaning="engine time of one image; lanes of a batch share its time evenly",
    ),
    "vram_gb": Metric(
        label="Memory, GB",
        decimals=2,
        higher_is_better=False,
        unit="GB",
        meaning="memory that one image needs on its device, as estimated from the network",
    ),
    "cost": Metric(
        label="Cost",
        decimals=3,
        higher_is_better=False,
        unit="",
        meaning="what a stylizer of your own reports as the cost of an image, in a unit of its own",
    ),
}

#: The cost that only other stylizers than our engine report, and not all of them.
COST = "cost"

#: The cost that exists only on a GPU. It is known before the first step.
GPU_MEMORY = "vram_gb"

#: Everything that can be an objective or have a constraint.
MEASURES: Mapping[str, Metric] = {**METRICS, **COSTS}

_BOUND = re.compile(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")


def check_measure(name: str) -> None:
    """Raise ValueError if the measure does not exist."""
    if name not in MEASURES:
        measures = ", ".join(MEASURES)
        raise ValueError(
            f"no measure {name!r}, expected one of {measures}{near_miss(name, MEASURES)}"
        )


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One number to optimize.

    Attributes:
        weights: measure -> weight. A single measure is optimized in its own direction. A weighted
            sum is minimized; measures where higher is better enter it with a minus sign.
    """

    weights: Mapping[str, float]

    @property
    def single(self) -> str | None:
        """Name of the measure, or None if the objective is a weighted sum."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None

    @property
    def name(self) -> str:
        """Text for people: ``lpips``, or ``0.7 lpips + 0.3 color``."""
        if self.single:
            return self.single
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())

    @property
    def label(self) -> str:
        """The same with the usual names: ``LPIPS``, or ``0.7 LPIPS + 0.3 Color``."""
        if self.single:
            return MEASURES[self.single].label
        return " + ".join(f"{w:g} {MEASURES[name].label}" for name, w in self.weights.items())

    @property
    def decimals(self) -> int:
        """Number of decimals that people are shown; 4 for a weighted sum."""
        return MEASURES[self.single].decimals if self.single else 4

    def text(self, value: float) -> str:
        """Return a value of this objective as people are shown it, with `decimals`."""
        return f"{value:.{self.decimals}f}"

    def labeled(self, value: float) -> str:
        """Return a value with the name of the objective: ``LPIPS 0.1571``."""
        return f"{self.label} {self.text(value)}"

    @property
    def is_distance(self) -> bool:
        """Whether the objective is a distance from the reference, so that less of it is nearer."""
        measures = [MEASURES[name] for name in self.weights]
        return all(
            name in METRICS and m.against == "reference" and not m.higher_is_better
            for name, m in zip(self.weights, measures, strict=True)
        )

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better; False for every weighted sum."""
        return self.single is not None and MEASURES[self.single].higher_is_better

    @property
    def has_negated_measure(self) -> bool:
        """Whether the objective is a sum in which a measure has a minus sign."""
        turned = any(MEASURES[name].higher_is_better for name in self.weights)
        return self.single is None and turned

    def of(self, scores: Mapping[str, float]) -> float:
        """Return the value of the objective for these scores."""
        if self.single:
            return scores[self.single]
        return sum(
            weight * (-scores[name] if MEASURES[name].higher_is_better else scores[name])
            for name, weight in self.weights.items()
        )

    def known(self, scores: Mapping[str, float]) -> bool:
        """Whether ``scores`` contain every measure. Those of a baseline image have no costs."""
        return all(name in scores for name in self.weights)

    def loss(self, value: float) -> float:
        """Return a value of this objective with its sign set so that lower is better."""
        return -value if self.higher_is_better else value

    def better(self, value: float, than: float | None) -> bool:
        """Whether one value of this objective is better than another; any is better than None."""
        return than is None or self.loss(value) < self.loss(than)


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """An upper or lower bound of a measure.

    Attributes:
        measure: name of the metric or cost.
        at_most: whether ``bound`` is an upper bound; otherwise it is a lower bound.
        bound: in the unit of the measure.
    """

    measure: str
    at_most: bool
    bound: float

    @classmethod
    def parse(cls, measure: str, text: str) -> Constraint:
        """Return the constraint that a text such as ``"<= 5"`` or ``">= 0.4"`` describes.

        Raises:
            ValueError: the text is not a bound, or the measure does not exist.
        """
        check_measure(measure)
        match = _BOUND.fullmatch(text)
        if match is None:
            raise ValueError(
                f'{measure}: expected a bound such as "<= 5" or ">= 0.4", got {text!r}'
            )
        if not math.isfinite(bound := float(match[2])):
            raise ValueError(f"{measure}: expected a bound that is a finite number, got {text!r}")
        return cls(measure=measure, at_most=match[1] == "<=", bound=bound)

    @property
    def name(self) -> str:
        """Text for people, such as ``vram_gb <= 8``."""
        return f"{self.measure} {'<=' if self.at_most else '>='} {self.bound:g}"

    def violation(self, scores: Mapping[str, float]) -> float:
        """Return how far the measure is beyond the bound; 0 or less if the bound is kept."""
        excess = scores[self.measure] - self.bound
        return excess if self.at_most else -excess

    @property
    def lasting(self) -> bool:
        """Whether more steps cannot repair a violation: costs never fall with more steps."""
        return self.at_most and self.measure in COSTS


@dataclass(frozen=True, kw_only=True)
class Goals:
    """The objectives and constraints of a run.

    Attributes:
        objectives: one, or up to `ranking.MAX_OBJECTIVES` for a Pareto search.
        constraints: bounds. Keeping them is more important than any objective.
    """

    objectives: Sequence[Objective]
    constraints: Sequence[Constraint] = ()

    @property
    def first(self) -> Objective:
        """The first objective, by which tables are sorted."""
        return self.objectives[0]

    @property
    def name(self) -> str:
        """Text for people: the names of all objectives."""
        return ", ".join(objective.name for objective in self.objectives)

    @property
    def label(self) -> str:
        """The same with the usual names of metrics."""
        return ", ".join(objective.label for objective in self.objectives)

    @property
    def measures(self) -> set[str]:
        """Names of all measures in the objectives and constraints."""
        bounds = {bound.measure for bound in self.constraints}
        return bounds.union(*(objective.weights for objective in self.objectives))

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Direction of each objective, in the words of Optuna."""
        return ["maximize" if o.higher_is_better else "minimize" for o in self.objectives]

    @property
    def pareto(self) -> bool:
        """Whether there are several objectives."""
        return len(self.objectives) > 1

    def violations(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Return constraint -> violation; 0 or less if the constraint is kept."""
        return {bound.name: bound.violation(scores) for bound in self.constraints}

    def not_finite(self, scores: Mapping[str, float]) -> list[str]:
        """Return the measures of the goals that are NaN or infinite; NaN would keep any bound."""
        return [
            name for name in sorted(self.measures) if not math.isfinite(scores.get(name, math.nan))
        ]

    def beyond(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Return constraint -> violation for each constraint that no number of steps can repair.

        Args:
            costs: the costs that are known already; they never fall with more steps.
        """
        bounds = [bound for bound in self.constraints if bound.lasting and bound.measure in costs]
        violations = {bound.name: bound.violation(costs) for bound in bounds}
        return {name: excess for name, excess in violations.items() if excess > 0}

    def violated(self, scores: Mapping[str, float]) -> list[str]:
        """Return the names of the violated constraints."""
        return [name for name, excess in self.violations(scores).items() if excess > 0]

    def values(self, scores: Mapping[str, float]) -> Values:
        """Return what `ranking` compares: the total constraint violation, then each loss.

        Each violation is divided by its bound, so that seconds and gigabytes can be added.
        """
        violation = sum(
            max(0.0, bound.violation(scores)) / (abs(bound.bound) or 1.0)
            for bound in self.constraints
        )
        return (violation, *self.losses(scores))

    def losses(self, scores: Mapping[str, float]) -> tuple[float, ...]:
        """Return the loss of each objective; lower is better."""
        return tuple(objective.loss(objective.of(scores)) for objective in self.objectives)
