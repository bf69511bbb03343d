"""LaneStep: one step of all lanes of a batch, as a function of their state.

Lanes with the same optimizer are updated together; each lane keeps its own settings and state. The
parameters of a step, such as rates, weights and targets, are rows (`Rowwise`), one per lane, and so
is its state.

In shapes, N is the number of lanes and M the number of lanes with one optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.lane_state import OPTIMIZER, LaneState
from nst_core.lanes.optimizers import LaneOptimizer, Rates, State, optimizer_of
from nst_core.lanes.schedules import Schedules
from nst_core.losses.batch_loss import BatchLoss, Losses, LossTerms
from nst_core.losses.inputs import LossInputs
from nst_core.losses.loss_kinds import LossKinds
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.precision import LossScaler, where_lanes
from nst_core.networks.rowwise import Rowwise


@dataclass(frozen=True, kw_only=True)
class SteppedLane:
    """A lane as a step sees it: its settings, its images at the current size, its state."""

    config: StyleConfig
    inputs: LossInputs
    state: LaneState


@dataclass(frozen=True, kw_only=True)
class StepKinds:
    """What a step computes, whatever the settings of each lane.

    Attributes:
        losses: terms of the losses.
        optimizers: optimizers that lanes use.
        flags: what else a step does: ``keep`` images besides the last one, ``balance`` losses.
    """

    losses: LossKinds
    optimizers: frozenset[LaneOptimizer]
    flags: frozenset[str]

    @classmethod
    def of(cls, lanes: Sequence[tuple[StyleConfig, LossInputs]]) -> StepKinds:
        """Return what a step of some lanes computes."""
        configs = [config for config, _ in lanes]
        flags = {
            "keep": any(c.keep != "last" for c in configs),
            "balance": any(c.weight_schedule == "balance" for c in configs),
        }
        return cls(
            losses=LossKinds.of(lanes),
            optimizers=frozenset(map(optimizer_of, configs)),
            flags=frozenset(name for name, is_set in flags.items() if is_set),
        )

    def covers(self, other: StepKinds) -> bool:
        """Return whether lanes of the other kinds can take part in a step of these."""
        return (
            self.losses.covers(other.losses)
            and self.optimizers >= other.optimizers
            and self.flags >= other.flags
        )

    @property
    def terms(self) -> int:
        """Number of loss terms and optimizers, a measure of the work."""
        return self.losses.terms + len(self.optimizers)

    @property
    def recordable(self) -> bool:
        """Whether such a step can be recorded as a CUDA graph.

        Balancing needs a decision of the host before a step, which a graph cannot contain.
        """
        return self.losses.recordable and "balance" not in self.flags


@dataclass(frozen=True, kw_only=True)
class BatchState(Rowwise):
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


@dataclass(frozen=True, kw_only=True)
class _OptimizerGroup(Rowwise):
    """The lanes that share an optimizer.

    Attributes:
        lanes: positions of the lanes; None: every lane has a row, whether or not it is used.
        index_M: the same positions as an int64 tensor; None if all lanes have a row.
        uses_N: which rows are used; None: all of them.
    """

    optimizer: LaneOptimizer
    lanes: tuple[int, ...] | None
    index_M: Tensor | None
    uses_N: Tensor | None
    rates: Rates

    def rows(self, value_N: Tensor) -> Tensor:
        return value_N if self.index_M is None else value_N[self.index_M]

    def placed(self, moved_M: Tensor, images_N3HW: Tensor) -> Tensor:
        """Return the images with those of the group's lanes replaced."""
        if self.uses_N is not None:
            return where_lanes(self.uses_N, moved_M, images_N3HW)
        if self.index_M is not None:
            return images_N3HW.index_copy(0, self.index_M, moved_M)
        return moved_M


