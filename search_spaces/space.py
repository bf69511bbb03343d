"""A search space: parameters, their conditions, and how drawn values become a StyleConfig.

A parameter is either a field of `StyleConfig` (``lr``, ``init``, ``tv_weight`` …) or one of the
derived names in `DERIVED`, which set several fields at once. Where a range depends on another
choice, there are several variants of it, each with its own condition: ``lr@adam``, ``lr@sgd``. A
space is declared, never coded, so that it can be drawn as a table, checked, and read from a user's
YAML file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from nst_core.config import FIELDS, StyleConfig
from nst_core.errors import ConfigError, near_miss
from search_spaces.checks import declaration_problems
from search_spaces.derived import BLEND, DERIVED, Fields, base_of
from search_spaces.parameters import Parameter, Params, condition


@dataclass(frozen=True, kw_only=True)
class Space:
    """A named search space.

    Attributes:
        name: what a job file calls it.
        why: why its ranges are what they are; the first sentence says what it is for.
        params: parameters in the order they are drawn; a condition names an earlier one.
        fixed: fields of StyleConfig that the space sets for every configuration, unless a parameter
            sets them.
        initial_points: parameters worth trying first, from earlier experience; the search begins
            there. What one leaves open is drawn, but for the conditions of what it gives.

    Raises:
        ConfigError: with every problem of the declaration at once.
    """

    name: str
    why: str
    params: Mapping[str, Parameter]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    initial_points: tuple[Params, ...] = ()

    def __post_init__(self) -> None:
        problems = declaration_problems(self.params, self.fixed)
        if not problems:
            problems = _config_problems(self._build_fixed, "`fixed`: ")
        if not problems:
            problems = _config_problems(lambda: self.build(self._sample({})), "as built: ")
        if not problems:
            problems = [
                f"`starts.{index}`: {problem}"
                for index, start in enumerate(self.initial_points)
                for problem in self._start_problems(start)
            ]
        if problems:
            raise ConfigError(f"space {self.name}", problems)
        object.__setattr__(self, "initial_points", tuple(map(self.completed, self.initial_points)))

    @property
    def summary(self) -> str:
        """What it is for, in one sentence."""
        return self.why.partition(". ")[0].rstrip(".")

    def may_set(self, field_name: str) -> tuple[Any, ...]:
        """Every value of a field that a configuration may have; of a range, its ends."""
        ways = [p for name, p in self.params.items() if base_of(name) == field_name]
        values = [value for way in ways for value in way.ends]
        if all(way.when for way in ways):
            values.append(self.fixed.get(field_name, getattr(StyleConfig(), field_name)))
        return tuple(value for i, value in enumerate(values) if value not in values[:i])

    @property
    def style_images(self) -> range | None:
        """How many style images it can weigh; None if it leaves their weights alone."""
        if weights := [name for name in self.params if base_of(name).startswith(BLEND)]:
            return range(2, len(weights) + 2)
        blend = self.fixed.get("style_blend")
        return None if blend is None else range(len(blend), len(blend) + 1)

    def for_style_images(self, count: int) -> Space:
        """The space without the weights of style images that there are not."""
        spare = [f"{BLEND}{number}" for number in (self.style_images or ()) if number > count]
        if not spare:
            return self
        return replace(
            self,
            params={name: p for name, p in self.params.items() if name not in spare},
            initial_points=tuple(
                {k: v for k, v in s.items() if k not in spare} for s in self.initial_points
            ),
        )

    def active(self, name: str, drawn: Params) -> bool:
        """Whether a parameter's condition holds, given the ones drawn before it."""
        return all(drawn.get(other) in values for other, values in self.params[name].when.items())

    def completed(self, given: Params) -> Params:
        """``given`` with the conditions that its parameters hang on, where it leaves them open."""
        needed = set(given)
        for name in reversed(list(self.params)):  # a condition names an earlier one
            if name in needed:
                needed.update(self.params[name].when)
        found = dict(given)
        for name in needed.difference(given).intersection(self.params):
            ways = [
                p.when[name]
                for other, p in self.params.items()
                if other in needed and name in p.when
            ]
            common = [value for value in ways[0] if all(value in way for way in ways)]
            found[name] = (common or ways[0])[0]
        return found

    def build(self, params: Params, **job: Any) -> StyleConfig:
        """The configuration of drawn values; ``job`` sets fields such as size_px and steps.

        Raises:
            ConfigError: unknown, missing, inactive or out-of-range parameters, all at once.
        """
        problems = self._value_problems(params)
        if problems:
            raise ConfigError(f"parameters of space {self.name}", problems)
        values = {base_of(name): value for name, value in params.items()}
        fields: Fields = {**self.fixed, **job}
        fields.update({key: value for key, value in values.items() if key in FIELDS})
        for name, apply in DERIVED.items():
            if name in values:
                apply(values[name], fields)
        return StyleConfig.from_dict(fields, source=f"space {self.name}")

    def _build_fixed(self) -> None:
        """Only what is fixed, where what it may be hangs on what is drawn first."""
        decides = {
            base: value
            for name, value in self._sample({}).items()
            if (base := base_of(name)) in ("extractor", "optimizer")
        }
        StyleConfig.from_dict({**self.fixed, **decides})

    def try_ends(self) -> None:
        """Build a configuration with each two ends of parameters: what single draws may not show.

        Raises:
            ConfigError: with every problem that was met.
        """
        ends = [(name, end) for name, p in self.params.items() for end in p.ends]
        problems: dict[str, str] = {}
        # One at a time first, so that what is wrong with one alone is said of it.
        for one, other in [*zip(ends, ends, strict=True), *itertools.combinations(ends, 2)]:
            sample = self._sample(self.completed(dict([one, other])))
            there = " and ".join(f"`{name}` = {end}" for name, end in dict([one, other]).items())
            for problem in _config_problems(partial(self.build, sample)):
                problems.setdefault(problem, f"with {there}: {problem}")
        if problems:
            raise ConfigError(f"space {self.name}", list(problems.values()))

    def _value_problems(self, params: Params, *, partial: bool = False) -> list[str]:
        problems = [
            f"`{name}`: no such parameter{near_miss(name, self.params)}"
            for name in params
            if name not in self.params
        ]
        for name, parameter in self.params.items():
            active = self.active(name, params)
            if active and name not in params:
                if not partial:
                    problems.append(f"`{name}`: missing, expected {parameter.describe()}")
            elif not active and name in params:
                problems.append(f"`{name}`: has no meaning unless {condition(parameter)}")
            elif active and not parameter.contains(params[name]):
                problems.append(f"`{name}`: expected {parameter.describe()}, got {params[name]!r}")
        return problems

    def _start_problems(self, start: Params) -> list[str]:
        given = self.completed(start)
        problems = self._value_problems(given, partial=True)
        return problems or _config_problems(lambda: self.build(self._sample(given)))

    def _sample(self, given: Params) -> Params:
        """``given`` and, for what is active beside it, the low end or the first option."""
        drawn: dict[str, float | int | str] = {}
        for name, parameter in self.params.items():
            if self.active(name, drawn):
                drawn[name] = given.get(name, parameter.ends[0])
        return drawn


def _config_problems(build: Callable[[], Any], where: str = "") -> list[str]:
    try:
        build()
    except ConfigError as error:
        return [f"{where}{problem}" for problem in error.problems]
    return []
