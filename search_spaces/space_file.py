"""Space files: a search space as plain data, as in a user's YAML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nst_core.errors import ConfigError, near_miss
from search_spaces.parameters import Choice, Float, Int, Parameter, Params
from search_spaces.space import Space
from search_spaces.validation import is_count

_PARAM_KEYS = ("low", "high", "log", "options", "when")
_KEYS = ("name", "version", "why", "params", "fixed", "starts")


def space_from_dict(content: Any, source: str) -> Space:
    """Return a search space for our engine from plain data; see `parsed_space`."""
    fields = parsed_space(content, source, _KEYS, _parse_parameter)
    space = Space(**fields)
    space.try_ends()
    return space


def parsed_space(
    content: Any,
    source: str,
    keys: Sequence[str],
    parse: Callable[[str, Any], Parameter | list[str]],
) -> dict[str, Any]:
    """Return the attributes of a space from plain data.

    Args:
        content: ``{name, version, why, fixed: {field: value}, params: {name: {low, high, log} |
            {options: […]}, each with an optional when: {other: [values]}}, starts: [{parameter:
            value}]}``.
        source: name of the file in error messages.
        keys: keys that the content may have.
        parse: returns a parameter from its name and its entry, or what is wrong with it.

    Raises:
        ConfigError: the content is invalid; the error lists all problems.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(source, [f"expected a space (name, why, params), got {content!r}"])
    problems = [f"`{key}`: no such key{near_miss(key, keys)}" for key in content if key not in keys]
    version = content.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        problems.append(f"`version`: expected a whole number from 1, got {version!r}")
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
        parsed = parse(str(name), entry)
        if isinstance(parsed, list):
            problems += parsed
        else:
            params[str(name)] = parsed
    if problems:
        raise ConfigError(source, problems)
    return {
        "name": str(content.get("name", source)),
        "why": str(content.get("why", "")),
        "params": params,
        "fixed": dict(content.get("fixed", {})),
        "initial_points": tuple(parse_point(start) for start in starts),
        "version": version,
    }


def space_to_dict(space: Space) -> dict[str, Any]:
    """Return a space as plain data for `space_from_dict`."""
    # Keys with their default are left out: digests of older runs were made without them.
    return {
        "name": space.name,
        **({"version": space.version} if space.version != 1 else {}),
        "why": space.why,
        "fixed": dict(space.fixed),
        "params": {name: _plain(parameter) for name, parameter in space.params.items()},
        "starts": [dict(start) for start in space.initial_points],
    }


def _plain(parameter: Parameter) -> dict[str, Any]:
    when = {other: list(values) for other, values in parameter.when.items()}
    plain: dict[str, Any]
    if isinstance(parameter, Choice):
        plain = {"options": list(parameter.options)}
    else:
        plain = {"low": parameter.low, "high": parameter.high}
        if parameter.log:
            plain["log"] = True
    return {**plain, "when": when} if when else plain


def _parse_parameter(name: str, entry: Any) -> Parameter | list[str]:
    return parse_parameter(name, entry, _PARAM_KEYS, whole=is_count(name))


def parse_parameter(
    name: str, entry: Any, keys: Sequence[str], *, whole: bool
) -> Parameter | list[str]:
    """Return a parameter from plain data, or what is wrong with it.

    Args:
        name: name of the parameter.
        entry: its range or options.
        keys: keys that the entry may have.
        whole: whether a range has whole numbers only.
    """
    path = f"params.{name}"
    if not isinstance(entry, Mapping):
        return [f"`{path}`: expected {{low, high}} or {{options}}, got {entry!r}"]
    problems = [
        f"`{path}.{key}`: no such key{near_miss(key, keys)}" for key in entry if key not in keys
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
    problems += _number_problems(name, entry, whole=whole)
    return problems or _number(entry, when, whole=whole)


def _number_problems(name: str, entry: Mapping[str, Any], *, whole: bool) -> list[str]:
    """Return the problems of a range's values."""
    path = f"params.{name}"
    kind, types = ("a whole number", int) if whole else ("a number", (int, float))
    problems = [
        f"`{path}.{key}`: expected {kind}, got {entry.get(key)!r}"
        for key in ("low", "high")
        if not isinstance(entry.get(key), types) or isinstance(entry.get(key), bool)
    ]
    if not isinstance(entry.get("log", False), bool):
        problems.append(f"`{path}.log`: expected true or false, got {entry['log']!r}")
    return problems


def _number(
    entry: Mapping[str, Any], when: Mapping[str, tuple[str, ...]], *, whole: bool
) -> Float | Int:
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    if whole:
        return Int(low=low, high=high, log=log, when=when)
    return Float(low=float(low), high=float(high), log=log, when=when)


def parse_point(start: Mapping[str, Any]) -> Params:
    """Return the parameters of a point; YAML may have turned options into booleans."""
    return {str(k): _yaml_word(v) if isinstance(v, bool) else v for k, v in start.items()}


def _yaml_word(value: Any) -> str:
    """Return an option as text; some YAML readers turn ``on`` and ``off`` into booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
