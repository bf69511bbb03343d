"""What was made last, within so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

Key = tuple[object, ...]


class ByteLRU:
    """Values that can be made again: at `trim` those asked for longest ago are let go of.

    Args:
        most_bytes: of all tensors in the values.
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

    def update(self, made: Mapping[Key, Any]) -> None:
        """Keep values."""
        for key, value in made.items():
            self._values[key] = value
            self._values.move_to_end(key)

    def trim(self) -> None:
        """Let go of what is too much.

        Not while values are asked for one after the other: where all of them are a little too
        much, each would push out the one that is asked for next.
        """
        total = self.bytes
        while total > self._most_bytes:
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
    if tensor.is_sparse:  # `numel` counts the zeros, which take no memory
        return tensor._indices().nbytes + tensor._values().nbytes
    return tensor.nbytes
