"""LaneBatch: many stylizations advancing as one batch.

VGG has no operation across samples, so a batch of independent images follows, in float64 on one
thread, exactly the trajectories of separate runs. Several threads divide a batch otherwise than a
lone image, which rounds differently (by 1e-15 in float64); in float32 such differences drift apart.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images import resize
from nst_core.losses import MEMORY_FORMAT, BatchLoss, FeatureStore, Losses, Materials
from nst_core.networks import NETWORKS
from nst_core.optimizers import LANE_OPTIMIZERS, State

#: Pixels live in [0, 1]; where they are not clamped they stray by a few units. Beyond this nothing
#: comes back.
EXPLODED = 1e3


class Outcome(enum.Enum):
    """How a lane stands; the values are the messages."""

    RUNNING = "running"
    DIVERGED = "the image or its loss exploded or is not finite; a smaller learning rate may help"
    OUT_OF_MEMORY = "out of memory even alone; a smaller size_px may help"


class GroupKey(NamedTuple):
    """What lanes of one batch must have in common.

    The deepest layer is part of it, so that no lane pays for layers that it does not read.
    """

    extractor: str
    deepest: str
    height: int
    width: int
    optimizer: str


def group_of(config: StyleConfig, materials: Materials) -> GroupKey:
    """The batch that a lane belongs to."""
    deepest = NETWORKS[config.extractor].deepest(config.layers)
    return GroupKey(config.extractor, deepest, *materials.height_width, config.optimizer)


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """All that a lane needs to go on elsewhere: pixels and optimizer state, on the CPU."""

    step: int
    image_3HW: Tensor
    optimizer: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One stylization in a batch."""

    key: Hashable
    config: StyleConfig
    materials: Materials
    step: int


def initial_image(config: StyleConfig, materials: Materials) -> Tensor:
    """image_3HW from which the optimization starts, by ``config.init``."""
    height, width = materials.height_width
    if config.init == "noise":
        generator = torch.Generator().manual_seed(config.seed)
        noise = torch.randn(3, height, width, generator=generator)
        return (0.5 + 0.2 * noise).clamp(0, 1)
    if config.init == "style":
        return resize(materials.styles[0][0], height, width)
    return materials.content_3HW.clone()


