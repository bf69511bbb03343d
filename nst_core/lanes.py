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

from nst_core.colors import with_hues_of
from nst_core.config import StyleConfig
from nst_core.images import resize
from nst_core.losses import BatchLoss, Losses, Part
from nst_core.materials import Materials
from nst_core.networks import NETWORKS, Backbone
from nst_core.optimizers import Rates, State, optimizer_of, resample
from nst_core.precision import LossScaler, arithmetic
from nst_core.schedules import Schedules, Stage, stage_at, stages
from nst_core.starts import initial_image
from nst_core.targets import MEMORY_FORMAT, FeatureStore

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
    """What lanes of one batch must have in common.

    The deepest layer is part of it, so that no lane pays for layers that it does not read.
    """

    backbone: Backbone
    precision: str
    deepest: str
    height: int
    width: int
    optimizer: str
    history: int


def group_of(config: StyleConfig, materials: Materials, step: int = 0) -> GroupKey:
    """The batch that a lane with so many steps done belongs to."""
    stage = stage_at(stages(config, *materials.height_width), step)
    return GroupKey(
        backbone=config.backbone,
        precision=config.precision,
        deepest=NETWORKS[config.extractor].deepest(config.layers),
        height=materials.at(stage.size_px).height_width[0],
        width=materials.at(stage.size_px).height_width[1],
        optimizer=config.optimizer,
        history=config.lbfgs_history if config.optimizer == "lbfgs" else 0,
    )


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """All that a lane needs to go on elsewhere: pixels and everything remembered, on the CPU."""

    step: int
    image_3HW: Tensor
    state: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One stylization in a batch.

    Attributes:
        materials: at full size.
        stage: the size that it goes through now, and until which step.
    """

    key: Hashable
    config: StyleConfig
    materials: Materials
    step: int
    stage: Stage

    @property
    def scaled(self) -> Materials:
        """The materials at this stage's size."""
        return self.materials.at(self.stage.size_px)


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
        self._schedules = Schedules([], store.device)
        self._rates = Rates.of([], store.device)
        self._step_N = self._clamp_N111 = self._ema_N = self._best_N = torch.empty(0)
        self._normal_loss_N = torch.empty(0)

    def __len__(self) -> int:
        return len(self.lanes)

    def add(
        self,
        key: Hashable,
        config: StyleConfig,
        materials: Materials,
        state: LaneState | None = None,
    ) -> None:
        """Put a lane in, fresh or going on from ``state``, whose size may be that of another stage.

        Raises:
            ValueError: the key is taken, or the lane belongs to another `GroupKey`.
        """
        step = state.step if state else 0
        if any(lane.key == key for lane in self.lanes):
            raise ValueError(f"lane {key!r} is in the batch already")
        group = group_of(config, materials, step)
        if self.lanes and group != self.group:
            raise ValueError(f"{group} does not fit a batch of {self.group}")
        stage = stage_at(stages(config, *materials.height_width), step)
        lane = Lane(key=key, config=config, materials=materials, step=step, stage=stage)
        image_13HW, fresh = self._fresh(lane) if state is None else self._going_on(lane, state)
        if self._images_N3HW is None:
            self._images_N3HW, self._state = image_13HW, fresh
        else:
            self._images_N3HW = torch.cat([self._images_N3HW, image_13HW])
            self._state = {k: torch.cat([v, fresh[k]]) for k, v in self._state.items()}
        self.lanes.append(lane)
        self._loss = None

    def _fresh(self, lane: Lane) -> tuple[Tensor, State]:
        image = self._store.place(initial_image(lane.config, lane.scaled))
        image_13HW = image[None].contiguous(memory_format=MEMORY_FORMAT)
        state = optimizer_of(lane.config).init(image_13HW)
        one = image_13HW.new_ones(1)
        return image_13HW, {
            **_prefixed(state),
            **_nothing_kept(image_13HW),
            "balance": one,
            "loss_scale": LossScaler.START * one,
            "clean_steps": 0 * one,
        }

    def _going_on(self, lane: Lane, saved: LaneState) -> tuple[Tensor, State]:
        image = self._store.place(saved.image_3HW)[None]
        state = {name: self._store.place(value)[None] for name, value in saved.state.items()}
        height, width = lane.scaled.height_width
        if tuple(image.shape[2:]) == (height, width):
            return image.contiguous(memory_format=MEMORY_FORMAT), state
        image = resample(image, height, width).contiguous(memory_format=MEMORY_FORMAT)
        if lane.config.clamp == "step":
            image = image.clamp(0, 1)
        optimizer = optimizer_of(lane.config).rescale(_unprefixed(state), height, width)
        return image, {**state, **_prefixed(optimizer), **_nothing_kept(image)}

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
            state={k: v[index].detach().cpu().clone() for k, v in self._state.items()},
        )

    def image(self, key: Hashable) -> Tensor:
        """image_3HW of a lane's last iterate, not clamped, on the batch's device."""
        return self._images[self._index(key)].detach()

    def picture(self, key: Hashable) -> Tensor:
        """A lane's result as it stands: image_3HW, full size, in [0, 1], float32, on the CPU.

        The last iterate, the best or the average, as the lane keeps it, with the content's colours
        where it preserves them.
        """
        index = self._index(key)
        lane = self.lanes[index]
        image = self._images[index].detach()
        weight = float(self._state["kept_weight"][index])
        if lane.config.keep != "last" and weight > 0:
            image = self._state["kept"][index] / (weight if lane.config.keep == "ema" else 1.0)
        image = resize(image.float().cpu().clamp(0, 1), *lane.materials.height_width)
        if lane.config.preserve_color != "none":
            image = with_hues_of(image, lane.materials.content_3HW)
        return image

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
        """Advance every lane by ``steps``, 1 to `room`; returns the losses before the last update.

        The host never waits for the device here; reading the losses does.
        """
        if not 1 <= steps <= self.room:
            raise ValueError(f"expected 1 to {self.room} steps, got {steps}")
        loss = self._prepare()
        with arithmetic(self.group.precision, self._store.device):
            for _ in range(steps):
                losses = self._step(loss)
        return Losses(**{name: value.detach() for name, value in vars(losses).items()})

    def _step(self, loss: BatchLoss) -> Losses:
        step_N, state = self._step_N + 1, self._state
        pixels = self._images.detach().requires_grad_()
        parts = loss(pixels)
        balance_N = self._balanced(parts, pixels, state["balance"])
        factor_N = self._schedules.style_factor(step_N, balance_N).to(pixels.dtype)
        losses = parts.weighed(factor_N)
        if self.group.precision == "float16":
            scaled = losses.total * state["loss_scale"]
            (grad,) = torch.autograd.grad(scaled.sum(), pixels)
            grad = grad / state["loss_scale"][:, None, None, None]
        else:
            (grad,) = torch.autograd.grad(losses.total.sum(), pixels)
        with torch.no_grad():
            before = pixels.detach()
            rates = self._rates.at(step_N, self._schedules.lr_factor(step_N))
            optimizer = optimizer_of(self.lanes[0].config)
            after, changed = optimizer.update(before, grad, _unprefixed(state), rates)
            after = torch.where(self._clamp_N111, after.clamp(0, 1), after)
            new = {**state, **_prefixed(changed), "balance": balance_N}
            new.update(self._kept(state, before, after, losses.total.detach()))
            if self.group.precision == "float16":
                after, new = LossScaler.checked(before, after, state, new, grad)
        # Committed together: after an exception the batch stands at its last whole step.
        self._images_N3HW, self._state, self._step_N = after, new, step_N
        self.lanes = [replace(lane, step=lane.step + 1) for lane in self.lanes]
        return losses

    def _balanced(self, parts: Part, pixels: Tensor, balance_N: Tensor) -> Tensor:
        """Style factors of lanes that balance, measured anew where it is due."""
        due = self._schedules.balance_due([lane.step for lane in self.lanes])
        if not any(due):
            return balance_N
        norms = []
        for part in (parts.content, parts.style):
            (grad,) = torch.autograd.grad(part.sum(), pixels, retain_graph=True)
            norms.append(grad.flatten(1).square().sum(1).sqrt())
        due_N = torch.tensor(due, device=balance_N.device)
        return torch.where(due_N, self._schedules.balanced(balance_N, *norms), balance_N)

    def _kept(self, state: State, before: Tensor, after: Tensor, total_N: Tensor) -> State:
        """What a lane keeps beside its last iterate: an average, or the best by its loss."""
        decay_N = self._ema_N
        average = decay_N[:, None, None, None] * state["kept"]
        average = average + (1 - decay_N)[:, None, None, None] * after
        better_N = self._best_N & (total_N < state["kept_loss"])
        best = torch.where(better_N[:, None, None, None], before, state["kept"])
        return {
            "kept": torch.where(self._best_N[:, None, None, None], best, average),
            "kept_weight": torch.where(
                self._best_N, torch.ones_like(decay_N), decay_N * state["kept_weight"] + 1 - decay_N
            ),
            "kept_loss": torch.where(better_N, total_N, state["kept_loss"]),
        }

    def outcomes(self, losses: Losses) -> list[Outcome]:
        """How each lane stands after `advance` returned ``losses``, in the order of ``lanes``."""
        total = losses.total
        pixel_N = self._images.detach().abs().flatten(1).amax(1)
        scale_N = self._state["loss_scale"]
        limit_N = EXPLODED_LOSS * self._normal_loss_N
        checks = torch.stack(
            [
                ~(total.isfinite() & pixel_N.isfinite()) | (scale_N < LossScaler.LEAST),
                pixel_N > EXPLODED_PIXEL,
                total > limit_N,
            ]
        )
        kinds = (Outcome.NOT_FINITE, Outcome.EXPLODED_IMAGE, Outcome.EXPLODED_LOSS)
        return [
            next((kind for kind, bad in zip(kinds, column, strict=True) if bad), Outcome.RUNNING)
            for column in checks.T.tolist()
        ]

    def _prepare(self) -> BatchLoss:
        """Per-lane vectors and targets; made anew only when a lane came or went."""
        if self._loss is None:
            device, dtype = self._store.device, self._store.dtype
            configs = [lane.config for lane in self.lanes]
            self._schedules = Schedules(configs, device)
            self._rates = Rates.of(configs, device)
            self._step_N = torch.tensor([lane.step for lane in self.lanes], device=device)
            clamp = torch.tensor([c.clamp == "step" for c in configs], device=device)
            self._clamp_N111 = clamp[:, None, None, None]
            self._ema_N = torch.tensor(
                [c.ema_decay if c.keep == "ema" else 0.0 for c in configs],
                device=device,
                dtype=dtype,
            )
            self._best_N = torch.tensor([c.keep == "best" for c in configs], device=device)
            self._images_N3HW = self._images.contiguous(memory_format=MEMORY_FORMAT)
            self._loss = BatchLoss(self._store, [(m.config, m.scaled) for m in self.lanes])
            self._normal_loss_N = self._loss.of_nothing()
        return self._loss


def _nothing_kept(image_13HW: Tensor) -> State:
    """At the start of each stage: losses at two sizes do not compare."""
    one = image_13HW.new_ones(1)
    return {
        "kept": torch.zeros_like(image_13HW),
        "kept_weight": 0 * one,
        "kept_loss": torch.inf * one,
    }


def _prefixed(state: State) -> State:
    return {f"optimizer.{name}": value for name, value in state.items()}


def _unprefixed(state: State) -> State:
    return {
        name.removeprefix("optimizer."): value
        for name, value in state.items()
        if name.startswith("optimizer.")
    }
