"""LaneBatch: many stylizations advancing as one batch.

No network here has an operation across samples, so a batch of independent images follows, in
float64 on one thread, exactly the trajectories of separate runs. Several threads divide a batch
otherwise than a lone image, which rounds differently (by 1e-15 in float64); in float32 such
differences drift apart.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import with_hues_of
from nst_core.images.tensors import resize
from nst_core.lanes.assembly import AssembledLane, Assembly, LaneState, fresh_state, resized_state
from nst_core.lanes.initialization import initial_image
from nst_core.lanes.optimizers import resample
from nst_core.lanes.schedules import Stage, stage_at, stages
from nst_core.losses.batch_loss import Losses, depth_of
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.precision import LossScaler
from nst_core.networks.registry import Backbone

#: Pixels live in [0, 1]; where they are not clamped they stray by a few units. Beyond this nothing
#: comes back.
EXPLODED_PIXEL = 1e3

#: A loss may rise for a while, but not to this many times that of a picture without features:
#: style losses grow with the fourth power of the pixels, so these are ten times too bright.
EXPLODED_LOSS = 1e4


class Outcome(enum.Enum):
    """How a lane stands; the values are the messages."""

    RUNNING = "running"
    NOT_FINITE = "diverged: the loss is not a finite number; a smaller learning rate may help"
    EXPLODED_IMAGE = "diverged: pixels beyond ±1000; a smaller learning rate may help"
    EXPLODED_LOSS = "diverged: the loss exploded; a smaller learning rate may help"
    OUT_OF_MEMORY = "out of memory even alone; a smaller size_px may help"


class GroupKey(NamedTuple):
    """What lanes of one batch must have in common; all else may differ."""

    backbone: Backbone
    precision: str
    height: int
    width: int


def group_of(config: StyleConfig, materials: LossInputs, step: int = 0) -> GroupKey:
    """The batch that a lane with so many steps done belongs to."""
    stage = stage_at(stages(config, *materials.height_width), step)
    height, width = materials.at(stage.size_px).height_width
    return GroupKey(config.backbone, config.precision, height, width)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One stylization in a batch.

    Attributes:
        materials: at full size.
        stage: the size that it goes through now, and until which step.
    """

    key: Hashable
    config: StyleConfig
    materials: LossInputs
    step: int
    stage: Stage

    @property
    def scaled(self) -> LossInputs:
        """The materials at this stage's size."""
        return self.materials.at(self.stage.size_px)


