"""Optimizers: Adam, AdamW, LAMB, SGD and L-BFGS over a batch of independent lanes.

An optimizer object is immutable. The caller owns its state, a dict of tensors whose first axis is
the lane, and can therefore add, remove, save and load lanes without knowing the algorithm:

========== =================== ====================================================================
optimizer  class               state, one entry per lane
========== =================== ====================================================================
adam(w)    `Adam`              ``mean``, ``square``: Adam's first and second moment, like the pixels
lamb       `Lamb`              the same two moments
sgd        `Sgd`               ``momentum``, like the pixels
lbfgs      `Lbfgs`             ``moves``, ``changes``: curvature pairs; ``last_x``, ``last_grad``
========== =================== ====================================================================

Settings that may differ between lanes, such as the learning rate, are vectors over the lanes
(`Rates`). In shapes, N is the number of lanes, P the number of values of an image (3 H W) and K the
number of curvature pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.config import StyleConfig
from nst_core.networks.rowwise import Rowwise

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Rates(Rowwise):
    """Settings that may differ between lanes, as float64 vectors over N lanes.

    Attributes:
        lr: learning rate, with its schedule applied.
        beta1: decay of Adam's first moment, see `StyleConfig`.
        beta2: decay of Adam's second moment.
        momentum: momentum of SGD.
        weight_decay: weight decay of AdamW and LAMB.
        step: the step that is being taken, from 1.
    """

    lr: Tensor
    beta1: Tensor
    beta2: Tensor
    momentum: Tensor
    weight_decay: Tensor
    step: Tensor

    @classmethod
    def of(cls, configs: Sequence[StyleConfig], device: torch.device) -> Rates:
        """Return the settings of some lanes at step 0."""
        names = [spec.name for spec in fields(cls) if spec.name != "step"]
        like = torch.empty(0, device=device, dtype=torch.float64)
        # One copy to the device for all of them.
        vectors = like.new_tensor([[getattr(c, name) for c in configs] for name in names])
        return cls(**dict(zip(names, vectors, strict=True)), step=like.new_zeros(len(configs)))

    def at(self, step: Tensor, lr_factor: Tensor) -> Rates:
        """Return the settings at ``step`` (from 1), with learning rates times ``lr_factor``."""
        return replace(self, step=step.double(), lr=self.lr * lr_factor)


class LaneOptimizer(Protocol):
    """Interface: updates N lanes at once; no lane's update may depend on another lane."""

    def init(self, x_N3HW: Tensor) -> State:
        """Return the state of lanes before their first step."""
        ...

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """Take one step; return the new pixels and the new state, and change no argument."""
        ...

    def rescale(self, state: State, height: int, width: int) -> State:
        """Return the state for the same images at another size in pixels."""
        ...


class _AdamMoments:
    """The moments of Adam and LAMB: decaying means of the gradient and of its square."""

    eps: float

    def init(self, x_N3HW: Tensor) -> State:
        """Return zero moments."""
        return {"mean": torch.zeros_like(x_N3HW), "square": torch.zeros_like(x_N3HW)}

    def rescale(self, state: State, height: int, width: int) -> State:
        """Return resampled moments, like crowsonkb/style-transfer-pytorch."""
        square = resample(state["square"], height, width, mode="bilinear").clamp_min(0)
        return {"mean": resample(state["mean"], height, width), "square": square}

    def direction(self, grad: Tensor, state: State, rates: Rates) -> tuple[Tensor, State]:
        """Return ``m / (sqrt(v) + eps)`` with bias-corrected moments m and v, and new moments."""
        mean = state["mean"].lerp(grad, _per_lane(1 - rates.beta1, grad))
        square = state["square"] * _per_lane(rates.beta2, grad)
        square = square + grad.square() * _per_lane(1 - rates.beta2, grad)
        # In float64: 1 - beta^t loses most of its digits in float32 at small t.
        bias1_N = 1 - rates.beta1**rates.step
        bias2_N = (1 - rates.beta2**rates.step).sqrt()
        root = square.sqrt() / _per_lane(bias2_N, grad) + self.eps
        direction = mean / _per_lane(bias1_N, grad) / root
        return direction, {"mean": mean, "square": square}