class LaneStep(Rowwise):
    """One step of N lanes of one `GroupKey`.

    Args:
        store: extractors and targets.
        lanes: the lanes; if ``kinds`` is None, deepest network layer first (`depth_of`).
        kinds: compute all of this for every lane, so that lanes can be exchanged; None: compute
            for each lane only what it needs.

    Attributes:
        null_loss_N: loss of an image without features; a loss far above it has exploded.
    """

    def __init__(
        self, store: FeatureStore, lanes: Sequence[SteppedLane], kinds: StepKinds | None = None
    ):
        configs = [lane.config for lane in lanes]
        device, dtype = store.device, store.dtype
        self._store, self._precision = store, configs[0].precision
        self._schedules = Schedules(configs, device)
        self._groups = (
            _by_optimizer(configs, device)
            if kinds is None
            else _for_all(configs, kinds.optimizers, device)
        )
        clamp = torch.tensor([c.clamp == "step" for c in configs], device=device)
        self._clamp_N111 = clamp[:, None, None, None]
        decays = [c.ema_decay if c.keep == "ema" else 0.0 for c in configs]
        self._ema_N = torch.tensor(decays, device=device, dtype=dtype)
        self._best_N = torch.tensor([c.keep == "best" for c in configs], device=device)
        pairs = [(lane.config, lane.inputs) for lane in lanes]
        self._keeps = "keep" in (kinds or StepKinds.of(pairs)).flags
        self._loss = BatchLoss(store, pairs, None if kinds is None else kinds.losses)
        store.trim()

    @property
    def null_loss_N(self) -> Tensor:
        """Loss of an image without features; a loss far above it has exploded."""
        return self._loss.null_loss_N

    def state_of(self, lanes: Sequence[SteppedLane]) -> BatchState:
        """Return the states of the lanes, stacked."""
        states = [lane.state for lane in lanes]
        place = self._store.place
        images = torch.stack([place(state.image_3HW) for state in states])
        images = images.contiguous(memory_format=MEMORY_FORMAT)
        return BatchState(
            images_N3HW=images,
            step_N=torch.tensor([state.step for state in states], device=self._store.device),
            shared={
                name: torch.stack([place(state.state[name]) for state in states])
                for name in states[0].state
                if not name.startswith(OPTIMIZER)
            },
            optimizers=[self._optimizer_state(group, lanes, images) for group in self._groups],
        )

    def _optimizer_state(
        self, group: _OptimizerGroup, lanes: Sequence[SteppedLane], images_N3HW: Tensor
    ) -> State:
        """Return the state of one optimizer; rows that do not use it are fresh."""
        rows: list[State] = []
        for position in range(len(lanes)) if group.lanes is None else group.lanes:
            if optimizer_of(lanes[position].config) == group.optimizer:
                state = lanes[position].state.state
                rows.append(
                    {
                        name.removeprefix(OPTIMIZER): self._store.place(value)
                        for name, value in state.items()
                        if name.startswith(OPTIMIZER)
                    }
                )
            else:
                fresh = group.optimizer.init(images_N3HW[position][None])
                rows.append({name: value[0] for name, value in fresh.items()})
        stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {
            name: value.contiguous(memory_format=MEMORY_FORMAT) if value.ndim == 4 else value
            for name, value in stacked.items()
        }

    def lane_state(
        self, state: BatchState, index: int, config: StyleConfig, step: int
    ) -> LaneState:
        """Return the state of one lane as views, which the next step may overwrite."""
        values = {name: value[index] for name, value in state.shared.items()}
        for group, rows in zip(self._groups, state.optimizers, strict=True):
            if group.optimizer == optimizer_of(config):
                row = index if group.lanes is None else group.lanes.index(index)
                values.update({OPTIMIZER + name: value[row] for name, value in rows.items()})
        return LaneState(step=step, image_3HW=state.images_N3HW[index].detach(), state=values)

    def __call__(
        self, state: BatchState, balance_due: Sequence[bool] = ()
    ) -> tuple[Losses, BatchState]:
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
        new_state = BatchState(
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
            after = group.placed(moved, after)
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
            uses_N=None,
            rates=Rates.of([configs[lane] for lane in lanes], device),
        )
        for optimizer, lanes in lanes_of.items()
    ]


def _for_all(
    configs: Sequence[StyleConfig], optimizers: frozenset[LaneOptimizer], device: torch.device
) -> list[_OptimizerGroup]:
    """Return groups in which every lane has a row, in a fixed order."""
    return [
        _OptimizerGroup(
            optimizer=optimizer,
            lanes=None,
            index_M=None,
            uses_N=torch.tensor([optimizer_of(c) == optimizer for c in configs], device=device),
            rates=Rates.of(configs, device),
        )
        for optimizer in sorted(optimizers, key=repr)
    ]
