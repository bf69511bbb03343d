"""Priors: where a person expects the good values of a search space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from nst_core.errors import near_miss
from search_spaces.derived_parameters import base_of
from search_spaces.parameters import Choice
from search_spaces.space import Space

#: How sure a person is.
Word = Literal["maybe", "likely", "sure"]
WORDS: tuple[Word, ...] = get_args(Word)

#: Parameter as the person names it -> (value, word).
Stated: TypeAlias = Mapping[str, Sequence[Any]]

#: The setting that `log10_style_content` sets; a prior may name it instead.
_STYLE_WEIGHT, _RATIO = "style_weight", "log10_style_content"


class Prior(NamedTuple):
    """The value at which one parameter of a space is expected, and how sure that is."""

    value: float | int | str
    word: Word


def priors_of(space: Space, stated: Stated) -> tuple[dict[str, Prior], dict[str, str]]:
    """Return the priors of the parameters of a space, and the problems, by stated name.

    A name without a variant stands for all variants whose range has the value. ``style_weight`` is
    translated for spaces that search its ratio to the content weight.

    Args:
        space: the search space, with the ranges of the job.
        stated: what the person says.
    """
    priors: dict[str, Prior] = {}
    problems: dict[str, str] = {}
    for name, belief in stated.items():
        found = _priors_of_one(space, name, belief)
        if isinstance(found, str):
            problems[name] = found
        else:
            priors |= {key: prior for key, prior in found.items() if key not in stated}
            priors |= {key: prior for key, prior in found.items() if key == name}
    return priors, problems


def _priors_of_one(space: Space, name: str, belief: Any) -> dict[str, Prior] | str:
    """Return the priors that one statement makes, or what is wrong with it."""
    if not isinstance(belief, Sequence) or isinstance(belief, str) or len(belief) != 2:
        return f"expected [value, {' | '.join(WORDS)}], got {belief!r}"
    value, word = belief
    if word not in WORDS:
        return f"expected {', '.join(WORDS[:-1])} or {WORDS[-1]} after the value, got {word!r}" + (
            near_miss(word, WORDS)
        )
    as_weight = name == _STYLE_WEIGHT and not _variants(space, name)
    scale = _content_weight(space) if as_weight else None
    names = _variants(space, _RATIO if as_weight and scale else name)
    if not names:
        known = {*space.params, *map(base_of, space.params)}
        known |= {_STYLE_WEIGHT} if _variants(space, _RATIO) and _content_weight(space) else set()
        return f"no such parameter in the space {space.name}{near_miss(name, known)}"
    inner: Any = value
    if scale is not None:
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        inner = math.log10(value / scale) if number else None
    priors = {key: Prior(inner, word) for key in names if space.params[key].contains(inner)}
    return priors or f"expected {_expected(space, names, scale)}, got {value!r}"


def _variants(space: Space, name: str) -> list[str]:
    return [key for key in space.params if name in (key, base_of(key))]


def _content_weight(space: Space) -> float | None:
    """Return the content weight of all configurations; None if the space searches it."""
    if "content_weight" in map(base_of, space.params):
        return None
    return float(space.fixed.get("content_weight", 1.0))


def _expected(space: Space, names: Sequence[str], scale: float | None) -> str:
    """Return the possible values as text: the options, or the range in the unit of the person."""
    texts = []
    for name in names:
        parameter = space.params[name]
        if isinstance(parameter, Choice) or scale is None:
            texts.append(parameter.describe())
        else:
            low, high = (scale * 10.0**end for end in (parameter.low, parameter.high))
            texts.append(f"{low:.3g} … {high:.3g}")
    return " or ".join(dict.fromkeys(texts))