class LaneBatch:
    """Stylizations of one `GroupKey`, advanced together; each keeps its own settings and step.

    Args:
        store: extractors and targets on the device where the batch lives.

    Attributes:
        lanes: those in the batch, deepest first; the order of what `advance` returns.
    """

    def __init__(self, store: FeatureStore):
        self._store = store
        self.lanes: list[Lane] = []
        # Exactly one of the two holds the lanes' tensors: apart, or stacked to step together.
        self._apart: dict[Hashable, LaneState] = {}
        self._assembly: Assembly | None = None

    def __len__(self) -> int:
        return len(self.lanes)

    def add(
        self,
        key: Hashable,
        config: StyleConfig,
        materials: LossInputs,
        state: LaneState | None = None,
    ) -> None:
        """Put a lane in, fresh or going on from ``state``, whose size may be that of another stage.

        Raises:
            ValueError: the key is taken, or the lane belongs to another `GroupKey`.
            InputError: its blend is of another number of style images.
        """
        materials.check_blend(config.style_blend)
        step = state.step if state else 0
        if any(lane.key == key for lane in self.lanes):
            raise ValueError(f"lane {key!r} is in the batch already")
        group = group_of(config, materials, step)
        if self.lanes and group != self.group:
            raise ValueError(f"{group} does not fit a batch of {self.group}")
        stage = stage_at(stages(config, *materials.height_width), step)
        lane = Lane(key=key, config=config, materials=materials, step=step, stage=stage)
        self._take_apart()
        self._apart[key] = self._fresh(lane) if state is None else self._going_on(lane, state)
        self.lanes = sorted([*self.lanes, lane], key=lambda lane: -depth_of(lane.config))

    def _fresh(self, lane: Lane) -> LaneState:
        image = self._store.place(initial_image(lane.config, lane.scaled))
        return fresh_state(lane.config, image)

    def _going_on(self, lane: Lane, saved: LaneState) -> LaneState:
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
        """What this batch's lanes have in common; the batch must not be empty."""
        lane = self.lanes[0]
        return group_of(lane.config, lane.materials, lane.step)

    @property
    def room(self) -> int:
        """Steps until the first lane reaches the end of its stage; `advance` takes no more."""
        return min(lane.stage.until - lane.step for lane in self.lanes)

    def drop(self, key: Hashable) -> None:
        """Take a lane out; the others go on undisturbed."""
        self.take(key)

    def take(self, key: Hashable) -> LaneState:
        """Take a lane out and hand over its state, on the batch's device."""
        index = self._index(key)
        self._take_apart()
        self.lanes = [lane for i, lane in enumerate(self.lanes) if i != index]
        return self._apart.pop(key)

    def save(self, key: Hashable) -> LaneState:
        """A copy of a lane's state; adding it again continues as if nothing had happened."""
        return self._state(key).copied()

    def image(self, key: Hashable) -> Tensor:
        """image_3HW of a lane's last iterate, not clamped, on the batch's device."""
        return self._store.place(self._state(key).image_3HW)

    def picture(self, key: Hashable) -> Tensor:
        """A lane's result as it stands: image_3HW, full size, in [0, 1], float32, on the CPU.

        The last iterate, the best or the average, as the lane keeps it, with the content's colours
        where it preserves them.
        """
        lane, found = self.lanes[self._index(key)], self._state(key)
        image = found.image_3HW
        weight = float(found.state["kept_weight"])
        if lane.config.keep != "last" and weight > 0:
            image = found.state["kept"] / (weight if lane.config.keep == "ema" else 1.0)
        image = resize(image.float().cpu().clamp(0, 1), *lane.materials.height_width)
        if lane.config.preserve_color != "none":
            image = with_hues_of(image, lane.materials.content_3HW)
        return image

    def prepare(self) -> None:
        """Do what `advance` would have to do before its first step."""
        self._assembled()

    def advance(self, steps: int) -> Losses:
        """Advance every lane by ``steps``, 1 to `room`; returns the losses before the last update.

        The host never waits for the device here; reading the losses does.
        """
        if not 1 <= steps <= self.room:
            raise ValueError(f"expected 1 to {self.room} steps, got {steps}")
        assembly = self._assembled()
        try:
            return assembly.advance(steps)
        finally:
            self.lanes = [
                replace(lane, step=step)
                for lane, step in zip(self.lanes, assembly.steps, strict=True)
            ]

    def outcomes(self, losses: Losses) -> list[Outcome]:
        """How each lane stands after `advance` returned ``losses``, in the order of ``lanes``."""
        assembly = self._assembled()
        total = losses.total
        pixel_N = assembly.images_N3HW.detach().abs().flatten(1).amax(1)
        scale_N = assembly.loss_scale_N
        checks = torch.stack(
            [
                ~(total.isfinite() & pixel_N.isfinite()) | (scale_N < LossScaler.LEAST),
                pixel_N > EXPLODED_PIXEL,
                total > EXPLODED_LOSS * assembly.normal_loss_N,
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
        return self._assembly.lane(index) if self._assembly else self._apart[key]

    def _take_apart(self) -> None:
        if self._assembly is not None:
            states = [self._assembly.lane(index) for index in range(len(self.lanes))]
            keys = [lane.key for lane in self.lanes]
            self._apart, self._assembly = dict(zip(keys, states, strict=True)), None

    def _assembled(self) -> Assembly:
        if self._assembly is None:
            self._assembly = Assembly(
                self._store,
                [
                    AssembledLane(
                        config=lane.config, materials=lane.scaled, state=self._apart[lane.key]
                    )
                    for lane in self.lanes
                ],
            )
            self._apart = {}
        return self._assembly
