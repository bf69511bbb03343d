"""IdentityCache: results for a reference, which is compared with many images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

#: Largest size of one metric's cache. VGG16's features of one reference take 32 MiB at 256 px and
#: 127 MiB at 512 px.
MAX_BYTES = 2**29


class IdentityCache:
    """A function of an image with a cache of the most recently used results.

    The key is the identity of the object, which costs nothing to compute; so images must not be
    changed after a call. A cached result also keeps its image, so that no other image can get the
    same identity.

    Args:
        compute: the function.
        max_bytes: largest size of all cached results. The least recently used results are dropped;
            a single result that is larger is not cached.
    """

    def __init__(
        self,
        compute: Callable[[Any], Sequence[Tensor]],
        max_bytes: int = MAX_BYTES,
    ):
        self._compute, self._max_bytes = compute, max_bytes
        self._results: OrderedDict[int, tuple[Any, Sequence[Tensor]]] = OrderedDict()

    def __call__(self, image: Any) -> Sequence[Tensor]:
        """Return the function's result, computed or from the cache."""
        if (cached := self._results.get(id(image))) is not None:
            self._results.move_to_end(id(image))
            return cached[1]
        result = self._compute(image)
        if _bytes(result) <= self._max_bytes:
            self._results[id(image)] = image, result
            while sum(_bytes(cached) for _, cached in self._results.values()) > self._max_bytes:
                self._results.popitem(last=False)
        return result


def _bytes(result: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in result)
