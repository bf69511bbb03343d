"""Assembly: the lanes of a batch, stacked into tensors so that they take their steps together.

A new assembly is made whenever a lane joins or leaves, so its set of lanes never changes. Lanes
with the same optimizer are updated together; each lane keeps its own settings and state.

In shapes, N is the number of lanes and M the number of lanes with one optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.lane_state import OPTIMIZER, LaneState
from nst_core.lanes.optimizers import LaneOptimizer, Rates, State, optimizer_of
from nst_core.lanes.schedules import Schedules
from nst_core.lanes.step_graph import StepGraph, StepGraphs
from nst_core.losses.batch_loss import BatchLoss, Losses, LossTerms
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.precision import LossScaler, arithmetic, where_lanes


@dataclass(frozen=True, kw_only=True)
class AssembledLane:
    """One lane of an assembly: its settings, its images at the current size, its state."""

    config: StyleConfig
    inputs: LossInputs
    state: LaneState


@dataclass(frozen=True, kw_only=True)
class _BatchState:
    """Everything that a step changes. A step returns a new state and leaves the old one as it is.

    Attributes:
        images_N3HW: the current images.
        step_N: number of steps done, int64.
        shared: state that every lane has, whatever its optimizer; see `LaneState.state`.
        optimizers: state of each optimizer.
    """

    images_N3HW: Tensor
    step_N: Tensor
    shared: State
    optimizers: Sequence[State]

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in the order that `with_tensors` expects."""
        states = [self.shared, *self.optimizers]
        return [self.images_N3HW, self.step_N, *(v for state in states for v in state.values())]

    def with_tensors(self, tensors: Sequence[Tensor]) -> _BatchState:
        """Return a state of the same structure that consists of other tensors."""
        images, step, *values = tensors
        remaining = iter(values)
        shared, *optimizers = [
            {name: next(remaining) for name in state} for state in (self.shared, *self.optimizers)
        ]
        return _BatchState(images_N3HW=images, step_N=step, shared=shared, optimizers=optimizers)


@dataclass(frozen=True, kw_only=True)
class _OptimizerGroup:
    """The lanes of an assembly that share an optimizer.

    Attributes:
        lanes: positions of the lanes in the assembly.
        index_M: the same positions as an int64 tensor; None if the group has all lanes.
    """

    optimizer: LaneOptimizer
    lanes: tuple[int, ...]
    index_M: Tensor | None
    rates: Rates

    def rows(self, value_N: Tensor) -> Tensor:
        return value_N if self.index_M is None else value_N[self.index_M]