class LaneBatch:
    """Stylizations of one `GroupKey`, advanced together; each keeps its own settings and step.

    Args:
        store: extractors and targets on the device where the batch lives.
    """

    def __init__(self, store: FeatureStore):
        self._store = store
        self.lanes: list[Lane] = []
        self._images_N3HW: Tensor | None = None
        self._state: State = {}
        self._loss: BatchLoss | None = None
        self._lr_N = self._step_N = self._clamp_N = torch.empty(0)

    def __len__(self) -> int:
        return len(self.lanes)

    def add(
        self,
        key: Hashable,
        config: StyleConfig,
        materials: Materials,
        state: LaneState | None = None,
    ) -> None:
        """Put a lane in, fresh or going on from ``state``.

        Raises:
            ValueError: the key is taken, or the lane belongs to another `GroupKey`.
        """
        if any(lane.key == key for lane in self.lanes):
            raise ValueError(f"lane {key!r} is in the batch already")
        if self.lanes and group_of(config, materials) != self.group:
            raise ValueError(f"{group_of(config, materials)} does not fit a batch of {self.group}")
        optimizer = LANE_OPTIMIZERS[config.optimizer]
        image = state.image_3HW if state else initial_image(config, materials)
        image_13HW = self._store.place(image)[None].contiguous(memory_format=MEMORY_FORMAT)
        fresh = optimizer.init(image_13HW)
        if state:
            fresh = {
                name: self._store.place(value)[None] for name, value in state.optimizer.items()
            }
        if self._images_N3HW is None:
            self._images_N3HW, self._state = image_13HW, fresh
        else:
            self._images_N3HW = torch.cat([self._images_N3HW, image_13HW])
            self._state = {k: torch.cat([v, fresh[k]]) for k, v in self._state.items()}
        step = state.step if state else 0
        self.lanes.append(Lane(key=key, config=config, materials=materials, step=step))
        self._loss = None

    @property
    def group(self) -> GroupKey:
        """What this batch's lanes have in common; the batch must not be empty."""
        return group_of(self.lanes[0].config, self.lanes[0].materials)

    def drop(self, key: Hashable) -> None:
        """Take a lane out; the others go on undisturbed."""
        index = self._index(key)
        keep = [i for i in range(len(self.lanes)) if i != index]
        self.lanes.pop(index)
        self._loss = None
        if not keep:
            self._images_N3HW, self._state = None, {}
            return
        self._images_N3HW = self._images[keep]
        self._state = {name: value[keep] for name, value in self._state.items()}

    def save(self, key: Hashable) -> LaneState:
        """A copy of a lane's state; adding it again continues as if nothing had happened."""
        index = self._index(key)
        return LaneState(
            step=self.lanes[index].step,
            image_3HW=self._images[index].detach().cpu().clone(),
            optimizer={k: v[index].detach().cpu().clone() for k, v in self._state.items()},
        )

    def image(self, key: Hashable) -> Tensor:
        """image_3HW of a lane as it stands, not clamped, on the batch's device."""
        return self._images[self._index(key)].detach()

    def _index(self, key: Hashable) -> int:
        for index, lane in enumerate(self.lanes):
            if lane.key == key:
                return index
        raise KeyError(f"no lane {key!r} in the batch")

    @property
    def _images(self) -> Tensor:
        if self._images_N3HW is None:
            raise ValueError("the batch is empty")
        return self._images_N3HW

    def advance(self, steps: int) -> Losses:
        """Advance every lane by ``steps`` >= 1; returns the losses before the last update.

        The host never waits for the device here; reading the losses does.
        """
        loss = self._prepare()
        optimizer = LANE_OPTIMIZERS[self.group.optimizer]
        for _ in range(steps):
            pixels = self._images.detach().requires_grad_()
            losses = loss(pixels)
            (grad,) = torch.autograd.grad(losses.total.sum(), pixels)
            step_N = self._step_N + 1
            with torch.no_grad():
                pixels, state = optimizer.update(
                    pixels.detach(), grad, self._state, lr_N=self._lr_N, step_N=step_N
                )
                pixels = torch.where(self._clamp_N, pixels.clamp(0, 1), pixels)
            # Committed together: after an exception the batch stands at its last whole step.
            self._images_N3HW, self._state, self._step_N = pixels, state, step_N
            self.lanes = [replace(lane, step=lane.step + 1) for lane in self.lanes]
        return Losses(**{name: value.detach() for name, value in vars(losses).items()})

    def outcomes(self, losses: Losses) -> list[Outcome]:
        """How each lane stands after `advance` returned ``losses``, in the order of ``lanes``."""
        # Not a number compares as false, so this catches it too.
        finite_N = self._images.abs().flatten(1).amax(1) < EXPLODED
        finite_N &= losses.total.isfinite()
        return [Outcome.RUNNING if ok else Outcome.DIVERGED for ok in finite_N.tolist()]

    def _prepare(self) -> BatchLoss:
        """Per-lane vectors and targets; made anew only when a lane came or went."""
        if self._loss is None:
            device, dtype = self._store.device, self._store.dtype
            configs = [lane.config for lane in self.lanes]
            self._lr_N = torch.tensor([c.lr for c in configs], device=device, dtype=torch.float64)
            self._step_N = torch.tensor([lane.step for lane in self.lanes], device=device)
            clamp = torch.tensor([c.clamp == "step" for c in configs], device=device)
            self._clamp_N = clamp[:, None, None, None]
            self._images_N3HW = self._images.to(dtype).contiguous(memory_format=MEMORY_FORMAT)
            self._loss = BatchLoss(self._store, [(m.config, m.materials) for m in self.lanes])
        return self._loss
