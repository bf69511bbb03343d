"""What a run optimises: metrics, sums of metrics, costs; one number, or several as a Pareto search.

No torch here: tables and `status` read it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nst_core.errors import near_miss
from nst_core.metrics.registry import METRICS, Metric
from tuner.job.ranking import MOST_VALUES, Values

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

#: The cost that only a GPU has, and that is known before the first step.
GPU_MEMORY = "vram_gb"

#: Everything that may be an objective or bounded.
MEASURES: Mapping[str, Metric] = {**METRICS, **COSTS}

#: More at once, and nearly every trial is as good as any other.
MOST_OBJECTIVES = MOST_VALUES

_BOUND = re.compile(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")


def check_measure(name: str) -> None:
    """Raise ValueError if there is no such measure."""
    if name not in MEASURES:
        raise ValueError(f"{name!r} is none of {', '.join(MEASURES)}{near_miss(name, MEASURES)}")


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

    @property
    def has_turned(self) -> bool:
        """Whether it is a sum in which a measure counts with its sign turned."""
        turned = any(MEASURES[name].higher_is_better for name in self.weights)
        return self.single is None and turned

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
        check_measure(measure)
        found = _BOUND.fullmatch(text)
        if found is None:
            raise ValueError(f'{measure}: expected a bound such as "<= 5", got {text!r}')
        if not math.isfinite(bound := float(found[2])):
            raise ValueError(f"{measure}: expected a bound that is a finite number, got {text!r}")
        return cls(measure=measure, at_most=found[1] == "<=", bound=bound)

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.measure} {'<=' if self.at_most else '>='} {self.bound:g}"

    def violation(self, scores: Mapping[str, float]) -> float:
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

    def violations(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Constraint -> by how much it is broken."""
        return {bound.name: bound.violation(scores) for bound in self.constraints}

    def not_finite(self, scores: Mapping[str, float]) -> list[str]:
        """Measures that are asked for and are not finite: such a constraint would pass as kept."""
        return [name for name in sorted(self.measures) if not math.isfinite(scores[name])]

    def beyond(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Constraint -> by how much ``costs`` break it for good, whatever the picture becomes.

        Args:
            costs: those that are known; they do not fall with more steps.
        """
        bounds = [one for one in self.constraints if one.lasting and one.measure in costs]
        return {one.name: over for one in bounds if (over := one.violation(costs)) > 0}

    def violated(self, scores: Mapping[str, float]) -> list[str]:
        """The constraints that are broken, as people write them."""
        return [name for name, over in self.violations(scores).items() if over > 0]

    def values(self, scores: Mapping[str, float]) -> Values:
        """What results are ranked by, lower is better: what is broken, then the objectives.

        Excesses are added up in units of their bounds, so that seconds and gigabytes compare.
        """
        broken = sum(
            max(0.0, bound.violation(scores)) / (abs(bound.bound) or 1.0)
            for bound in self.constraints
        )
        return (broken, *(o.loss(o.of(scores)) for o in self.objectives))
