"""LaneBatch: many stylizations that advance as one batch.

The networks have no operation across samples. In float64 on one thread, each image of a batch
therefore follows exactly the trajectory of a separate run. Several threads split a batch in another
way than a single image, and round differently (by 1e-15 in float64); in float32 such differences
grow with the steps.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import with_hues_of
from nst_core.images.tensors import resize
from nst_core.lanes.assembly import AssembledLane, Assembly
from nst_core.lanes.initialization import initial_image
from nst_core.lanes.lane_state import LaneState, fresh_state, resized_state
from nst_core.lanes.optimizers import resample
from nst_core.lanes.schedules import Stage, stage_at, stages
from nst_core.lanes.step_graph import StepGraphs
from nst_core.losses.batch_loss import Losses, depth_of
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.precision import LossScaler
from nst_core.networks.registry import Backbone

#: Absolute pixel value above which a lane has diverged. Pixels that are not clamped leave [0, 1] by
#: a few units; from beyond this limit, they never return.
EXPLODED_PIXEL = 1e3

#: A lane has diverged if its loss exceeds the loss of an image without features by this factor. A
#: loss may rise for a while, but style losses grow with the fourth power of the pixels, so such an
#: image is ten times too bright.
EXPLODED_LOSS = 1e4


class Outcome(enum.Enum):
    """State of a lane after a step; values are the messages that users read."""

    RUNNING = "running"
    NOT_FINITE = "diverged: the loss is not a finite number; a smaller learning rate may help"
    EXPLODED_IMAGE = "diverged: pixels beyond ±1000; a smaller learning rate may help"
    EXPLODED_LOSS = "diverged: the loss exploded; a smaller learning rate may help"


class GroupKey(NamedTuple):
    """Properties that all lanes of a batch have in common; all other settings may differ.

    Attributes:
        backbone: the network.
        precision: see `StyleConfig.precision`.
        height: image height in pixels at the current stage.
        width: image width in pixels at the current stage.
    """

    backbone: Backbone
    precision: str
    height: int
    width: int


def group_of(config: StyleConfig, inputs: LossInputs, step: int = 0) -> GroupKey:
    """Return the group to which a lane belongs after ``step`` steps."""
    stage = stage_at(stages(config, *inputs.height_width), step)
    height, width = inputs.at(stage.size_px).height_width
    return GroupKey(config.backbone, config.precision, height, width)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One stylization in a batch.

    Attributes:
        key: identifies the lane in its batch; hashable.
        config: its settings.
        inputs: its images at full size.
        step: number of steps done.
        stage: its current image size, and the step at which that stage ends.
    """

    key: Any
    config: StyleConfig
    inputs: LossInputs
    step: int
    stage: Stage

    @property
    def scaled(self) -> LossInputs:
        """The lane's images at the size of its stage."""
        return self.inputs.at(self.stage.size_px)


