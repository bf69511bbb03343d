"""What was made last, within so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Key = tuple[object, ...]


class Recent:
    """Values that can be made again: those asked for longest ago are let go of first.

    Args:
        most_bytes: of all tensors in the values; what was added last stays however large it is.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._values = OrderedDict[Key, Any]()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def __getitem__(self, key: Key) -> Any:
        self._values.move_to_end(key)
        return self._values[key]

    def add(self, made: Mapping[Key, Any]) -> None:
        """Keep values that were made together, and let go of others if these are too much."""
        for key, value in made.items():
            self._values[key] = value
            self._values.move_to_end(key)
        total = self.bytes
        while total > self._most_bytes and len(self._values) > len(made):
            _, value = self._values.popitem(last=False)
            total -= sum(map(_bytes, _tensors(value)))

    def drop(self, unwanted: Callable[[Key], bool]) -> None:
        """Let go of the values under some keys."""
        for key in [key for key in self._values if unwanted(key)]:
            del self._values[key]

    @property
    def bytes(self) -> int:
        """Of all tensors in the values."""
        return sum(_bytes(part) for value in self._values.values() for part in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value:
            yield from _tensors(part)


def _bytes(tensor: Tensor) -> int:
    if tensor.layout == torch.sparse_coo:
        return _bytes(tensor.values()) + _bytes(tensor.indices())
    return tensor.numel() * tensor.element_size()
