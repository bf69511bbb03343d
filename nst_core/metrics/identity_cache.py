"""What is computed of a reference is kept, since many images are compared with the same one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

#: Of one metric. VGG16's features of one reference take 32 MiB at 256 px and 127 MiB at 512 px.
MOST_BYTES = 2**29


class IdentityCache:
    """A function of an image that keeps its results for the images asked for last.

    An image is known by its identity, which costs nothing to look at: arrays given here must not
    be written to afterwards. What is kept holds on to its image, so that no other one can come to
    have its identity.

    Args:
        compute: the function.
        most_bytes: results are forgotten, those longest unused first, until the others take no more
            than this; one that is larger by itself is never kept.
    """

    def __init__(
        self,
        compute: Callable[[np.ndarray], Sequence[Tensor]],
        most_bytes: int = MOST_BYTES,
    ):
        self._compute, self._most_bytes = compute, most_bytes
        self._kept: OrderedDict[int, tuple[np.ndarray, Sequence[Tensor]]] = OrderedDict()

    def __call__(self, image_HW3: np.ndarray) -> Sequence[Tensor]:
        """The function's result, computed or remembered."""
        if (known := self._kept.get(id(image_HW3))) is not None:
            self._kept.move_to_end(id(image_HW3))
            return known[1]
        result = self._compute(image_HW3)
        if _bytes(result) <= self._most_bytes:
            self._kept[id(image_HW3)] = image_HW3, result
            while sum(_bytes(kept) for _, kept in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
        return result


def _bytes(result: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in result)
