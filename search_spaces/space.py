"""A search space: parameters, their conditions, and how drawn values become a StyleConfig.

A parameter is either a field of `StyleConfig` (``lr``, ``init``, ``tv_weight`` …) or one of the
derived names in `DERIVED`, which set several fields at once. A space is declared, never coded, so
that it can be drawn as a table, checked, and read from a user's YAML file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nst_core.config import FIELDS, StyleConfig
from nst_core.errors import ConfigError, near_miss
from nst_core.networks import EXTRACTORS, NETWORKS
from search_spaces.derived import DERIVED, DERIVED_OPTIONS, Fields
from search_spaces.parameters import Choice, Parameter, Params


@dataclass(frozen=True, kw_only=True)
class Space:
    """A named search space.

    Attributes:
        name: what a job file calls it.
        why: why its ranges are what they are.
        params: parameters in the order they are drawn; a condition names an earlier one.
        fixed: fields of StyleConfig that the space sets for every configuration.
        starts: parameters worth trying first, from earlier experience; the search begins there.

    Raises:
        ConfigError: with every problem of the declaration at once.
    """

    name: str
    why: str
    params: Mapping[str, Parameter]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Params, ...] = ()

    def __post_init__(self) -> None:
        problems = [p for name in self.params for p in self._param_problems(name)]
        problems += [
            f"`fixed.{key}`: no such setting{near_miss(key, FIELDS)}"
            for key in self.fixed
            if key not in FIELDS
        ]
        if not self.params:
            problems.append("`params`: expected at least one parameter")
        if not problems:
            problems = _config_problems(lambda: StyleConfig.from_dict(self.fixed), "fixed")
        if not problems:
            problems = _config_problems(lambda: self.build(self._corner()), "built configuration")
            for i, start in enumerate(self.starts):
                problems += _config_problems(partial(self.build, start), f"`starts.{i}`")
        if problems:
            raise ConfigError(f"space {self.name}", problems)

    def may_set(self, field_name: str) -> tuple[Any, ...]:
        """Every value of a choice that a configuration of this space may have."""
        parameter = self.params.get(field_name)
        if isinstance(parameter, Choice):
            return parameter.options
        if field_name in self.fixed:
            return (self.fixed[field_name],)
        return (getattr(StyleConfig(), field_name),)

    def active(self, name: str, drawn: Params) -> bool:
        """Whether a parameter's condition holds, given the ones drawn before it."""
        return all(drawn.get(other) in values for other, values in self.params[name].when.items())

    def build(self, params: Params, **job: Any) -> StyleConfig:
        """The configuration of drawn values; ``job`` sets fields such as size_px and steps.

        Raises:
            ConfigError: unknown, missing, inactive or out-of-range parameters, all at once.
        """
        problems = self._value_problems(params)
        if problems:
            raise ConfigError(f"parameters of space {self.name}", problems)
        fields: Fields = {**self.fixed, **job}
        fields.update({key: value for key, value in params.items() if key in FIELDS})
        for name, apply in DERIVED.items():
            if name in params:
                apply(params[name], fields)
        return StyleConfig.from_dict(fields, source=f"space {self.name}")

    def _value_problems(self, params: Params) -> list[str]:
        problems = [
            f"`{name}`: no such parameter{near_miss(name, self.params)}"
            for name in params
            if name not in self.params
        ]
        for name, parameter in self.params.items():
            active = self.active(name, params)
            if active and name not in params:
                problems.append(f"`{name}`: missing, expected {parameter.describe()}")
            elif not active and name in params:
                problems.append(f"`{name}`: has no meaning unless {_condition(parameter)}")
            elif active and not parameter.contains(params[name]):
                problems.append(f"`{name}`: expected {parameter.describe()}, got {params[name]!r}")
        return problems

    def _param_problems(self, name: str) -> list[str]:
        parameter = self.params[name]
        known = [*FIELDS, *DERIVED]
        if name not in known:
            return [f"`params.{name}`: no such parameter{near_miss(name, known)}"]
        problems = []
        if not isinstance(parameter, Choice):
            if not (math.isfinite(parameter.low) and math.isfinite(parameter.high)):
                problems.append(f"`params.{name}`: low and high must be finite")
            elif parameter.low > parameter.high:
                problems.append(
                    f"`params.{name}`: low {parameter.low:g} is above high {parameter.high:g}"
                )
            elif parameter.log and parameter.low <= 0:
                problems.append(f"`params.{name}`: a log range needs low above 0")
        else:
            problems += self._option_problems(name, parameter)
        return problems + self._when_problems(name, parameter)

    def _option_problems(self, name: str, parameter: Choice) -> list[str]:
        allowed = (
            DERIVED_OPTIONS.get(name) or FIELDS[name].metadata.get("options")
            if (name in FIELDS or name in DERIVED_OPTIONS)
            else None
        )
        if name == "content_layer" and "extractor" not in self.params:
            extractor = self.fixed.get("extractor", StyleConfig().extractor)
            allowed = NETWORKS[extractor].layers if extractor in EXTRACTORS else None
        if not parameter.options:
            return [f"`params.{name}`: expected at least one option"]
        return [
            f"`params.{name}`: {option!r} is not one of {', '.join(allowed)}"
            f"{near_miss(option, allowed)}"
            for option in parameter.options
            if allowed and option not in allowed
        ]

    def _when_problems(self, name: str, parameter: Parameter) -> list[str]:
        problems = []
        earlier = list(self.params)[: list(self.params).index(name)]
        for other, values in parameter.when.items():
            source = self.params.get(other)
            if other not in earlier or not isinstance(source, Choice):
                problems.append(
                    f"`params.{name}.when.{other}`: expected a choice declared before `{name}`"
                    f"{near_miss(other, earlier)}"
                )
            else:
                problems += [
                    f"`params.{name}.when.{other}`: {value!r} is never drawn"
                    f"{near_miss(value, source.options)}"
                    for value in values
                    if not source.contains(value)
                ]
        return problems

    def _corner(self) -> Params:
        """Low end and first option of every active parameter: one sample to try `build` on."""
        drawn: dict[str, float | int | str] = {}
        for name, parameter in self.params.items():
            if self.active(name, drawn):
                first = parameter.options[0] if isinstance(parameter, Choice) else parameter.low
                drawn[name] = first
        return drawn


def _condition(parameter: Parameter) -> str:
    return " and ".join(f"{k} is {' or '.join(v)}" for k, v in parameter.when.items())


def _config_problems(build: Callable[[], Any], where: str) -> list[str]:
    try:
        build()
    except ConfigError as error:
        return [f"{where}: {problem}" for problem in error.problems]
    return []
