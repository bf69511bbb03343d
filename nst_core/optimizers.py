"""Optimizers over a batch of independent lanes.

An optimizer is frozen; its state is a dict of tensors whose first axis is the lane, owned by the
caller, who can therefore add, drop, save and load lanes without knowing the algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

State = dict[str, Tensor]


class LaneOptimizer(Protocol):
    """Updates N lanes at once; no lane's update may depend on another lane."""

    def init(self, x_N3HW: Tensor) -> State:
        """State of fresh lanes."""
        ...

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, *, lr_N: Tensor, step_N: Tensor
    ) -> tuple[Tensor, State]:
        """One step; ``step_N`` counts from 1. Returns the new pixels and the new state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1), in the order of torch.optim.Adam."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, x_N3HW: Tensor) -> State:
        """Zero moments."""
        return {"mean": torch.zeros_like(x_N3HW), "square": torch.zeros_like(x_N3HW)}

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, *, lr_N: Tensor, step_N: Tensor
    ) -> tuple[Tensor, State]:
        """One step of every lane."""
        mean = state["mean"].lerp(grad_N3HW, 1 - self.beta1)
        square = state["square"] * self.beta2 + grad_N3HW.square() * (1 - self.beta2)
        # In double: 1 - beta2^t loses most of its digits in single precision at small t.
        t = step_N.double()
        rate = (lr_N.double() / (1 - self.beta1**t)).to(x_N3HW.dtype)
        bias2 = (1 - self.beta2**t).sqrt().to(x_N3HW.dtype)
        denominator = square.sqrt() / _per_lane(bias2) + self.eps
        return x_N3HW - _per_lane(rate) * mean / denominator, {"mean": mean, "square": square}


def _per_lane(values_N: Tensor) -> Tensor:
    return values_N[:, None, None, None]


LANE_OPTIMIZERS: Mapping[str, LaneOptimizer] = {"adam": Adam()}
