"""LaneState: everything that a lane needs to continue in another batch, process or machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.optimizers import State, optimizer_of
from nst_core.networks.precision import LossScaler

#: Prefix of the names of a lane's optimizer state in `LaneState.state`.
OPTIMIZER = "optimizer."


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """Image, step count and all other state of a lane.

    Attributes:
        step: number of steps done.
        image_3HW: the current image, not clamped.
        state: tensors without a lane axis, by name. Names of optimizer state begin with
            `OPTIMIZER`. The others are:

            * ``balance``: factor of the style weight, measured under ``weight_schedule: balance``;
            * ``loss_scale``, ``clean_steps``: see `LossScaler`;
            * ``kept``: the best image or the weighted sum of images, see `StyleConfig.keep`;
            * ``kept_weight``: sum of the weights in ``kept``; 0 before the first step;
            * ``kept_loss``: loss of the best image.
    """

    step: int
    image_3HW: Tensor
    state: Mapping[str, Tensor]

    def cloned(self) -> LaneState:
        """Return a copy on the same device, which does not keep the tensors of a batch alive."""
        return LaneState(
            step=self.step,
            image_3HW=self.image_3HW.detach().clone(),
            state={name: value.detach().clone() for name, value in self.state.items()},
        )

    def copied(self) -> LaneState:
        """Return a copy on the CPU, which later steps do not change."""

        def copy(value: Tensor) -> Tensor:
            return value.detach().to("cpu", non_blocking=True, copy=True)

        state = {name: copy(value) for name, value in self.state.items()}
        image, device = copy(self.image_3HW), self.image_3HW.device
        if device.type == "cuda":  # one wait for all copies
            torch.cuda.synchronize(device)
        return LaneState(step=self.step, image_3HW=image, state=state)


def fresh_state(config: StyleConfig, image_3HW: Tensor) -> LaneState:
    """Return the state of a lane that starts from an image."""
    one = image_3HW.new_ones(())
    return LaneState(
        step=0,
        image_3HW=image_3HW,
        state={
            **_with_prefix(optimizer_of(config).init(image_3HW[None])),
            **_nothing_kept(image_3HW),
            "balance": one,
            "loss_scale": LossScaler.START * one,
            "clean_steps": 0 * one,
        },
    )


def resized_state(config: StyleConfig, state: LaneState, image_3HW: Tensor) -> LaneState:
    """Return the state of a lane that continues from ``image_3HW``, its image at another size."""
    _, height, width = image_3HW.shape
    optimizer = {
        name.removeprefix(OPTIMIZER): value[None]
        for name, value in state.state.items()
        if name.startswith(OPTIMIZER)
    }
    rescaled = optimizer_of(config).rescale(optimizer, height, width)
    # Kept images start anew at each stage, since losses at two sizes are not comparable.
    values = {**state.state, **_with_prefix(rescaled), **_nothing_kept(image_3HW)}
    return replace(state, image_3HW=image_3HW, state=values)


def _nothing_kept(image_3HW: Tensor) -> State:
    one = image_3HW.new_ones(())
    return {
        "kept": torch.zeros_like(image_3HW),
        "kept_weight": 0 * one,
        "kept_loss": torch.inf * one,
    }


def _with_prefix(state_1: State) -> State:
    return {OPTIMIZER + name: value[0] for name, value in state_1.items()}
