"""ByteLRU: a cache of tensors that drops the least recently used ones above a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

Key = tuple[object, ...]


class ByteLRU:
    """Cache whose `trim` drops the least recently used values until the others fit.

    Args:
        max_bytes: largest size of all tensors in the values.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._values = OrderedDict[Key, Any]()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def __getitem__(self, key: Key) -> Any:
        self._values.move_to_end(key)
        return self._values[key]

    def update(self, values: Mapping[Key, Any]) -> None:
        """Add values: tensors, or nested sequences of tensors."""
        for key, value in values.items():
            self._values[key] = value
            self._values.move_to_end(key)

    def trim(self) -> None:
        """Drop the least recently used values until the others fit into ``max_bytes``.

        Call this between two rounds of requests, not after each. If all values of a round were
        slightly too large together, each would push out the one that is requested next.
        """
        total = self.bytes
        while total > self._max_bytes:
            _, value = self._values.popitem(last=False)
            total -= sum(map(_bytes, _tensors(value)))

    def drop(self, unwanted: Callable[[Key], bool]) -> None:
        """Remove all values whose keys are unwanted."""
        for key in [key for key in self._values if unwanted(key)]:
            del self._values[key]

    @property
    def bytes(self) -> int:
        """Size of all tensors in the values."""
        return sum(_bytes(part) for value in self._values.values() for part in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value:
            yield from _tensors(part)


def _bytes(tensor: Tensor) -> int:
    if tensor.is_sparse:  # `nbytes` counts zeros, which take no memory
        return tensor._indices().nbytes + tensor._values().nbytes
    return tensor.nbytes
