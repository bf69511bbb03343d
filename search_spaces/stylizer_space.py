"""StylizerSpace: a search space of another stylizer, with parameters of any name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nst_core.errors import ConfigError
from nst_core.stylizer_config import StylizerConfig
from search_spaces.derived_parameters import base_of
from search_spaces.parameters import Choice, Int, Parameter, Params
from search_spaces.space import Space
from search_spaces.space_file import (
    parse_parameter,
    parse_point,
    parsed_space,
    space_to_dict,
)
from search_spaces.validation import exclusive, range_problems, when_problems

_KEYS = ("name", "version", "why", "params", "fixed", "defaults", "starts")
_PARAM_KEYS = ("low", "high", "log", "whole", "options", "when")
#: Names of parameters: what a placeholder of a command can name, and a variant after an @.
_NAME = re.compile(r"[^\W\d][\w.-]*(@[\w.-]+)?")
#: Names that every stylizer gets anyway; a parameter must not have one of them.
RESERVED = ("content", "style", "out", "seed", "size_px", "device", "python", "here", "steps")


@dataclass(frozen=True, kw_only=True)
class StylizerSpace(Space):
    """A search space of another stylizer; `build` returns a `StylizerConfig`.

    Attributes:
        stylizer: the stylizer as plain JSON, which every configuration names.
        own_defaults: the stylizer's own defaults, which the first trial has; empty if unknown.
    """

    stylizer: Mapping[str, Any] = field(default_factory=dict)
    own_defaults: Params = field(default_factory=dict)

    @property
    def defaults(self) -> Params | None:
        """Parameters of the first trial, which others are compared with."""
        return self.completed(self.own_defaults) if self.own_defaults else None

    def may_set(self, field_name: str) -> tuple[Any, ...]:
        """Return no values: the space sets no field of `StyleConfig`."""
        return ()

    @property
    def style_images(self) -> range | None:
        """None: the space sets no weights of style images."""
        return None

    def build(self, params: Params, **job: Any) -> Any:
        """Return the `StylizerConfig` of drawn values; see `Space.build`."""
        if problems := self._value_problems(params):
            raise ConfigError(f"parameters of space {self.name}", problems)
        values = {base_of(name): value for name, value in params.items()}
        return StylizerConfig(stylizer=dict(self.stylizer), params={**self.fixed, **values}, **job)

    def conditional(self) -> dict[str, bool]:
        """Return parameter or fixed value -> whether it has no meaning in some configurations."""
        always = {base_of(name) for name, parameter in self.params.items() if not parameter.when}
        names = [*self.fixed, *map(base_of, self.params)]
        return {name: name not in always and name not in self.fixed for name in names}

    def _declaration_problems(self) -> list[str]:
        problems = [] if self.params else ["`params`: expected at least one parameter"]
        for name in [*self.params, *self.fixed]:
            key = "params" if name in self.params else "fixed"
            if not _NAME.fullmatch(name):
                problems.append(
                    f"`{key}.{name}`: expected a name of letters, digits, `_`, `-` and `.` that"
                    " begins with a letter"
                )
            elif base_of(name) in RESERVED:
                problems.append(
                    f"`{key}.{name}`: every stylizer gets `{base_of(name)}` anyway; choose another"
                    " name"
                )
        for name, parameter in self.params.items():
            problems += _parameter_problems(name, parameter) + when_problems(
                name, parameter, self.params
            )
        problems += [
            f"`fixed.{name}`: expected a number or text, got {value!r}"
            for name, value in self.fixed.items()
            if isinstance(value, bool) or not isinstance(value, int | float | str)
        ]
        return problems + self._twice()

    def _twice(self) -> list[str]:
        """Return a problem for each two parameters that could set the same one in one trial."""
        problems = [
            f"`fixed.{name}`: is a parameter as well; remove one of them"
            for name in self.fixed
            if name in map(base_of, self.params)
        ]
        return problems + [
            f"`params.{second}`: sets the same as `{first}`, so their conditions must exclude each"
            " other: expected different values of one choice in their `when`"
            for first, second in itertools.combinations(self.params, 2)
            if base_of(first) == base_of(second)
            and not exclusive(self.params[first], self.params[second])
        ]

    def _all_initial_point_problems(self) -> list[str]:
        problems = super()._all_initial_point_problems()
        if self.own_defaults:
            given = self.completed(self.own_defaults)
            problems += [f"`defaults`: {problem}" for problem in self._value_problems(given)]
        return problems

    def point_problems(self, point: Params) -> list[str]:
        """See `Space.point_problems`."""
        return self._value_problems(self.completed(point), partial=True)


def stylizer_space_from_dict(content: Any, source: str) -> StylizerSpace:
    """Return the search space of another stylizer from plain data.

    Args:
        content: as for `space_from_dict`, with parameters of any name. ``whole: true`` makes a
            range one of whole numbers, ``defaults`` are the stylizer's own, ``fixed`` are values
            that every trial has.
        source: name of the file in error messages.

    Raises:
        ConfigError: the content is invalid; the error lists all problems.
    """
    fields = parsed_space(content, source, _KEYS, _parse)
    defaults = content.get("defaults", {})
    if not isinstance(defaults, Mapping):
        raise ConfigError(source, [f"`defaults`: expected {{parameter: value}}, got {defaults!r}"])
    return StylizerSpace(**fields, own_defaults=parse_point(defaults))


def stylizer_space_to_dict(space: StylizerSpace) -> dict[str, Any]:
    """Return a space as plain data for `stylizer_space_from_dict`."""
    plain = space_to_dict(space)
    for name, parameter in space.params.items():
        if isinstance(parameter, Int):
            plain["params"][name]["whole"] = True
    return {**plain, "defaults": dict(space.own_defaults)}


def _parse(name: str, entry: Any) -> Parameter | list[str]:
    whole = entry.get("whole", False) if isinstance(entry, Mapping) else False
    if not isinstance(whole, bool):
        return [f"`params.{name}.whole`: expected true or false, got {whole!r}"]
    return parse_parameter(name, entry, _PARAM_KEYS, whole=whole)


def _parameter_problems(name: str, parameter: Parameter) -> list[str]:
    if isinstance(parameter, Choice):
        return [] if parameter.options else [f"`params.{name}`: expected at least one option"]
    return range_problems(name, parameter)
