"""Checks of the declaration of a search space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from nst_core.config import FIELDS, StyleConfig, is_whole
from nst_core.errors import near_miss
from nst_core.networks.registry import EXTRACTORS, NETWORKS
from search_spaces.derived_parameters import (
    BLEND,
    DERIVED,
    DERIVED_CHOICES,
    DERIVED_COUNTS,
    DERIVED_OPTIONS,
    MAX_SLOPE,
    SAME_AS,
    STYLE_SETS,
    base_of,
)
from search_spaces.parameters import Choice, Float, Int, Parameter

Declared = Mapping[str, Parameter]

#: Fields with several values -> parameters to search instead.
_INSTEAD = {
    "content_layers": "content_layer",
    "style_layers": "style_set, style_slope or log10_layer_2",
    "style_blend": f"{BLEND}2",
}

#: Fields that have one value for all trials of a job -> key of the job that sets it.
_BY_JOB = {
    "size_px": "size_px",
    "steps": "halving.max_steps",
    "schedule_steps": "halving.max_steps",
    "seed": "search.seed and finals.seeds",
}

#: Largest logarithm to base 10; a higher value is most likely the weight itself.
_MAX_LOG10 = 12


def declaration_problems(params: Declared, fixed: Mapping[str, Any]) -> list[str]:
    """Return all problems of a declaration, one sentence each.

    Args:
        params: declared parameters by name.
        fixed: fields of `StyleConfig` that the space sets.
    """
    problems = [
        f"`fixed.{key}`: no such setting{near_miss(key, FIELDS)}"
        for key in fixed
        if key not in FIELDS
    ]
    problems += [f"`fixed.{key}`: {_set_by_job(key)}" for key in fixed if key in _BY_JOB]
    if not params:
        problems.append("`params`: expected at least one parameter")
    for name, parameter in params.items():
        if own := _name_problems(name) or _kind_problems(name, parameter):
            problems += own
        elif isinstance(parameter, Choice):
            problems += _option_problems(name, parameter, params, fixed)
        else:
            problems += range_problems(name, parameter)
            problems += _derived_problems(name, parameter, params, fixed)
        problems += when_problems(name, parameter, params)
    return problems + _variant_problems(params) + _blend_problems(params)


def is_count(name: str) -> bool:
    """Return whether a parameter takes whole numbers only."""
    base = base_of(name)
    return base in DERIVED_COUNTS or (base in FIELDS and is_whole(base))


def is_choice(name: str) -> bool:
    """Return whether a parameter is a choice of names."""
    base = base_of(name)
    return base in DERIVED_CHOICES or (base in FIELDS and "options" in FIELDS[base].metadata)


def _name_problems(name: str) -> list[str]:
    base, at, variant = name.partition("@")
    known = [key for key in (*FIELDS, *DERIVED) if key not in {*_INSTEAD, *_BY_JOB}]
    if base in _BY_JOB:
        return [f"`params.{name}`: {_set_by_job(base)}"]
    if base in _INSTEAD:
        return [f"`params.{name}`: holds several values; search {_INSTEAD[base]} instead"]
    if base in known:
        if at and not variant:
            return [f"`params.{name}`: expected a word after the @, as in `{base}@noise`"]
        return []
    variants = [f"{key}@{name[len(key) + 1 :]}" for key in known if name.startswith(f"{key}_")]
    return [f"`params.{name}`: no such parameter{near_miss(name, [*known, *variants])}"]


def _set_by_job(field_name: str) -> str:
    return f"is the same for all trials; set {_BY_JOB[field_name]} in the job instead"


def _kind_problems(name: str, parameter: Parameter) -> list[str]:
    if is_choice(name) != isinstance(parameter, Choice):
        wanted = "options, it is a choice" if is_choice(name) else "low and high, it is a number"
        return [f"`params.{name}`: expected {wanted}"]
    if is_count(name) and isinstance(parameter, Float):
        return [f"`params.{name}`: expected whole numbers"]
    return []


def range_problems(name: str, parameter: Parameter) -> list[str]:
    """Return what is wrong with the range of a number."""
    assert not isinstance(parameter, Choice)
    if not (math.isfinite(parameter.low) and math.isfinite(parameter.high)):
        return [f"`params.{name}`: low and high must be finite"]
    if parameter.low > parameter.high:
        return [f"`params.{name}`: low {parameter.low:g} is above high {parameter.high:g}"]
    if parameter.log and parameter.low <= 0:
        return [f"`params.{name}`: a log range needs low above 0"]
    return []


def _derived_problems(
    name: str, parameter: Float | Int, params: Declared, fixed: Mapping[str, Any]
) -> list[str]:
    """Return problems of numbers that are no field of `StyleConfig` and so have no limits there."""
    base = base_of(name)
    low: float
    high: float
    if base.startswith("log10_"):
        low, high = -_MAX_LOG10, _MAX_LOG10
        what = "logarithms to base 10"
    elif base == "style_slope":
        low, high = -MAX_SLOPE, MAX_SLOPE
        what = "decades per layer"
    elif base == "style_depth":
        networks = _networks(parameter, params, fixed)
        low, high = 1, max((len(NETWORKS[network].style_layers) for network in networks), default=1)
        what = f"numbers of layers of {' or '.join(networks)}"
    else:
        return []
    return [
        f"`params.{name}`: expected {what}, from {low:g} to {high:g}, got {end:g}"
        for end in parameter.ends
        if math.isfinite(end) and not low <= end <= high
    ]


def _option_problems(
    name: str, parameter: Choice, params: Declared, fixed: Mapping[str, Any]
) -> list[str]:
    base = base_of(name)
    if not parameter.options:
        return [f"`params.{name}`: expected at least one option"]
    if base == "content_layer":
        return _layer_problems(name, parameter, _networks(parameter, params, fixed))
    allowed = DERIVED_OPTIONS[base] if base in DERIVED_OPTIONS else FIELDS[base].metadata["options"]
    unknown = [
        f"`params.{name}`: {option!r} is not one of {', '.join(allowed)}"
        f"{near_miss(option, allowed)}"
        for option in parameter.options
        if option not in allowed
    ]
    if base == "style_set" and not unknown:
        return _layer_problems(name, parameter, _networks(parameter, params, fixed))
    return unknown


def _networks(parameter: Parameter, params: Declared, fixed: Mapping[str, Any]) -> list[str]:
    """Return the networks with which a configuration may have a parameter."""
    choices = {name: p for name, p in params.items() if base_of(name) == "extractor"}
    names: list[Any] = []
    for name, choice in choices.items():
        options = choice.options if isinstance(choice, Choice) else ()
        names += [option for option in options if option in parameter.when.get(name, options)]
    if all(choice.when for choice in choices.values()):
        names.append(fixed.get("extractor", StyleConfig().extractor))
    return [name for name in names if name in EXTRACTORS]


def _layer_problems(name: str, parameter: Choice, networks: list[str]) -> list[str]:
    problems: dict[str, None] = {}
    for option in parameter.options:
        for network in networks:
            for layer in STYLE_SETS.get(option, (option,)):
                if problem := NETWORKS[network].problem_with(layer):
                    problems[f"`params.{name}`: {problem}"] = None
    return list(problems)


def when_problems(name: str, parameter: Parameter, params: Declared) -> list[str]:
    """Return what is wrong with the condition of a parameter."""
    problems = []
    earlier = list(params)[: list(params).index(name)]
    for other, values in parameter.when.items():
        source = params.get(other)
        if other not in earlier or not isinstance(source, Choice):
            problems.append(
                f"`params.{name}.when.{other}`: expected a choice declared before `{name}`"
                f"{near_miss(other, earlier)}"
            )
        elif not values:
            problems.append(f"`params.{name}.when.{other}`: expected at least one value")
        else:
            problems += [
                f"`params.{name}.when.{other}`: {value!r} is no option of `{other}`"
                f"{near_miss(value, source.options)}"
                for value in values
                if not source.contains(value)
            ]
    return problems


def _variant_problems(params: Declared) -> list[str]:
    """Return a problem for each two parameters that could set the same field in one trial."""

    def target(name: str) -> str:
        base = base_of(name)
        return SAME_AS.get(base, base)

    return [
        f"`params.{second}`: sets the same as `{first}`, so their conditions must exclude each"
        " other: expected different values of one choice in their `when`"
        for first, second in itertools.combinations(params, 2)
        if target(first) == target(second) and not exclusive(params[first], params[second])
    ]


def exclusive(first: Parameter, second: Parameter) -> bool:
    """Return whether the conditions of two parameters are never true together."""
    shared = first.when.keys() & second.when.keys()
    return any(not set(first.when[key]) & set(second.when[key]) for key in shared)


def _blend_problems(params: Declared) -> list[str]:
    """Return problems of the weights of a blend, which need all style images and one condition."""
    names = [name for name in params if base_of(name).startswith(BLEND)]
    expected = [f"{BLEND}{number}" for number in range(2, len(names) + 2)]
    if names != expected:
        return [f"`params`: expected {' '.join(expected)} in this order, got {' '.join(names)}"]
    if any(params[name].when != params[names[0]].when for name in names):
        return [f"`params.{BLEND}*`: expected the same condition for all of them"]
    return []
