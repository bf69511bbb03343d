"""Rowwise: objects whose tensors all have one entry per lane on their first axis.

What a step computes with is spread over many small objects: rates, schedules, weights and targets
of the losses, state of the optimizers. `tensors_of` and `map_rows` treat such a tree of objects as
one list of tensors, so that a lane can be written into it, or lanes be picked from it, without a
function for every kind of object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


class Rowwise:
    """Marks a class whose tensors have one entry, or a fixed number of them, per lane."""


def tensors_of(value: object) -> list[Tensor]:
    """Return all tensors of a tree, depth first, in the order in which attributes were set.

    The tree consists of `Rowwise` objects, mappings, lists and tuples; anything else is a leaf.
    """
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_rows(note, value)
    return tensors


def map_rows(function: Callable[[Tensor], Tensor], value: T) -> T:
    """Return a copy of a tree with ``function`` of every tensor, in the order of `tensors_of`."""
    result: Any = value
    if isinstance(value, Tensor):
        result = function(value)
    elif isinstance(value, Rowwise):
        result = copy.copy(value)
        # Not setattr: it refuses to change frozen dataclasses.
        vars(result).update({name: map_rows(function, v) for name, v in vars(value).items()})
    elif isinstance(value, Mapping):
        result = {name: map_rows(function, item) for name, item in value.items()}
    elif isinstance(value, (list, tuple)):
        items = [map_rows(function, item) for item in value]
        result = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return result  # type: ignore[no-any-return]
