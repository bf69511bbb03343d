"""LaneBatch: many stylizations that advance as one batch.

The networks have no operation across samples. In float64 on one thread, each image of a batch
therefore follows exactly the trajectory of a separate run. Several threads split a batch in another
way than a single image, and round differently (by 1e-15 in float64); in float32 such differences
grow with the steps.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import with_hues_of
from nst_core.images.tensors import resize
from nst_core.lanes.assembly import Assembly
from nst_core.lanes.bucket import Bucket, Buckets
from nst_core.lanes.initialization import initial_image
from nst_core.lanes.lane_state import LaneState, fresh_state, resized_state
from nst_core.lanes.optimizers import resample
from nst_core.lanes.schedules import Stage, stage_at, stages
from nst_core.lanes.step import StepKinds, SteppedLane
from nst_core.losses.batch_loss import Losses
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.losses.terms import depth_of
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


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the host reads of a lane after an `advance`.

    Attributes:
        losses: weighted loss terms and their sum by name, see `Losses`.
        outcome: state of the lane.
    """

    losses: Mapping[str, float]
    outcome: Outcome


class LaneBatch:
    """Stylizations of one `GroupKey` that advance together; each has its own settings and step.

    Args:
        store: extractors and targets, on the device where the batch lives.
        buckets: the lanes take their steps in one of these buckets; None: in an `Assembly`.

    Attributes:
        lanes: the lanes of the batch. Per-lane results of `advance` and `outcomes` have the same
            order, which may change when lanes join.
    """

    def __init__(self, store: FeatureStore, buckets: Buckets | None = None):
        self._store, self._buckets = store, buckets
        self.lanes: list[Lane] = []
        # The state of a lane is in `_running` if the lane takes steps there, else in `_waiting`.
        self._running: Assembly | Bucket | None = None
        self._waiting: dict[Hashable, LaneState] = {}
        self._is_ready = False

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
        self._waiting[key] = self._fresh(lane) if state is None else self._resumed(lane, state)
        self.lanes = sorted([*self.lanes, lane], key=lambda lane: -depth_of(lane.config))
        self._is_ready = False

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
        # A copy: a view would keep the tensors of all lanes alive for as long as the lane waits.
        state = self._waiting.pop(key, None) or self._running_state(key).cloned()
        if isinstance(self._running, Bucket):
            if key in self._running.keys:
                self._running.leave(key)
        else:
            self._disassemble()
            self._waiting.pop(key, None)
        self.lanes = [lane for i, lane in enumerate(self.lanes) if i != index]
        self._is_ready = False
        if not self.lanes:
            self._stop()
        return state

    def save(self, key: Hashable) -> LaneState:
        """Return a copy of a lane's state; a lane added with it continues without a difference."""
        return self._state(key).copied()

    def image(self, key: Hashable) -> Tensor:
        """Return image_3HW, a lane's current image, not clamped, on the batch's device."""
        return self._store.place(self._state(key).image_3HW)

    def picture(self, key: Hashable) -> Tensor:
        """Return a lane's current result on the batch's device: image_3HW, float32 in [0, 1].

        The result is the last image, the best one or the average (`StyleConfig.keep`), at full
        size, with the colors of the content if the lane preserves them.
        """
        lane, state = self.lanes[self._index(key)], self._state(key)
        image = state.image_3HW
        if lane.config.keep != "last":
            weight = state.state["kept_weight"]  # 0 before the first step: nothing is kept yet
            kept = state.state["kept"] / (weight if lane.config.keep == "ema" else 1.0)
            image = torch.where(weight > 0, kept, image)
        image = self._store.place(image).float().clamp(0, 1)
        image = resize(image, *lane.inputs.height_width)
        if lane.config.preserve_color != "none":
            image = with_hues_of(image, lane.inputs.content_3HW.to(image))
        return image

    def prepare(self) -> None:
        """Compute targets and stack the lanes, which otherwise happens in the next `advance`."""
        self._ready()

    def advance(self, steps: int) -> Losses:
        """Advance every lane by ``steps`` and return the losses before the last update.

        The host does not wait for the device; whoever reads the losses does.

        Args:
            steps: 1 to `stage_steps_left`.
        """
        if not 1 <= steps <= self.stage_steps_left:
            raise ValueError(f"expected 1 to {self.stage_steps_left} steps, got {steps}")
        running = self._ready()
        try:
            return running.advance(steps)
        finally:
            self.lanes = [
                replace(lane, step=step)
                for lane, step in zip(self.lanes, running.steps, strict=True)
            ]

    def outcomes(self, losses: Losses) -> list[Outcome]:
        """Return the outcome of each lane after an `advance` that returned ``losses``."""
        return [reading.outcome for reading in self.readings(losses)]

    def readings(self, losses: Losses) -> list[Reading]:
        """Return loss terms and outcome of each lane after an `advance` that returned ``losses``.

        The host reads from the device once for all lanes, and waits for it.
        """
        running = self._ready()
        total_N, largest_pixel_N = losses.total, running.largest_pixel_N
        no_scale_left_N = running.loss_scale_N < LossScaler.LEAST
        checks = torch.stack(
            [
                ~(total_N.isfinite() & largest_pixel_N.isfinite()) | no_scale_left_N,
                largest_pixel_N > EXPLODED_PIXEL,
                total_N > EXPLODED_LOSS * running.null_loss_N,
            ]
        )
        kinds = (Outcome.NOT_FINITE, Outcome.EXPLODED_IMAGE, Outcome.EXPLODED_LOSS)
        terms = torch.stack(losses.tensors()).double()
        table_NR = torch.cat([terms, checks.double()]).T.tolist()
        readings = []
        for row in table_NR:
            bad = [kind for kind, is_bad in zip(kinds, row[len(terms) :], strict=True) if is_bad]
            values = dict(zip(losses.names(), row, strict=False))
            readings.append(Reading(losses=values, outcome=bad[0] if bad else Outcome.RUNNING))
        return readings

    def _index(self, key: Hashable) -> int:
        for index, lane in enumerate(self.lanes):
            if lane.key == key:
                return index
        raise KeyError(f"no lane {key!r} in the batch")

    def _state(self, key: Hashable) -> LaneState:
        self._index(key)  # raises KeyError
        return self._waiting[key] if key in self._waiting else self._running_state(key)

    def _running_state(self, key: Hashable) -> LaneState:
        assert self._running is not None
        return self._running.state(key)

    def _ready(self) -> Assembly | Bucket:
        """Return all lanes where they take their steps; `lanes` has their order."""
        if self._running is None or not self._is_ready:
            self._running = self._gathered()
            self._waiting, self._is_ready = {}, True
            lanes = {lane.key: lane for lane in self.lanes}
            self.lanes = [lanes[key] for key in self._running.keys if key is not None]
        return self._running

    def _gathered(self) -> Assembly | Bucket:
        pairs = [(lane.config, lane.scaled) for lane in self.lanes]
        if self._buckets is None or not self._buckets.can_hold(StepKinds.of(pairs)):
            self._disassemble()
            return Assembly(self._store, self._stepped())
        if isinstance(self._running, Assembly):
            self._disassemble()
        bucket = self._running if isinstance(self._running, Bucket) else None
        return self._buckets.bucket(self.group, self._stepped(), bucket)

    def _stepped(self) -> dict[Hashable, SteppedLane]:
        return {
            lane.key: SteppedLane(
                config=lane.config, inputs=lane.scaled, state=self._state(lane.key)
            )
            for lane in self.lanes
        }

    def _disassemble(self) -> None:
        """Let all lanes wait, so that others can be stacked with them."""
        if self._running is not None:
            self._waiting.update(
                {key: self._running.state(key) for key in self._running.keys if key is not None}
            )
            self._stop()

    def _stop(self) -> None:
        if isinstance(self._running, Bucket) and self._buckets is not None:
            self._buckets.release(self._running)
        self._running = None
