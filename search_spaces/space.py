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

Params = Mapping[str, float | int | str]


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high]; ``log`` draws its logarithm evenly (low > 0)."""

    low: float
    high: float
    log: bool = False
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether ``value`` may be drawn."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    def describe(self) -> str:
        """One phrase for a table."""
        return f"{self.low:g} … {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several names."""

    options: tuple[str, ...]
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether ``value`` may be drawn."""
        return value in self.options

    def describe(self) -> str:
        """One phrase for a table."""
        return " | ".join(self.options)


Parameter = Float | Choice

#: Style layer sets by name; `style_scheme` says how they are weighted.
STYLE_SETS: Mapping[str, tuple[str, ...]] = {
    "relu1_1-3_1": ("relu1_1", "relu2_1", "relu3_1"),
    "relu1_1-4_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
    "relu1_1-5_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    "relu1_2-4_3": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
}

#: How a set's layers share the weight 1: alike, or each layer half or twice the one before.
STYLE_SCHEMES: Mapping[str, float] = {"equal": 1.0, "shallow": 0.5, "deep": 2.0}

Fields = dict[str, Any]


def _set_ratio(value: float, fields: Fields) -> None:
    fields["style_weight"] = fields.get("content_weight", 1.0) * 10.0**value


def _set_content_layer(value: str, fields: Fields) -> None:
    fields["content_layers"] = {value: 1.0}


def _set_style_layers(value: str, fields: Fields) -> None:
    fields["style_layers"] = dict.fromkeys(STYLE_SETS[value], 1.0)


def _set_style_scheme(value: str, fields: Fields) -> None:
    """Reweights the layers that ``style_set`` or the fixed settings chose, in forward order."""
    factor = STYLE_SCHEMES[value]
    weights = [factor**i for i in range(len(fields["style_layers"]))]
    fields["style_layers"] = {
        layer: weight / sum(weights)
        for layer, weight in zip(fields["style_layers"], weights, strict=True)
    }


#: Parameters that are no field of StyleConfig, in the order in which they are applied.
DERIVED: Mapping[str, Callable[[Any, Fields], None]] = {
    "log10_style_content": _set_ratio,
    "content_layer": _set_content_layer,
    "style_set": _set_style_layers,
    "style_scheme": _set_style_scheme,
    "tv": lambda value, fields: None,  # only a switch for the condition of tv_weight
}

#: What the derived choices may be; a field's own choices come from StyleConfig.
_DERIVED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "style_set": tuple(STYLE_SETS),
    "style_scheme": tuple(STYLE_SCHEMES),
    "tv": ("off", "on"),
}


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
        fields: Fields = {"style_layers": StyleConfig().style_layers, **self.fixed, **job}
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
        if isinstance(parameter, Float):
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
            _DERIVED_OPTIONS.get(name) or FIELDS[name].metadata.get("options")
            if (name in FIELDS or name in _DERIVED_OPTIONS)
            else None
        )
        if name == "content_layer":
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
                first = parameter.low if isinstance(parameter, Float) else parameter.options[0]
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


_PARAM_KEYS = ("low", "high", "log", "options", "when")


def space_from_dict(content: Any, source: str) -> Space:
    """A space from plain data, as a user's YAML file gives it.

    ``{name, why, fixed: {field: value}, params: {name: {low, high, log} | {options: […]}, each with
    an optional when: {other: [values]}}, starts: [{parameter: value}]}``.

    Raises:
        ConfigError: with every problem at once.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(source, [f"expected a space (name, why, params), got {content!r}"])
    known = ("name", "why", "params", "fixed", "starts")
    problems = [
        f"`{key}`: no such key{near_miss(key, known)}" for key in content if key not in known
    ]
    declared = content.get("params")
    if not isinstance(declared, Mapping):
        problems.append(f"`params`: expected parameters with their ranges, got {declared!r}")
        declared = {}
    if not isinstance(content.get("fixed", {}), Mapping):
        problems.append(f"`fixed`: expected settings with values, got {content['fixed']!r}")
    starts = content.get("starts", [])
    if not (isinstance(starts, list) and all(isinstance(start, Mapping) for start in starts)):
        problems.append(f"`starts`: expected a list of {{parameter: value}}, got {starts!r}")
    params: dict[str, Parameter] = {}
    for name, entry in declared.items():
        parsed = _parse_parameter(str(name), entry)
        if isinstance(parsed, list):
            problems += parsed
        else:
            params[str(name)] = parsed
    if problems:
        raise ConfigError(source, problems)
    return Space(
        name=str(content.get("name", source)),
        why=str(content.get("why", "")),
        params=params,
        fixed=dict(content.get("fixed", {})),
        starts=tuple(_parse_start(start) for start in starts),
    )


def _parse_parameter(name: str, entry: Any) -> Parameter | list[str]:
    path = f"params.{name}"
    if not isinstance(entry, Mapping):
        return [f"`{path}`: expected {{low, high}} or {{options}}, got {entry!r}"]
    problems = [
        f"`{path}.{key}`: no such key{near_miss(key, _PARAM_KEYS)}"
        for key in entry
        if key not in _PARAM_KEYS
    ]
    when: dict[str, tuple[str, ...]] = {}
    if not isinstance(entry.get("when", {}), Mapping):
        problems.append(f"`{path}.when`: expected {{parameter: [values]}}, got {entry['when']!r}")
    else:
        for other, values in entry.get("when", {}).items():
            listed = values if isinstance(values, list) else [values]
            when[str(other)] = tuple(_yaml_word(value) for value in listed)
    if "options" in entry:
        options = entry["options"]
        if not isinstance(options, list) or "low" in entry or "high" in entry:
            return [*problems, f"`{path}`: expected options as a list, without low and high"]
        return problems or Choice(options=tuple(_yaml_word(o) for o in options), when=when)
    for key in ("low", "high"):
        if not isinstance(entry.get(key), (int, float)) or isinstance(entry.get(key), bool):
            problems.append(f"`{path}.{key}`: expected a number, got {entry.get(key)!r}")
    if not isinstance(entry.get("log", False), bool):
        problems.append(f"`{path}.log`: expected true or false, got {entry['log']!r}")
    return problems or Float(
        low=float(entry["low"]), high=float(entry["high"]), log=entry.get("log", False), when=when
    )


def _parse_start(start: Mapping[str, Any]) -> Params:
    return {str(k): _yaml_word(v) if isinstance(v, bool) else v for k, v in start.items()}


def _yaml_word(value: Any) -> str:
    """YAML reads a bare ``on`` and ``off`` as booleans; here they are words."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
