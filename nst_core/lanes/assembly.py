"""Assembly: the lanes of a batch, stacked into tensors so that they take their steps together.

A new assembly is made whenever a lane joins or leaves, so its set of lanes never changes, and each
lane computes only what it needs. On a CPU, this costs a small part of a step. `Bucket` is the form
for devices where it costs more.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from torch import Tensor

from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.schedules import balance_due
from nst_core.lanes.step import LaneStep, SteppedLane
from nst_core.losses.batch_loss import Losses
from nst_core.losses.targets import FeatureStore
from nst_core.networks.precision import arithmetic


class Assembly:
    """Lanes of one `GroupKey` as tensors.

    Args:
        store: extractors and targets.
        lanes: the lanes by key, deepest network layer first (`terms.depth_of`).

    Attributes:
        keys: keys of the lanes.
        steps: number of steps done by each lane.
    """

    def __init__(self, store: FeatureStore, lanes: Mapping[Hashable, SteppedLane]):
        self.keys, stacked = list(lanes), list(lanes.values())
        self._device, self._configs = store.device, [lane.config for lane in stacked]
        self._step = LaneStep(store, stacked)
        self._state = self._step.state_of(stacked)
        self.steps = [lane.state.step for lane in stacked]

    @property
    def largest_pixel_N(self) -> Tensor:
        """Largest absolute pixel value of each lane."""
        return largest_pixel(self._state.images_N3HW)

    @property
    def loss_scale_N(self) -> Tensor:
        """Factor of each lane's loss in float16; see `LossScaler`."""
        return self._state.shared["loss_scale"]

    @property
    def null_loss_N(self) -> Tensor:
        """Loss of an image without features, see `BatchLoss`."""
        return self._step.null_loss_N

    def state(self, key: Hashable) -> LaneState:
        """Return the current state of a lane as views, which the next step may overwrite."""
        index = self.keys.index(key)
        return self._step.lane_state(self._state, index, self._configs[index], self.steps[index])

    def advance(self, steps: int) -> Losses:
        """Take ``steps`` steps and return the losses before the last one.

        The host does not wait for the device.
        """
        with arithmetic(self._configs[0].precision, self._device):
            for _ in range(steps):
                due = [
                    balance_due(c, step) for c, step in zip(self._configs, self.steps, strict=True)
                ]
                # One assignment: if the step raises, all lanes are still at their previous step.
                losses, self._state = self._step(self._state, due)
                self.steps = [step + 1 for step in self.steps]
        return losses.detached()


def largest_pixel(images_N3HW: Tensor) -> Tensor:
    """Return the largest absolute pixel value of each image."""
    return images_N3HW.detach().abs().flatten(1).amax(1)