class Assembly:
    """Lanes of one `GroupKey` as tensors.

    Args:
        store: extractors and targets.
        lanes: deepest network layer first (`batch_loss.depth_of`).
        graphs: records steps as CUDA graphs; None: every step is eager.

    Attributes:
        null_loss_N: loss of an image without features; a loss far above it has exploded.
    """

    def __init__(
        self,
        store: FeatureStore,
        lanes: Sequence[AssembledLane],
        graphs: StepGraphs | None = None,
    ):
        configs = [lane.config for lane in lanes]
        states = [lane.state for lane in lanes]
        device, dtype = store.device, store.dtype
        self._device, self._precision = device, configs[0].precision
        images = torch.stack([store.place(state.image_3HW) for state in states])
        self._steps = [state.step for state in states]
        self._groups = _by_optimizer(configs, device)
        self._state = _BatchState(
            images_N3HW=images.contiguous(memory_format=MEMORY_FORMAT),
            step_N=torch.tensor(self._steps, device=device),
            shared={
                name: torch.stack([store.place(state.state[name]) for state in states])
                for name in states[0].state
                if not name.startswith(OPTIMIZER)
            },
            optimizers=[
                _stacked(store, [states[lane].state for lane in group.lanes])
                for group in self._groups
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
        self.null_loss_N = self._loss.null_loss()
        # Balancing needs a decision of the host before a step, which a graph cannot contain.
        recordable = self._loss.recordable and not self._schedules.balances
        self._graphs = graphs if recordable else None
        self._graph: StepGraph | None = None
        self._eager_steps = 0
        self._kind = (
            (configs[0].backbone, self._precision, dtype, tuple(self.images_N3HW.shape)),
            tuple(type(group.optimizer).__name__ for group in self._groups),
            self._keeps,
        )

    @property
    def steps(self) -> Sequence[int]:
        """Number of steps done by each lane."""
        return self._steps

    @property
    def images_N3HW(self) -> Tensor:
        """The current images, not clamped."""
        return self._state.images_N3HW

    @property
    def loss_scale_N(self) -> Tensor:
        """Factor of each lane's loss in float16; see `LossScaler`."""
        return self._state.shared["loss_scale"]

    def lane(self, index: int) -> LaneState:
        """Return the current state of a lane as views, which the next step may overwrite."""
        state = {name: value[index] for name, value in self._state.shared.items()}
        for group, values in zip(self._groups, self._state.optimizers, strict=True):
            if index in group.lanes:
                row = group.lanes.index(index)
                state.update({OPTIMIZER + name: value[row] for name, value in values.items()})
        image = self.images_N3HW[index].detach()
        return LaneState(step=self._steps[index], image_3HW=image, state=state)

    def advance(self, steps: int) -> Losses:
        """Take ``steps`` steps and return the losses before the last one.

        The host does not wait for the device.
        """
        with arithmetic(self._precision, self._device):
            for _ in range(steps):
                losses = self._recorded_step() or self._eager_step()
                self._steps = [step + 1 for step in self._steps]
        # A recorded step overwrites the losses of the step before it.
        return Losses(**{name: value.detach().clone() for name, value in vars(losses).items()})

    def _eager_step(self) -> Losses:
        # One assignment: if the step raises, all lanes are still at their previous step.
        losses, self._state = self._step(self._state, self._schedules.balance_due(self._steps))
        self._eager_steps += 1
        return losses

    def _recorded_step(self) -> Losses | None:
        """Take one step as a CUDA graph and return its losses; None if there is no graph."""
        if self._graph is None and self._graphs is not None:
            self._graph = self._graphs.record(
                self._step_on_tensors,
                self._state.tensors(),
                kind=self._kind,
                taken=self._eager_steps,
                precision=self._precision,
            )
            if self._graph is not None:
                self._state = self._state.with_tensors(self._graph.state)
        return None if self._graph is None else Losses.from_tensors(self._graph.launch())

    def _step_on_tensors(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        losses, state = self._step(self._state.with_tensors(tensors), balance_due=[])
        return losses.tensors(), state.tensors()

    def _step(self, state: _BatchState, balance_due: Sequence[bool]) -> tuple[Losses, _BatchState]:
        """Take one step of all lanes.

        Args:
            state: the state before the step.
            balance_due: which lanes balance their content and style losses before the step; an
                empty sequence means none.

        Returns:
            The losses before the update, and the state after it.
        """
        step_N = state.step_N + 1
        pixels = state.images_N3HW.detach().requires_grad_()
        terms = self._loss(pixels)
        balance_N = state.shared["balance"]
        if any(balance_due):
            balance_N = self._balanced(balance_N, terms, pixels, balance_due)
        factor_N = self._schedules.style_factor(step_N, balance_N).to(pixels.dtype)
        losses = terms.scaled(factor_N)
        grad, scale_state, finite_N = self._gradient(losses.total, pixels, state.shared)
        with torch.no_grad():
            before = pixels.detach()
            after, optimizers = self._updated(before, grad, state.optimizers, step_N, finite_N)
            shared = {**state.shared, **scale_state, "balance": balance_N}
            if self._keeps:
                # Compared without the schedule, under which early losses would be the lowest.
                loss_N = terms.scaled(torch.ones_like(factor_N)).total.detach()
                shared.update(self._kept(before, after, loss_N, state.shared))
        new_state = _BatchState(
            images_N3HW=after, step_N=step_N, shared=shared, optimizers=optimizers
        )
        return losses, new_state

    def _gradient(
        self, total_N: Tensor, pixels: Tensor, shared: State
    ) -> tuple[Tensor, State, Tensor | None]:
        """Return the gradient, new loss scales, and which lanes may step (None: all of them)."""
        if self._precision != "float16":
            return torch.autograd.grad(total_N.sum(), pixels)[0], {}, None
        scale_N = shared["loss_scale"]
        (grad,) = torch.autograd.grad((total_N * scale_N).sum(), pixels)
        grad = grad / scale_N[:, None, None, None]
        finite_N = grad.flatten(1).isfinite().all(1)
        return grad, LossScaler.adapted(finite_N, scale_N, shared["clean_steps"]), finite_N

    def _updated(
        self,
        before: Tensor,
        grad: Tensor,
        optimizers: Sequence[State],
        step_N: Tensor,
        finite_N: Tensor | None,
    ) -> tuple[Tensor, list[State]]:
        """Return images and optimizer states after the step; lanes without a finite gradient wait.

        Args:
            before: the images before the step, before_N3HW.
            grad: gradient of each lane's loss, grad_N3HW.
            optimizers: state of each optimizer.
            step_N: the step that is taken, from 1.
            finite_N: which lanes may step; None: all of them.
        """
        after, new_states = before, []
        lr_factor_N = self._schedules.lr_factor(step_N)
        for group, old in zip(self._groups, optimizers, strict=True):
            rates = group.rates.at(group.rows(step_N), group.rows(lr_factor_N))
            moved, new = group.optimizer.update(group.rows(before), group.rows(grad), old, rates)
            if finite_N is not None:
                finite_M = group.rows(finite_N)
                new = {name: where_lanes(finite_M, value, old[name]) for name, value in new.items()}
            new_states.append(new)
            if group.index_M is not None:
                moved = after.index_copy(0, group.index_M, moved)
            after = moved
        after = torch.where(self._clamp_N111, after.clamp(0, 1), after)
        return (after if finite_N is None else where_lanes(finite_N, after, before)), new_states

    def _balanced(
        self, balance_N: Tensor, terms: LossTerms, pixels: Tensor, due: Sequence[bool]
    ) -> Tensor:
        """Return the style factors, measured anew in the lanes where that is due."""
        norms = []
        for term_N in (terms.content, terms.style):
            (grad,) = torch.autograd.grad(term_N.sum(), pixels, retain_graph=True)
            norms.append(grad.flatten(1).square().sum(1).sqrt())
        due_N = torch.tensor(due, device=balance_N.device)
        return torch.where(due_N, self._schedules.balanced(balance_N, *norms), balance_N)

    def _kept(self, before: Tensor, after: Tensor, loss_N: Tensor, old: State) -> State:
        """Return the images that lanes keep besides the last one: an average, or the best one.

        Args:
            before: the images whose losses are ``loss_N``.
            after: the images after the step.
            loss_N: total loss of each lane, without its weight schedule.
            old: the shared state before the step.
        """
        decay_N = self._ema_N
        average = decay_N[:, None, None, None] * old["kept"]
        average = average + (1 - decay_N)[:, None, None, None] * after
        better_N = self._best_N & (loss_N < old["kept_loss"])
        best = where_lanes(better_N, before, old["kept"])
        weight_N = decay_N * old["kept_weight"] + 1 - decay_N
        return {
            "kept": where_lanes(self._best_N, best, average),
            "kept_weight": torch.where(self._best_N, torch.ones_like(decay_N), weight_N),
            "kept_loss": torch.where(better_N, loss_N, old["kept_loss"]),
        }


def _by_optimizer(configs: Sequence[StyleConfig], device: torch.device) -> list[_OptimizerGroup]:
    lanes_of: dict[LaneOptimizer, list[int]] = {}
    for lane, config in enumerate(configs):
        lanes_of.setdefault(optimizer_of(config), []).append(lane)
    return [
        _OptimizerGroup(
            optimizer=optimizer,
            lanes=tuple(lanes),
            index_M=None if len(lanes_of) == 1 else torch.tensor(lanes, device=device),
            rates=Rates.of([configs[lane] for lane in lanes], device),
        )
        for optimizer, lanes in lanes_of.items()
    ]


def _stacked(store: FeatureStore, states: Sequence[Mapping[str, Tensor]]) -> State:
    """Return the optimizer state of several lanes as tensors with a lane axis."""
    stacked = {}
    for name in states[0]:
        if name.startswith(OPTIMIZER):
            value = torch.stack([store.place(state[name]) for state in states])
            is_image = value.ndim == 4
            key = name.removeprefix(OPTIMIZER)
            stacked[key] = value.contiguous(memory_format=MEMORY_FORMAT) if is_image else value
    return stacked
