"""Assembly: lanes stacked into tensors, stepping together.

It is made anew when a lane comes or goes, so nothing in here changes while it steps, but pixels and
states. Lanes that share an optimizer are updated as one; each lane keeps its own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.optimizers import LaneOptimizer, Rates, State, optimizer_of
from nst_core.lanes.schedules import Schedules
from nst_core.lanes.step_graph import StepGraph
from nst_core.losses.batch_loss import BatchLoss, Losses, Part
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.precision import LossScaler, arithmetic, where_lanes

#: What of a lane's state belongs to its optimizer.
OPTIMIZER = "optimizer."


@dataclass(frozen=True, kw_only=True)
class LaneState:
    """All that a lane needs to go on elsewhere: pixels and everything remembered.

    Attributes:
        step: steps done.
        image_3HW: the last iterate, not clamped.
        state: tensors without a lane axis; those of the optimizer begin with `OPTIMIZER`.
    """

    step: int
    image_3HW: Tensor
    state: Mapping[str, Tensor]

    def copied(self) -> LaneState:
        """A copy on the CPU, which later steps leave alone."""
        return LaneState(
            step=self.step,
            image_3HW=self.image_3HW.detach().cpu().clone(),
            state={name: value.detach().cpu().clone() for name, value in self.state.items()},
        )


@dataclass(frozen=True, kw_only=True)
class AssembledLane:
    """What goes into an assembly: a lane's settings, its pictures at this size, its state."""

    config: StyleConfig
    inputs: LossInputs
    state: LaneState


@dataclass(frozen=True, kw_only=True)
class _Moving:
    """All that a step changes; a step makes new ones and leaves the old alone.

    Attributes:
        images_N3HW: the iterates.
        step_N: steps done, int64.
        shared: what every lane has, whatever its optimizer.
        optimizers: states, by update.
    """

    images_N3HW: Tensor
    step_N: Tensor
    shared: State
    optimizers: Sequence[State]

    def tensors(self) -> list[Tensor]:
        """All of them, in the order that `filled` expects."""
        states = [self.shared, *self.optimizers]
        return [self.images_N3HW, self.step_N, *(v for state in states for v in state.values())]

    def filled(self, tensors: Sequence[Tensor]) -> _Moving:
        """The same with other tensors."""
        images, step, *rest = tensors
        left = iter(rest)
        shared, *optimizers = [
            {name: next(left) for name in state} for state in (self.shared, *self.optimizers)
        ]
        return _Moving(images_N3HW=images, step_N=step, shared=shared, optimizers=optimizers)


@dataclass(frozen=True, kw_only=True)
class _Update:
    """The lanes of one optimizer.

    Attributes:
        lanes: their places in the assembly.
        index_M: the same as a tensor; None if these are all lanes.
    """

    optimizer: LaneOptimizer
    lanes: tuple[int, ...]
    index_M: Tensor | None
    rates: Rates

    def rows(self, value_N: Tensor) -> Tensor:
        return value_N if self.index_M is None else value_N[self.index_M]


