"""Space: parameters with conditions, and the conversion of drawn values to a StyleConfig.

A parameter is either a field of `StyleConfig` (``lr``, ``init``, ``tv_weight`` …) or a derived
parameter of `DERIVED`, which sets one or several fields. Where a range depends on another choice,
the parameter has variants, each with its own condition: ``lr@adam``, ``lr@sgd``. A space is data,
not code, so that it can be shown as a table, checked, and read from a user's YAML file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from nst_core.config import FIELDS, StyleConfig
from nst_core.errors import ConfigError, near_miss
from search_spaces.derived_parameters import BLEND, DERIVED, Fields, base_of
from search_spaces.parameters import Parameter, Params, condition
from search_spaces.validation import declaration_problems


@dataclass(frozen=True, kw_only=True)
class Space:
    """A named search space.

    Attributes:
        name: name in job files.
        why: reasons for the ranges; the first sentence says what the space is for.
        params: parameters in the order in which they are drawn; a condition names an earlier one.
        fixed: fields of StyleConfig that all configurations have, unless a parameter sets them.
        initial_points: values of parameters to try first, from earlier experience. Missing
            parameters are drawn, except those that the conditions of the given ones determine.
        version: number of the declaration under this name; results of different versions do not
            compare.

    Raises:
        ConfigError: the declaration is invalid; the error lists all problems.
    """

    name: str
    why: str
    params: Mapping[str, Parameter]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    initial_points: tuple[Params, ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        if problems := self._declaration_problems() or self._all_initial_point_problems():
            raise ConfigError(f"space {self.name}", problems)
        object.__setattr__(self, "initial_points", tuple(map(self.completed, self.initial_points)))

    def _declaration_problems(self) -> list[str]:
        return (
            declaration_problems(self.params, self.fixed)
            or _config_problems(self._build_fixed, "`fixed`: ")
            or _config_problems(lambda: self.build(self._sample({})), "as built: ")
        )

    def _all_initial_point_problems(self) -> list[str]:
        return [
            f"`starts.{index}`: {problem}"
            for index, start in enumerate(self.initial_points)
            for problem in self.point_problems(start)
        ]

    @property
    def defaults(self) -> Params | None:
        """Parameters of the first trial, which others are compared with; None: baselines do."""
        return None

    @property
    def summary(self) -> str:
        """Purpose of the space, in one sentence."""
        return self.why.partition(". ")[0].rstrip(".")

    def may_set(self, field_name: str) -> tuple[Any, ...]:
        """Return the possible values of a field of StyleConfig; for a range, its two ends."""
        variants = [p for name, p in self.params.items() if base_of(name) == field_name]
        values = [value for variant in variants for value in variant.ends]
        if all(variant.when for variant in variants):
            values.append(self.fixed.get(field_name, getattr(StyleConfig(), field_name)))
        return tuple(value for i, value in enumerate(values) if value not in values[:i])

    @property
    def style_images(self) -> range | None:
        """Numbers of style images whose weights it can set; None if it sets no weights."""
        if weights := [name for name in self.params if base_of(name).startswith(BLEND)]:
            return range(2, len(weights) + 2)
        blend = self.fixed.get("style_blend")
        return None if blend is None else range(len(blend), len(blend) + 1)

    def for_style_images(self, count: int) -> Space:
        """Return the space without the weights of style images beyond ``count``."""
        unused = [f"{BLEND}{number}" for number in (self.style_images or ()) if number > count]
        if not unused:
            return self
        return replace(
            self,
            params={name: p for name, p in self.params.items() if name not in unused},
            initial_points=tuple(
                {k: v for k, v in s.items() if k not in unused} for s in self.initial_points
            ),
        )

    def active(self, name: str, drawn: Params) -> bool:
        """Return whether a parameter's condition is true, given the parameters drawn before it."""
        return all(drawn.get(other) in values for other, values in self.params[name].when.items())

    def completed(self, given: Params) -> Params:
        """Return parameters plus the missing ones on which they are conditional.

        A missing parameter gets the first value that all conditions allow.
        """
        needed = set(given)
        for name in reversed(list(self.params)):  # a condition names an earlier one
            if name in needed:
                needed.update(self.params[name].when)
        completed = dict(given)
        for name in needed.difference(given).intersection(self.params):
            conditions = [
                p.when[name]
                for other, p in self.params.items()
                if other in needed and name in p.when
            ]
            common = [value for value in conditions[0] if all(value in c for c in conditions)]
            completed[name] = (common or conditions[0])[0]
        return completed

    def build(self, params: Params, **job: Any) -> StyleConfig:
        """Return the configuration of drawn values.

        Args:
            params: drawn values of all active parameters.
            job: fields that the job sets, such as ``size_px`` and ``steps``.

        Raises:
            ConfigError: a parameter is unknown, missing, inactive or out of range, or the settings
                are invalid; the error lists all problems.
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
        """Build a configuration of the fixed fields, and those drawn ones that they depend on."""
        drawn = {
            base: value
            for name, value in self._sample({}).items()
            if (base := base_of(name)) in ("extractor", "optimizer")
        }
        StyleConfig.from_dict({**self.fixed, **drawn})

    def try_ends(self) -> None:
        """Build a configuration with each pair of ends of parameters to find invalid combinations.

        Raises:
            ConfigError: a combination is invalid; the error lists all problems.
        """
        ends = [(name, end) for name, p in self.params.items() for end in p.ends]
        problems: dict[str, str] = {}
        # Single values come first, so that a problem is reported with as few values as possible.
        for first, second in [*zip(ends, ends, strict=True), *itertools.combinations(ends, 2)]:
            pair = dict([first, second])
            sample = self._sample(self.completed(pair))
            values = " and ".join(f"`{name}` = {end}" for name, end in pair.items())
            for problem in _config_problems(partial(self.build, sample)):
                problems.setdefault(problem, f"with {values}: {problem}")
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
                problems.append(f"`{name}`: has no effect unless {condition(parameter)}")
            elif active and not parameter.contains(params[name]):
                problems.append(f"`{name}`: expected {parameter.describe()}, got {params[name]!r}")
        return problems

    def point_problems(self, point: Params) -> list[str]:
        """Return what is wrong with values of some parameters; the others would be drawn."""
        given = self.completed(point)
        problems = self._value_problems(given, partial=True)
        return problems or _config_problems(lambda: self.build(self._sample(given)))

    def _sample(self, given: Params) -> Params:
        """Return ``given`` plus the low end or first option of all other active parameters."""
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
