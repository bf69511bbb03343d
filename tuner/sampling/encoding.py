"""Encoding: parameters of a search space as points of the unit cube, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from search_spaces import Choice, Int, Params, Space

#: How far apart two choices of a parameter are, as a share of a number's range.
CHOICE_DISTANCE = 0.5


def encode(space: Space, params: Params) -> np.ndarray:
    """A configuration as a point_D; numbers by their share of the range.

    A parameter that has no meaning for the configuration stands in the middle of its range.
    """
    return np.asarray(encode_all(space, [params])[0])


def encode_all(space: Space, params: Sequence[Params]) -> np.ndarray:
    """Configurations as points_ND."""
    shares = [shares_of(space, one) for one in params]
    rows = [[found.get(name, np.nan) for name in space.params] for found in shares]
    return encode_shares(space, np.array(rows, dtype=float).reshape(-1, len(space.params)))


def encode_shares(space: Space, share_NP: np.ndarray) -> np.ndarray:
    """Shares of parameters, as `points.point_at` takes them, as points_ND.

    Args:
        space: of the parameters.
        share_NP: NaN where a parameter has no meaning.
    """
    apart = CHOICE_DISTANCE / 2**0.5  # two unlike choices differ in two places
    columns = []
    for parameter, share_N in zip(space.params.values(), share_NP.T, strict=True):
        if isinstance(parameter, Choice):
            count = len(parameter.options)
            chosen_N = choices(parameter, share_N)
            columns += [apart * (chosen_N == option) for option in range(count)]
        else:
            at_N = whole_shares(parameter, share_N) if isinstance(parameter, Int) else share_N
            columns.append(np.where(np.isnan(at_N), 0.5, at_N))
    return np.stack(columns, 1)


def choices(parameter: Choice, share_N: np.ndarray) -> np.ndarray:
    """Places of the options that shares stand for; -1 where they have no meaning."""
    count = len(parameter.options)
    place_N = np.minimum(np.floor(np.nan_to_num(share_N, nan=0.0) * count), count - 1)
    return np.where(np.isnan(share_N), -1, place_N)


def with_conditions(space: Space, share_NP: np.ndarray) -> np.ndarray:
    """Shares_NP with NaN where the conditions of a space leave a parameter no meaning."""
    share_NP = share_NP.copy()
    place = {name: column for column, name in enumerate(space.params)}
    for name, parameter in space.params.items():  # a condition names an earlier one
        for other, values in parameter.when.items():
            decides = space.params[other]
            assert isinstance(decides, Choice)
            holds = [decides.options.index(value) for value in values]
            chosen_N = choices(decides, share_NP[:, place[other]])
            share_NP[~np.isin(chosen_N, holds), place[name]] = np.nan
    return share_NP


def point_at(space: Space, shares: Mapping[str, float], given: Params | None = None) -> Params:
    """The point of a space whose parameters lie at these shares of their ranges, from 0 to 1.

    Args:
        space: where the point is.
        shares: of each parameter, also of those that turn out to have no meaning there.
        given: values that it has whatever the shares say.
    """
    drawn: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if not space.active(name, drawn):
            continue
        if given and name in given:
            drawn[name] = given[name]
            continue
        share = shares[name]
        if isinstance(parameter, Choice):
            count = len(parameter.options)
            drawn[name] = parameter.options[min(count - 1, int(share * count))]
            continue
        low, high = float(parameter.low), float(parameter.high)
        value = low * (high / low) ** share if parameter.log else low + (high - low) * share
        value = min(high, max(low, float(value)))
        drawn[name] = round(value) if isinstance(parameter, Int) else value
    return drawn


def shares_of(space: Space, params: Params) -> dict[str, float]:
    """Shares at which `point_at` finds a point again; none for parameters it does not have."""
    shares = {}
    for name, parameter in space.params.items():
        if name not in params:
            continue
        if isinstance(parameter, Choice):
            place = parameter.options.index(str(params[name]))
            shares[name] = (place + 0.5) / len(parameter.options)
            continue
        low, high, at = float(parameter.low), float(parameter.high), float(params[name])
        if parameter.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        shares[name] = min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.5
    return shares


def whole_shares(parameter: Int, share_N: np.ndarray) -> np.ndarray:
    """Shares of the whole numbers that shares stand for; NaN stays."""
    low, high = float(parameter.low), float(parameter.high)
    if high <= low:
        return np.where(np.isnan(share_N), share_N, 0.5)  # as `shares_of`
    if parameter.log:
        whole_N = np.round(low * (high / low) ** share_N)
        return np.asarray(np.log(whole_N / low) / np.log(high / low))
    return np.asarray((np.round(low + (high - low) * share_N) - low) / (high - low))
