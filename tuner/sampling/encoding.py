"""Encoding: configurations of a search space as points of the unit cube, and back.

There are two encodings. *Shares* have one number per parameter: its place in the range, from 0 to
1, or NaN where a parameter has no meaning. *Points* have the coordinates by which distances are
measured: one for each number, and one for each option of a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from search_spaces import Choice, Float, Int, Params, Space
from search_spaces.parameters import Parameter

#: Distance between two options of a choice, where the range of a number has length 1.
CHOICE_DISTANCE = 0.5

_Number: TypeAlias = Float | Int


def encode(space: Space, params: Params) -> np.ndarray:
    """Return a configuration as a point_D.

    A parameter that has no meaning in the configuration is in the middle of its range.
    """
    return np.asarray(encode_all(space, [params])[0])


def encode_all(space: Space, params: Sequence[Params]) -> np.ndarray:
    """Return configurations as points_ND."""
    shares = [shares_of(space, configuration) for configuration in params]
    side = CHOICE_DISTANCE / 2**0.5  # two different options differ in two coordinates
    columns = []
    for name, parameter in space.params.items():
        share_N = np.array([share.get(name, np.nan) for share in shares])
        if isinstance(parameter, Choice):
            option_N = options_at(parameter, share_N)
            columns += [side * (option_N == option) for option in range(len(parameter.options))]
        else:
            columns.append(np.where(np.isnan(share_N), 0.5, share_N))
    return np.stack(columns, 1)


def options_at(choice: Choice, share_N: np.ndarray) -> np.ndarray:
    """Return the indices_N of the options at these shares, -1 for NaN."""
    count = len(choice.options)
    index_N = np.minimum(np.floor(np.nan_to_num(share_N, nan=0.0) * count), count - 1)
    return np.where(np.isnan(share_N), -1, index_N).astype(int)


def point_at(space: Space, shares: Mapping[str, float], given: Params | None = None) -> Params:
    """Return the configuration at these shares.

    Args:
        space: the search space.
        shares: the share of every parameter, also of those without a meaning in the configuration.
        given: values that replace those at the shares.
    """
    params: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if not space.active(name, params):
            continue
        if given and name in given:
            params[name] = given[name]
        else:
            params[name] = value_at(parameter, shares[name])
    return params


def value_at(parameter: Parameter, share: float) -> float | int | str:
    """Return the value of a parameter at a share."""
    if isinstance(parameter, Choice):
        return parameter.options[int(options_at(parameter, np.array([share]))[0])]
    value = float(np.clip(_number_at(parameter, share), parameter.low, parameter.high))
    return round(value) if isinstance(parameter, Int) else value


def shares_of(space: Space, params: Params) -> dict[str, float]:
    """Return parameter -> share, so that `point_at` returns ``params`` again.

    Parameters that ``params`` lacks have no share; the share of an option is the middle of its
    interval.
    """
    shares = {}
    for name, parameter in space.params.items():
        if name not in params:
            continue
        if isinstance(parameter, Choice):
            index = parameter.options.index(str(params[name]))
            shares[name] = (index + 0.5) / len(parameter.options)
        else:
            share = _share_of(parameter, np.array([float(params[name])]))
            shares[name] = float(np.clip(share[0], 0.0, 1.0))
    return shares


def _number_at(parameter: _Number, share: np.ndarray | float) -> np.ndarray:
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        return np.asarray(low * (high / low) ** share)
    return np.asarray(low + (high - low) * share)


def _share_of(parameter: _Number, value_N: np.ndarray) -> np.ndarray:
    low, high = float(parameter.low), float(parameter.high)
    if high <= low:
        return np.where(np.isnan(value_N), np.nan, 0.5)
    if parameter.log:
        return np.asarray(np.log(value_N / low) / np.log(high / low))
    return np.asarray((value_N - low) / (high - low))