@dataclass(frozen=True, kw_only=True)
class Adam(_AdamMoments):
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1), in the order of torch.optim.Adam.

    Attributes:
        decoupled: AdamW (Loshchilov & Hutter, arXiv 1711.05101): weight decay shrinks the pixels
            directly instead of through the gradient.
        eps: term that keeps the quotient finite.
    """

    decoupled: bool = False
    eps: float = 1e-8

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """Take one step of every lane."""
        direction, moments = self.direction(grad_N3HW, state, rates)
        if self.decoupled:
            x_N3HW = x_N3HW * _per_lane(1 - rates.lr * rates.weight_decay, x_N3HW)
        return x_N3HW - _per_lane(rates.lr, x_N3HW) * direction, moments


@dataclass(frozen=True, kw_only=True)
class Lamb(_AdamMoments):
    """LAMB (You et al., arXiv 1904.00962, algorithm 2); each lane's image is one layer."""

    eps: float = 1e-6

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """Take a step whose norm is that of the lane's image, times the learning rate."""
        direction, moments = self.direction(grad_N3HW, state, rates)
        step = direction + _per_lane(rates.weight_decay, x_N3HW) * x_N3HW
        size_N, step_size_N = _norm(x_N3HW), _norm(step)
        usable_N = (size_N > 0) & (step_size_N > 0)
        trust_N = torch.where(usable_N, size_N / step_size_N, torch.ones_like(size_N))
        return x_N3HW - _per_lane(rates.lr * trust_N, x_N3HW) * step, moments


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Gradient descent with momentum, like torch.optim.SGD without dampening."""

    def init(self, x_N3HW: Tensor) -> State:
        """Return zero momentum."""
        return {"momentum": torch.zeros_like(x_N3HW)}

    def update(
        self, x_N3HW: Tensor, grad_N3HW: Tensor, state: State, rates: Rates
    ) -> tuple[Tensor, State]:
        """Take one step of every lane."""
        momentum = state["momentum"] * _per_lane(rates.momentum, x_N3HW) + grad_N3HW
        return x_N3HW - _per_lane(rates.lr, x_N3HW) * momentum, {"momentum": momentum}

    def rescale(self, state: State, height: int, width: int) -> State:
        """Return resampled momentum."""
        return {"momentum": resample(state["momentum"], height, width)}


@dataclass(frozen=True, kw_only=True)
class Lbfgs:
    """L-BFGS (Nocedal & Wright, algorithm 7.5) with one evaluation per step and no line search.

    Each lane has its own history and its own dot products. A curvature pair uses the movement that
    really happened, so it stays valid if the pixels are clamped after a step. Unlike
    torch.optim.LBFGS, this optimizer does not depend on the scale of the loss. A pair is accepted
    by its angle. The first step, before there is any curvature, moves the pixels by `FIRST_STEP`
    (root mean square), where torch's first step vanishes with a small loss.

    Attributes:
        history: number of curvature pairs that are kept.
    """

    history: int = 10

    #: Root mean square of the first step in pixel units, before the learning rate.
    FIRST_STEP = 0.01
    #: Largest movement of a pixel in one step, before the learning rate.
    LONGEST_MOVE = 1.0
    #: A pair is accepted if the cosine between its movement and its gradient change exceeds this.
    MIN_COSINE = 1e-8

    def init(self, x_N3HW: Tensor) -> State:
        """Return an empty history."""
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
        """Take one step of every lane."""
        grad_NP = grad_N3HW.flatten(1)
        moves, changes = self._with_last_pair(x_N3HW, grad_N3HW, state)
        direction_NP = -self._inverse_hessian_times(grad_NP, moves, changes)
        has_curvature_N = _dot(moves[:, -1], moves[:, -1]) > 0
        size_N = grad_NP.square().mean(1).sqrt().clamp_min(torch.finfo(grad_NP.dtype).tiny)
        first_NP = -grad_NP * (self.FIRST_STEP / size_N)[:, None]
        step_NP = torch.where(has_curvature_N[:, None], direction_NP, first_NP)
        longest_N = step_NP.abs().amax(1)
        shrink_N = self.LONGEST_MOVE / longest_N.clamp_min(self.LONGEST_MOVE)
        rate_N = rates.lr.to(step_NP.dtype) * shrink_N
        moved = x_N3HW + (step_NP * rate_N[:, None]).view_as(x_N3HW)
        return moved, {
            "moves": moves,
            "changes": changes,
            "last_x": x_N3HW,
            "last_grad": grad_N3HW,
            "evaluations": state["evaluations"] + 1,
        }

    def _with_last_pair(self, x: Tensor, grad: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Return moves_NKP and changes_NKP with the last step as newest pair, where accepted."""
        move_NP = (x - state["last_x"]).flatten(1)
        change_NP = (grad - state["last_grad"]).flatten(1)
        size_N = _dot(move_NP, move_NP).sqrt() * _dot(change_NP, change_NP).sqrt()
        bends_up_N = _dot(move_NP, change_NP) > self.MIN_COSINE * size_N
        accepted_N11 = (bends_up_N & (state["evaluations"] > 0))[:, None, None]
        return tuple(
            torch.where(accepted_N11, torch.cat([old[:, 1:], new[:, None]], dim=1), old)
            for old, new in ((state["moves"], move_NP), (state["changes"], change_NP))
        )  # type: ignore[return-value]

    def _inverse_hessian_times(self, grad_NP: Tensor, moves: Tensor, changes: Tensor) -> Tensor:
        """Return the two-loop recursion's product; empty history entries contribute nothing."""
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
        """Return an empty history: curvature at one size says little about another size."""
        return self.init(resample(state["last_x"], height, width))


def optimizer_of(config: StyleConfig) -> LaneOptimizer:
    """Return the optimizer of a configuration."""
    optimizers: Mapping[str, LaneOptimizer] = {
        "adam": Adam(),
        "adamw": Adam(decoupled=True),
        "sgd": Sgd(),
        "lamb": Lamb(),
        "lbfgs": Lbfgs(history=config.lbfgs_history),
    }
    return optimizers[config.optimizer]


def resample(image_NCHW: Tensor, height: int, width: int, mode: str = "bicubic") -> Tensor:
    """Return an image-like tensor at another size in pixels, not clamped."""
    return F.interpolate(
        image_NCHW, size=(height, width), mode=mode, align_corners=False, antialias=True
    )


def _per_lane(values_N: Tensor, like: Tensor) -> Tensor:
    return values_N.to(like.dtype)[:, None, None, None]


def _dot(a_NP: Tensor, b_NP: Tensor) -> Tensor:
    return (a_NP * b_NP).sum(1)


def _norm(x_N3HW: Tensor) -> Tensor:
    return x_N3HW.flatten(1).square().sum(1).sqrt()