class LaneBatch:
    """Stylizations of one `GroupKey` that advance together; each has its own settings and step.

    Args:
        store: extractors and targets, on the device where the batch lives.
        graphs: records steps as CUDA graphs; None: every step is eager.

    Attributes:
        lanes: the lanes of the batch, deepest network layer first. Per-lane results of `advance`
            and `outcomes` have the same order.
    """

    def __init__(self, store: FeatureStore, graphs: StepGraphs | None = None):
        self._store, self._graphs = store, graphs
        self.lanes: list[Lane] = []
        # Either the assembly holds the states of all lanes, or `_separate` does, never both.
        self._separate: dict[Hashable, LaneState] = {}
        self._assembly: Assembly | None = None

    def __len__(self) -> int:
        return len(self.lanes)

    def add(
        self,
        key: Hashable,
        config: StyleConfig,
        inputs: LossInputs,
        state: LaneState | None = None,
    ) -> None:
        """Add a lane.

        Args:
            key: identifies the lane in this batch.
            config: its settings.
            inputs: its images at full size.
            state: state to continue from, possibly at the size of another stage; None: a fresh
                lane.

        Raises:
            ValueError: the batch has a lane with this key, or lanes of another `GroupKey`.
            InputError: `StyleConfig.style_blend` does not have one weight for each style image.
        """
        inputs.check_blend(config.style_blend)
        step = state.step if state else 0
        if any(lane.key == key for lane in self.lanes):
            raise ValueError(f"lane {key!r} is already in the batch; expected a new key")
        group = group_of(config, inputs, step)
        if self.lanes and group != self.group:
            raise ValueError(f"cannot add a lane of {group} to a batch of {self.group}")
        stage = stage_at(stages(config, *inputs.height_width), step)
        lane = Lane(key=key, config=config, inputs=inputs, step=step, stage=stage)
        self._separate_lanes()
        self._separate[key] = self._fresh(lane) if state is None else self._resumed(lane, state)
        self.lanes = sorted([*self.lanes, lane], key=lambda lane: -depth_of(lane.config))

    def _fresh(self, lane: Lane) -> LaneState:
        image = self._store.place(initial_image(lane.config, lane.scaled))
        return fresh_state(lane.config, image)

    def _resumed(self, lane: Lane, saved: LaneState) -> LaneState:
        image = self._store.place(saved.image_3HW)
        height, width = lane.scaled.height_width
        if tuple(image.shape[1:]) == (height, width):
            return saved
        image = resample(image[None], height, width)[0]
        if lane.config.clamp == "step":
            image = image.clamp(0, 1)
        state = {name: self._store.place(value) for name, value in saved.state.items()}
        return resized_state(lane.config, replace(saved, state=state), image)

    @property
    def group(self) -> GroupKey:
        """Properties that the lanes have in common; the batch must not be empty."""
        lane = self.lanes[0]
        return group_of(lane.config, lane.inputs, lane.step)

    @property
    def stage_steps_left(self) -> int:
        """Number of steps until the first lane reaches the end of its stage."""
        return min(lane.stage.until - lane.step for lane in self.lanes)

    def take(self, key: Hashable) -> LaneState:
        """Remove a lane and return its state on the batch's device; other lanes are unaffected."""
        index = self._index(key)
        self._separate_lanes()
        self.lanes = [lane for i, lane in enumerate(self.lanes) if i != index]
        return self._separate.pop(key)

    def save(self, key: Hashable) -> LaneState:
        """Return a copy of a lane's state; a lane added with it continues without a difference."""
        return self._state(key).copied()

    def image(self, key: Hashable) -> Tensor:
        """Return image_3HW, a lane's current image, not clamped, on the batch's device."""
        return self._store.place(self._state(key).image_3HW)

    def picture(self, key: Hashable) -> Tensor:
        """Return a lane's current result: image_3HW, full size, in [0, 1], float32, on the CPU.

        The result is the last image, the best one or the average (`StyleConfig.keep`), with the
        colors of the content if the lane preserves them.
        """
        lane, state = self.lanes[self._index(key)], self._state(key)
        image = state.image_3HW
        weight = float(state.state["kept_weight"])
        if lane.config.keep != "last" and weight > 0:
            image = state.state["kept"] / (weight if lane.config.keep == "ema" else 1.0)
        image = resize(image.float().cpu().clamp(0, 1), *lane.inputs.height_width)
        if lane.config.preserve_color != "none":
            image = with_hues_of(image, lane.inputs.content_3HW)
        return image

    def prepare(self) -> None:
        """Compute targets and stack the lanes, which otherwise happens in the next `advance`."""
        self._assembled()

    def advance(self, steps: int) -> Losses:
        """Advance every lane by ``steps`` and return the losses before the last update.

        The host does not wait for the device; whoever reads the losses does.

        Args:
            steps: 1 to `stage_steps_left`.
        """
        if not 1 <= steps <= self.stage_steps_left:
            raise ValueError(f"expected 1 to {self.stage_steps_left} steps, got {steps}")
        assembly = self._assembled()
        try:
            return assembly.advance(steps)
        finally:
            self.lanes = [
                replace(lane, step=step)
                for lane, step in zip(self.lanes, assembly.steps, strict=True)
            ]

    def outcomes(self, losses: Losses) -> list[Outcome]:
        """Return the outcome of each lane after an `advance` that returned ``losses``."""
        assembly = self._assembled()
        total_N = losses.total
        largest_pixel_N = assembly.images_N3HW.detach().abs().flatten(1).amax(1)
        no_scale_left_N = assembly.loss_scale_N < LossScaler.LEAST
        checks = torch.stack(
            [
                ~(total_N.isfinite() & largest_pixel_N.isfinite()) | no_scale_left_N,
                largest_pixel_N > EXPLODED_PIXEL,
                total_N > EXPLODED_LOSS * assembly.null_loss_N,
            ]
        )
        kinds = (Outcome.NOT_FINITE, Outcome.EXPLODED_IMAGE, Outcome.EXPLODED_LOSS)
        return [
            next((kind for kind, bad in zip(kinds, column, strict=True) if bad), Outcome.RUNNING)
            for column in checks.T.tolist()
        ]

    def _index(self, key: Hashable) -> int:
        for index, lane in enumerate(self.lanes):
            if lane.key == key:
                return index
        raise KeyError(f"no lane {key!r} in the batch")

    def _state(self, key: Hashable) -> LaneState:
        index = self._index(key)
        return self._assembly.lane(index) if self._assembly else self._separate[key]

    def _separate_lanes(self) -> None:
        if self._assembly is not None:
            states = [self._assembly.lane(index) for index in range(len(self.lanes))]
            keys = [lane.key for lane in self.lanes]
            self._separate, self._assembly = dict(zip(keys, states, strict=True)), None

    def _assembled(self) -> Assembly:
        if self._assembly is None:
            lanes = [
                AssembledLane(
                    config=lane.config, inputs=lane.scaled, state=self._separate[lane.key]
                )
                for lane in self.lanes
            ]
            self._assembly = Assembly(self._store, lanes, self._graphs)
            self._separate = {}
        return self._assembly
