"""Optimizers over a batch of independent lanes.

An optimizer is frozen; its state is a dict of tensors whose first axis is the lane, owned by the
caller, who can therefore add, drop, save and load lanes without knowing the algorithm. Every number
that a lane may choose comes as a vector over the lanes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.config import StyleConfig

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What lanes may set for themselves, float64 vectors over N lanes.

    Attributes:
        step: counts from 1, the step that is being taken.
        lr, beta1, beta2, momentum, weight_decay: as in `StyleConfig`; ``lr`` as scheduled.
    """

    lr: Tensor
    beta1: Tensor
    beta2: Tensor
    momentum: Tensor
    weight_decay: Tensor
    step: Tensor

    @classmethod
    def of(cls, configs: Sequence[StyleConfig], device: torch.device) -> Rates:
        """The lanes' settings at step 0."""
        names = [spec.name for spec in fields(cls) if spec.name != "step"]
        like = torch.empty(0, device=device, dtype=torch.float64)
        vectors = {name: like.new_tensor([getattr(c, name) for c in configs]) for name in names}
        return cls(**vectors, step=like.new_zeros(len(configs)))

    def at(self, step: Tensor, lr_factor: Tensor) -> Rates:
        """At step ``step`` (from 1), with the learning rate scaled by its schedule."""
        return replace(self, step=step.double(), lr=self.lr * lr_factor)


class LaneOptimizer(Protocol):
    """Updates N lanes at once; no lane's update may depend on another lane."""

    def init(self, x_N3HW: Tensor) -> State:
        """State of fresh lanes."""
        ...

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """One step. Returns the new pixels and the new state; changes neither argument."""
        ...

    def rescale(self, state: State, height: int, width: int) -> State:
        """The state for the same pictures at another size."""
        ...


class _Moments:
    """What Adam and LAMB remember: decaying means of the gradient and of its square."""

    eps: float

    def init(self, x_N3HW: Tensor) -> State:
        """Zero moments."""
        return {"mean": torch.zeros_like(x_N3HW), "square": torch.zeros_like(x_N3HW)}

    def rescale(self, state: State, height: int, width: int) -> State:
        """Moments carried over, as crowsonkb/style-transfer-pytorch does."""
        square = resample(state["square"], height, width, mode="bilinear").clamp_min(0)
        return {"mean": resample(state["mean"], height, width), "square": square}

    def direction(self, grad: Tensor, state: State, rates: Rates) -> tuple[Tensor, State]:
        """Bias-corrected mean over the root of the corrected square plus eps; new moments."""
        mean = state["mean"].lerp(grad, _per_lane(1 - rates.beta1, grad))
        square = state["square"] * _per_lane(rates.beta2, grad)
        square = square + grad.square() * _per_lane(1 - rates.beta2, grad)
        # In double: 1 - beta^t loses most of its digits in single precision at small t.
        bias1_N = 1 - rates.beta1**rates.step
        bias2_N = (1 - rates.beta2**rates.step).sqrt()
        root = square.sqrt() / _per_lane(bias2_N, grad) + self.eps
        direction = mean / _per_lane(bias1_N, grad) / root
        return direction, {"mean": mean, "square": square}


