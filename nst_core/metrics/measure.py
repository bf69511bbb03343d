"""Measure: how every metric compares pictures, and how pictures reach the device.

A metric turns a picture into features, and compares the features of pictures with those of a
reference. Features of references are cached, so another picture with the same reference costs one
pass. No metric reads a value back from its device: on a GPU, the host only queues the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nst_core.metrics.identity_cache import IdentityCache

#: A picture as it is saved: uint8 of shape [H, W, 3], an array or a tensor on any device.
Image = np.ndarray | Tensor
Images = Sequence[Image]

Features = Sequence[Tensor]


def levels(images: Images, device: torch.device) -> Tensor:
    """Return level_N3HW, uint8 and contiguous, of pictures of one size on a device."""
    # Arrays are copied, since an array may be read-only, which a tensor cannot be.
    tensors = [i if isinstance(i, Tensor) else torch.from_numpy(i.copy()) for i in images]
    batch_NHW3 = torch.stack([tensor.to(device) for tensor in tensors])
    return batch_NHW3.permute(0, 3, 1, 2).contiguous()


def pixels(level_N3HW: Tensor) -> Tensor:
    """Return pixel_N3HW, float32 in [0, 1]."""
    return level_N3HW.float().div(255)


class Measure(ABC):
    """A metric of `registry.METRICS`.

    Args:
        device: where to compute.

    Attributes:
        batched_on_cpu: whether several pictures together are faster than one by one on a CPU. Most
            metrics are slower, since a batch does not fit into the caches.
    """

    batched_on_cpu = False

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self._of_reference = IdentityCache(self._reference_features)

    def __call__(self, image: Image, reference: Image) -> float:
        """Return the score of one picture."""
        return float(self.scores(levels([image], self.device), reference))

    @torch.no_grad()
    def scores(self, level_N3HW: Tensor, reference: Image) -> Tensor:
        """Return score_N, float64 on the device, of pictures of one reference.

        Args:
            level_N3HW: pictures from `levels`.
            reference: picture of the same size to compare them with. It must not be changed
                afterwards, since its features are cached.
        """
        goal = self._of_reference(reference)
        one_by_one = self.device.type == "cpu" and not self.batched_on_cpu
        parts = level_N3HW.chunk(len(level_N3HW)) if one_by_one else [level_N3HW]
        return torch.cat([self._compare(self._features(part), goal).double() for part in parts])

    @torch.no_grad()
    def _reference_features(self, reference: Image) -> Features:
        return self._features(levels([reference], self.device))

    @abstractmethod
    def _features(self, level_N3HW: Tensor) -> Features:
        """Return tensors of shape [N, ...]."""

    @abstractmethod
    def _compare(self, images: Features, reference: Features) -> Tensor:
        """Return score_N from features of N pictures and of one reference."""