class Assembly:
    """Lanes of one group as tensors.

    Args:
        store: extractors and targets.
        lanes: deepest first (`losses.depth_of`).

    Attributes:
        normal_loss_N: loss of a picture without features; what is far above it exploded.
    """

    def __init__(self, store: FeatureStore, lanes: Sequence[AssembledLane]):
        configs = [lane.config for lane in lanes]
        states = [lane.state for lane in lanes]
        device, dtype = store.device, store.dtype
        self._device, self._precision = device, configs[0].precision
        images = torch.stack([store.place(state.image_3HW) for state in states])
        self._steps = [state.step for state in states]
        self._updates = _updates(configs, device)
        self._moving = _Moving(
            images_N3HW=images.contiguous(memory_format=MEMORY_FORMAT),
            step_N=torch.tensor(self._steps, device=device),
            shared={
                name: torch.stack([store.place(state.state[name]) for state in states])
                for name in states[0].state
                if not name.startswith(OPTIMIZER)
            },
            optimizers=[
                _stacked(store, [states[lane].state for lane in update.lanes])
                for update in self._updates
            ],
        )
        self._schedules = Schedules(configs, device)
        clamp = torch.tensor([c.clamp == "step" for c in configs], device=device)
        self._clamp_N111 = clamp[:, None, None, None]
        decays = [c.ema_decay if c.keep == "ema" else 0.0 for c in configs]
        self._ema_N = torch.tensor(decays, device=device, dtype=dtype)
        self._best_N = torch.tensor([c.keep == "best" for c in configs], device=device)
        self._keeps = any(c.keep != "last" for c in configs)
        self._loss = BatchLoss(store, [(lane.config, lane.inputs) for lane in lanes])
        store.trim()
        self.normal_loss_N = self._loss.null_loss()
        self._graphs = store.graphs
        self._graph: StepGraph | None = None
        self._taken = 0
        # The host takes part in each step of a lane that balances.
        self._recordable = self._loss.recordable and not self._schedules.balances
        self._kind = (
            (configs[0].backbone, self._precision, tuple(self.images_N3HW.shape)),
            tuple(type(update.optimizer).__name__ for update in self._updates),
            self._keeps,
        )

    @property
    def steps(self) -> Sequence[int]:
        """Steps done, by lane."""
        return self._steps

    @property
    def images_N3HW(self) -> Tensor:
        """The iterates."""
        return self._moving.images_N3HW

    @property
    def loss_scale_N(self) -> Tensor:
        """What lanes' losses are scaled by in float16."""
        return self._moving.shared["loss_scale"]

    def lane(self, index: int) -> LaneState:
        """The state of a lane as it stands, as views, which the next step may change."""
        state = {name: value[index] for name, value in self._moving.shared.items()}
        for update, values in zip(self._updates, self._moving.optimizers, strict=True):
            if index in update.lanes:
                row = update.lanes.index(index)
                state.update({OPTIMIZER + name: value[row] for name, value in values.items()})
        image = self.images_N3HW[index].detach()
        return LaneState(step=self._steps[index], image_3HW=image, state=state)

    def advance(self, steps: int) -> Losses:
        """Take steps; returns the losses before the last update. The host waits for nothing."""
        with arithmetic(self._precision, self._device):
            for _ in range(steps):
                losses = self._launched() or self._stepped()
                self._steps = [step + 1 for step in self._steps]
        # A recorded step writes its next losses to the same place.
        return Losses(**{name: value.detach().clone() for name, value in vars(losses).items()})

    def _stepped(self) -> Losses:
        # Committed together: after an exception the lanes stand at their last whole step.
        losses, self._moving = self._step(self._moving, self._schedules.balance_due(self._steps))
        self._taken += 1
        return losses

    def _launched(self) -> Losses | None:
        """A step as one launch, where that works and pays."""
        if self._graph is None and self._graphs is not None and self._recordable:
            self._graph = self._graphs.record(
                self._on_tensors,
                self._moving.tensors(),
                kind=self._kind,
                taken=self._taken,
                precision=self._precision,
            )
            if self._graph is not None:
                self._moving = self._moving.filled(self._graph.moving)
        return None if self._graph is None else Losses.of(self._graph.launch())

    def _on_tensors(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        losses, after = self._step(self._moving.filled(tensors), due=[])
        return losses.tensors(), after.tensors()

    def _step(self, moving: _Moving, due: Sequence[bool]) -> tuple[Losses, _Moving]:
        """One step of all lanes; those that are ``due`` balance their losses before."""
        step_N = moving.step_N + 1
        pixels = moving.images_N3HW.detach().requires_grad_()
        parts = self._loss(pixels)
        balance_N = moving.shared["balance"]
        if any(due):
            balance_N = self._balanced(balance_N, parts, pixels, due)
        factor_N = self._schedules.style_factor(step_N, balance_N).to(pixels.dtype)
        losses = parts.weighed(factor_N)
        grad, scale_state, good_N = self._gradient(losses.total, pixels, moving.shared)
        with torch.no_grad():
            before = pixels.detach()
            after, states = self._updated(before, grad, moving.optimizers, step_N, good_N)
            shared = {**moving.shared, **scale_state, "balance": balance_N}
            if self._keeps:
                # By its own weights: what a schedule begins with is lower at every early step.
                own_N = parts.weighed(torch.ones_like(factor_N)).total
                shared.update(self._kept(before, after, own_N.detach(), moving.shared))
        return losses, _Moving(images_N3HW=after, step_N=step_N, shared=shared, optimizers=states)

    def _gradient(
        self, total_N: Tensor, pixels: Tensor, shared: State
    ) -> tuple[Tensor, State, Tensor | None]:
        """The gradient, the loss scales to go on with, and which lanes may step, if not all."""
        if self._precision != "float16":
            return torch.autograd.grad(total_N.sum(), pixels)[0], {}, None
        scale_N = shared["loss_scale"]
        (grad,) = torch.autograd.grad((total_N * scale_N).sum(), pixels)
        grad = grad / scale_N[:, None, None, None]
        good_N = grad.flatten(1).isfinite().all(1)
        return grad, LossScaler.adapted(good_N, scale_N, shared["clean_steps"]), good_N

    def _updated(
        self,
        before: Tensor,
        grad: Tensor,
        optimizers: Sequence[State],
        step_N: Tensor,
        good_N: Tensor | None,
    ) -> tuple[Tensor, list[State]]:
        """Pixels and optimizer states after the step; lanes that are not good stay as they are."""
        after, states = before, []
        lr_factor_N = self._schedules.lr_factor(step_N)
        for update, old in zip(self._updates, optimizers, strict=True):
            rates = update.rates.at(update.rows(step_N), update.rows(lr_factor_N))
            moved, new = update.optimizer.update(update.rows(before), update.rows(grad), old, rates)
            if good_N is not None:
                good_M = update.rows(good_N)
                new = {name: where_lanes(good_M, value, old[name]) for name, value in new.items()}
            states.append(new)
            if update.index_M is not None:
                moved = after.index_copy(0, update.index_M, moved)
            after = moved
        after = torch.where(self._clamp_N111, after.clamp(0, 1), after)
        return (after if good_N is None else where_lanes(good_N, after, before)), states

    def _balanced(
        self, balance_N: Tensor, parts: Part, pixels: Tensor, due: Sequence[bool]
    ) -> Tensor:
        """Style factors of lanes that balance, measured anew where it is due."""
        norms = []
        for part in (parts.content, parts.style):
            (grad,) = torch.autograd.grad(part.sum(), pixels, retain_graph=True)
            norms.append(grad.flatten(1).square().sum(1).sqrt())
        due_N = torch.tensor(due, device=balance_N.device)
        return torch.where(due_N, self._schedules.balanced(balance_N, *norms), balance_N)

    def _kept(self, before: Tensor, after: Tensor, total_N: Tensor, old: State) -> State:
        """What lanes keep beside their last iterate: an average, or the best by its loss."""
        decay_N = self._ema_N
        average = decay_N[:, None, None, None] * old["kept"]
        average = average + (1 - decay_N)[:, None, None, None] * after
        better_N = self._best_N & (total_N < old["kept_loss"])
        best = where_lanes(better_N, before, old["kept"])
        weight_N = decay_N * old["kept_weight"] + 1 - decay_N
        return {
            "kept": where_lanes(self._best_N, best, average),
            "kept_weight": torch.where(self._best_N, torch.ones_like(decay_N), weight_N),
            "kept_loss": torch.where(better_N, total_N, old["kept_loss"]),
        }


def fresh_state(config: StyleConfig, image_3HW: Tensor) -> LaneState:
    """The state of a lane that starts from an image."""
    one = image_3HW.new_ones(())
    return LaneState(
        step=0,
        image_3HW=image_3HW,
        state={
            **_with_prefix(optimizer_of(config).init(image_3HW[None])),
            **nothing_kept(image_3HW),
            "balance": one,
            "loss_scale": LossScaler.START * one,
            "clean_steps": 0 * one,
        },
    )


def resized_state(config: StyleConfig, state: LaneState, image_3HW: Tensor) -> LaneState:
    """The state of a lane that goes on with ``image_3HW``, its iterate at another size."""
    _, height, width = image_3HW.shape
    optimizer = {
        name.removeprefix(OPTIMIZER): value[None]
        for name, value in state.state.items()
        if name.startswith(OPTIMIZER)
    }
    rescaled = optimizer_of(config).rescale(optimizer, height, width)
    kept = nothing_kept(image_3HW)
    return replace(
        state, image_3HW=image_3HW, state={**state.state, **_with_prefix(rescaled), **kept}
    )


def nothing_kept(image_3HW: Tensor) -> State:
    """At the start of each stage: losses at two sizes do not compare."""
    one = image_3HW.new_ones(())
    return {
        "kept": torch.zeros_like(image_3HW),
        "kept_weight": 0 * one,
        "kept_loss": torch.inf * one,
    }


def _with_prefix(state_1: State) -> State:
    return {OPTIMIZER + name: value[0] for name, value in state_1.items()}


def _updates(configs: Sequence[StyleConfig], device: torch.device) -> list[_Update]:
    """The lanes by optimizer."""
    lanes_of: dict[LaneOptimizer, list[int]] = {}
    for lane, config in enumerate(configs):
        lanes_of.setdefault(optimizer_of(config), []).append(lane)
    return [
        _Update(
            optimizer=optimizer,
            lanes=tuple(lanes),
            index_M=None if len(lanes_of) == 1 else torch.tensor(lanes, device=device),
            rates=Rates.of([configs[lane] for lane in lanes], device),
        )
        for optimizer, lanes in lanes_of.items()
    ]


def _stacked(store: FeatureStore, states: Sequence[Mapping[str, Tensor]]) -> State:
    """Optimizer states as tensors over their lanes."""
    stacked = {}
    for name in states[0]:
        if name.startswith(OPTIMIZER):
            value = torch.stack([store.place(state[name]) for state in states])
            image = value.ndim == 4
            key = name.removeprefix(OPTIMIZER)
            stacked[key] = value.contiguous(memory_format=MEMORY_FORMAT) if image else value
    return stacked