@dataclass(frozen=True, kw_only=True)
class Adam(_Moments):
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1), in the order of torch.optim.Adam.

    Attributes:
        decoupled: AdamW (Loshchilov & Hutter, arXiv 1711.05101): the pixels themselves decay.
        eps: keeps the quotient finite.
    """

    decoupled: bool = False
    eps: float = 1e-8

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """One step of every lane."""
        direction, moments = self.direction(grad_N3HW, state, rates)
        if self.decoupled:
            x_N3HW = x_N3HW * _per_lane(1 - rates.lr * rates.weight_decay, x_N3HW)
        return x_N3HW - _per_lane(rates.lr, x_N3HW) * direction, moments


@dataclass(frozen=True, kw_only=True)
class Lamb(_Moments):
    """LAMB (You et al., arXiv 1904.00962, algorithm 2), each lane's image being one layer."""

    eps: float = 1e-6

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """One step of every lane, as long as its image times the learning rate."""
        direction, moments = self.direction(grad_N3HW, state, rates)
        step = direction + _per_lane(rates.weight_decay, x_N3HW) * x_N3HW
        size_N, step_size_N = _norm(x_N3HW), _norm(step)
        usable_N = (size_N > 0) & (step_size_N > 0)
        trust_N = torch.where(usable_N, size_N / step_size_N, torch.ones_like(size_N))
        return x_N3HW - _per_lane(rates.lr * trust_N, x_N3HW) * step, moments


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Gradient descent with momentum, as torch.optim.SGD without dampening."""

    def init(self, x_N3HW: Tensor) -> State:
        """No momentum yet."""
        return {"momentum": torch.zeros_like(x_N3HW)}

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """One step of every lane."""
        momentum = state["momentum"] * _per_lane(rates.momentum, x_N3HW) + grad_N3HW
        return x_N3HW - _per_lane(rates.lr, x_N3HW) * momentum, {"momentum": momentum}

    def rescale(self, state: State, height: int, width: int) -> State:
        """Momentum carried over."""
        return {"momentum": resample(state["momentum"], height, width)}


@dataclass(frozen=True, kw_only=True)
class Lbfgs:
    """L-BFGS (Nocedal & Wright, algorithm 7.5) with one evaluation a step and no line search.

    Each lane has a history and dot products of its own. Curvature pairs are of the movement that
    really happened, so clamping the pixels after a step does not corrupt them. Other than
    torch.optim.LBFGS, nothing here depends on the scale of the loss: which pairs are taken is
    judged by their angle, and the first step, for which there is no curvature yet, moves the
    pixels by `FIRST_STEP` root mean square, where torch's would not move them at all when the loss
    is small.

    Attributes:
        history: pairs remembered.
    """

    history: int = 10

    #: Root mean square of the first step, times the learning rate, in pixel units.
    FIRST_STEP = 0.01
    #: No step moves a pixel farther than this, times the learning rate.
    LONGEST_MOVE = 1.0
    #: A pair is taken if the cosine between its movement and its gradient change is above this.
    MIN_COSINE = 1e-8

    def init(self, x_N3HW: Tensor) -> State:
        """An empty history."""
        lanes = x_N3HW.shape[0]
        pairs_NKP = x_N3HW.new_zeros(lanes, self.history, x_N3HW[0].numel())
        return {
            "moves": pairs_NKP,
            "changes": pairs_NKP.clone(),
            "last_x": x_N3HW.clone(),
            "last_grad": torch.zeros_like(x_N3HW),
            "evaluations": x_N3HW.new_zeros(lanes),
        }

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """One step of every lane."""
        grad_NP = grad_N3HW.flatten(1)
        moves, changes = self._remember(x_N3HW, grad_N3HW, state)
        direction_NP = -self._inverse_hessian_times(grad_NP, moves, changes)
        known_N = _dot(moves[:, -1], moves[:, -1]) > 0
        size_N = grad_NP.square().mean(1).sqrt()
        first_NP = -grad_NP * (self.FIRST_STEP / size_N.clamp_min(_tiny(size_N)))[:, None]
        step_NP = torch.where(known_N[:, None], direction_NP, first_NP)
        farthest_N = step_NP.abs().amax(1)
        allowed_N = self.LONGEST_MOVE / farthest_N.clamp_min(self.LONGEST_MOVE)
        rate_N = rates.lr.to(step_NP.dtype) * allowed_N
        moved = x_N3HW + (step_NP * rate_N[:, None]).view_as(x_N3HW)
        return moved, {
            "moves": moves,
            "changes": changes,
            "last_x": x_N3HW,
            "last_grad": grad_N3HW,
            "evaluations": state["evaluations"] + 1,
        }

    def _remember(self, x: Tensor, grad: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """The history with the last movement as its newest pair, where that is of use."""
        move_NP = (x - state["last_x"]).flatten(1)
        change_NP = (grad - state["last_grad"]).flatten(1)
        size_N = _dot(move_NP, move_NP).sqrt() * _dot(change_NP, change_NP).sqrt()
        bends_up_N = _dot(move_NP, change_NP) > self.MIN_COSINE * size_N
        use_N11 = (bends_up_N & (state["evaluations"] > 0))[:, None, None]
        return tuple(
            torch.where(use_N11, torch.cat([old[:, 1:], new[:, None]], dim=1), old)
            for old, new in ((state["moves"], move_NP), (state["changes"], change_NP))
        )  # type: ignore[return-value]

    def _inverse_hessian_times(self, grad_NP: Tensor, moves: Tensor, changes: Tensor) -> Tensor:
        """The two-loop recursion; empty places of the history contribute nothing."""
        curvature_NK = (moves * changes).sum(2)
        rho_NK = torch.where(curvature_NK > 0, 1 / curvature_NK, torch.zeros_like(curvature_NK))
        result = grad_NP
        alphas: list[Tensor] = []
        for k in reversed(range(self.history)):
            alpha_N = rho_NK[:, k] * _dot(moves[:, k], result)
            result = result - alpha_N[:, None] * changes[:, k]
            alphas.append(alpha_N)
        newest = _dot(changes[:, -1], changes[:, -1])
        scale_N = torch.where(newest > 0, curvature_NK[:, -1] / newest, torch.ones_like(newest))
        result = result * scale_N[:, None]
        for k, alpha_N in zip(range(self.history), reversed(alphas), strict=True):
            beta_N = rho_NK[:, k] * _dot(changes[:, k], result)
            result = result + (alpha_N - beta_N)[:, None] * moves[:, k]
        return result

    def rescale(self, state: State, height: int, width: int) -> State:
        """An empty history: curvature at one size says little about another."""
        return self.init(resample(state["last_x"], height, width))


def optimizer_of(config: StyleConfig) -> LaneOptimizer:
    """The optimizer that a configuration names."""
    optimizers: Mapping[str, LaneOptimizer] = {
        "adam": Adam(),
        "adamw": Adam(decoupled=True),
        "sgd": Sgd(),
        "lamb": Lamb(),
        "lbfgs": Lbfgs(history=config.lbfgs_history),
    }
    return optimizers[config.optimizer]


def resample(image_NCHW: Tensor, height: int, width: int, mode: str = "bicubic") -> Tensor:
    """Any image-like tensor at another size, not clamped."""
    return F.interpolate(
        image_NCHW, size=(height, width), mode=mode, align_corners=False, antialias=True
    )


def _per_lane(values_N: Tensor, like: Tensor) -> Tensor:
    return values_N.to(like.dtype)[:, None, None, None]


def _dot(a_NP: Tensor, b_NP: Tensor) -> Tensor:
    return (a_NP * b_NP).sum(1)


def _norm(x_N3HW: Tensor) -> Tensor:
    return x_N3HW.flatten(1).square().sum(1).sqrt()


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny
