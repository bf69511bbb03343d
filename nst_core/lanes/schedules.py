"""Schedules: learning rate, style weight and image size as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.config import MIN_SIDE_PX, SCALE_STEP, StyleConfig
from nst_core.images.sizes import scaled_size
from nst_core.networks.rowwise import Rowwise

#: Steps between two measurements of gradient norms under ``weight_schedule: balance``; each
#: measurement costs another backward pass.
BALANCE_EVERY = 10


class Stage(NamedTuple):
    """One image size of a multi-scale run.

    Attributes:
        size_px: longer side of the image in pixels.
        until: the step after which the stage ends.
    """

    size_px: int
    until: int


def stages(config: StyleConfig, height: int, width: int) -> tuple[Stage, ...]:
    """Return the image sizes of a run, from coarse to fine.

    Args:
        config: ``scales`` is the number of sizes, ``horizon`` the number of steps.
        height: full height in pixels.
        width: full width in pixels.

    Returns:
        At least one stage; the last one has the full size. Sizes whose shorter side would be below
        `MIN_SIDE_PX` are left out. The first stage takes twice as many steps as each of the others:
        its steps are cheap, and the image changes most.
    """
    longer = max(height, width)
    sizes = [round(longer / SCALE_STEP**k) for k in reversed(range(config.scales))]
    sizes = [s for s in sizes if min(scaled_size(width, height, s)) >= MIN_SIDE_PX] or [longer]
    sizes = sorted(set(sizes))[-config.horizon :]  # each size needs at least one step
    shares = len(sizes) + (len(sizes) > 1)
    ends: list[int] = []
    for k in range(len(sizes) - 1):
        earliest = (ends[-1] if ends else 0) + 1
        latest = config.horizon - (len(sizes) - 1 - k)
        ends.append(min(max(round(config.horizon * (k + 2) / shares), earliest), latest))
    return tuple(map(Stage, sizes, [*ends, config.horizon]))


def stage_at(plan: Sequence[Stage], step: int) -> Stage:
    """Return the stage of the step that follows ``step``; the last one at and after the end."""
    return next((stage for stage in plan if step < stage.until), plan[-1])


def starts_from_content(config: StyleConfig) -> bool:
    """Return whether the initial image is the content itself, so that its content loss is zero."""
    return config.init == "content" or (config.init == "mix" and not config.init_noise)


def balance_due(config: StyleConfig, step: int) -> bool:
    """Return whether a lane measures its gradient norms before its next step.

    A lane that starts from the content does not measure before its first step: its content gradient
    would be rounding error, which depends on the other lanes of the batch.

    Args:
        config: settings of the lane.
        step: number of steps done.
    """
    if config.weight_schedule != "balance" or step % BALANCE_EVERY:
        return False
    return step > 0 or not starts_from_content(config)


class Schedules(Rowwise):
    """Learning rates and style weights of N lanes as functions of their steps.

    Args:
        configs: settings of the lanes.
        device: where to place the vectors.
    """

    def __init__(self, configs: Sequence[StyleConfig], device: torch.device):
        # One copy to the device for all of them.
        vectors = torch.tensor(
            [
                [c.horizon for c in configs],
                [c.warmup_steps for c in configs],
                [c.lr_schedule == "cosine" for c in configs],
                [c.ramp_start if c.weight_schedule == "ramp" else 1.0 for c in configs],
                [c.balance_ratio for c in configs],
                [c.weight_schedule == "balance" for c in configs],
            ],
            device=device,
            dtype=torch.float64,
        )
        self._horizon_N, self._warmup_N, cosine_N, *others_N = vectors.unbind()
        self._ramp_start_N, self._balance_ratio_N, balances_N = others_N
        self._cosine_N, self._balances_N = cosine_N.bool(), balances_N.bool()

    def lr_factor(self, step_N: Tensor) -> Tensor:
        """Return factor_N of the learning rates for step ``step_N`` (from 1): float64 in (0, 1].

        Linear warm-up, then constant or half a cosine down to zero (Loshchilov & Hutter, arXiv
        1608.03983, without restarts).
        """
        step_N = step_N.double()
        warmup_N = (step_N / self._warmup_N.clamp_min(1)).clamp_max(1)
        length_N = (self._horizon_N - self._warmup_N).clamp_min(1)
        progress_N = ((step_N - 1 - self._warmup_N) / length_N).clamp(0, 1)
        cosine_N = 0.5 * (1 + torch.cos(math.pi * progress_N))
        return warmup_N * torch.where(self._cosine_N, cosine_N, torch.ones_like(cosine_N))

    def style_factor(self, step_N: Tensor, balance_N: Tensor) -> Tensor:
        """Return factor_N of the style weights for step ``step_N`` (from 1), float64.

        ``weight_schedule: ramp`` is linear from ``ramp_start`` at the first step to 1 at the last.

        Args:
            step_N: the step that is taken.
            balance_N: factors that `balanced` returned; used by lanes with
                ``weight_schedule: balance``.
        """
        progress_N = (step_N.double() - 1) / (self._horizon_N - 1).clamp_min(1)
        ramp_N = self._ramp_start_N + (1 - self._ramp_start_N) * progress_N.clamp(0, 1)
        return torch.where(self._balances_N, balance_N.double(), ramp_N)

    def balanced(self, factor_N: Tensor, content_N: Tensor, style_N: Tensor) -> Tensor:
        """Return new style factors, from the norms of the content and the style gradient.

        The new factor is the geometric mean of the old one and of the one that gives
        ``balance_ratio``, since a single measurement is noisy (after GradNorm, Chen et al., arXiv
        1711.02257). The factor does not change where either gradient is zero.

        Args:
            factor_N: old style factors.
            content_N: norms of the gradients of the content loss.
            style_N: norms of the gradients of the style loss with factor 1.
        """
        wanted_N = self._balance_ratio_N * content_N.double() / style_N.double()
        usable_N = torch.isfinite(wanted_N) & (wanted_N > 0)
        mixed_N = (factor_N.double() * wanted_N).sqrt().clamp(1e-6, 1e6)
        return torch.where(usable_N, mixed_N, factor_N.double()).to(factor_N.dtype)
