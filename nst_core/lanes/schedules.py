"""How learning rate, style weight and image size change over a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.config import MIN_SIDE_PX, SCALE_STEP, StyleConfig
from nst_core.images.sizes import scaled_size

#: Steps between two measurements of the gradients' norms under ``weight_schedule: balance``; each
#: costs another backward pass.
BALANCE_EVERY = 10


class Stage(NamedTuple):
    """One size of a multi-scale run.

    Attributes:
        size_px: longer side.
        until: the step at which it ends.
    """

    size_px: int
    until: int


def stages(config: StyleConfig, height: int, width: int) -> tuple[Stage, ...]:
    """The sizes that a run goes through, coarse to fine.

    Args:
        config: its ``scales`` and ``horizon``.
        height: of the full size in pixels.
        width: of the full size in pixels.

    Returns:
        At least one stage; the last has the full size. Sizes whose shorter side would fall below
        `MIN_SIDE_PX` are left out. The first stage takes two shares of the steps, as its steps are
        cheap and have the farthest way to go, the others one.
    """
    longer = max(height, width)
    sizes = [round(longer / SCALE_STEP**k) for k in reversed(range(config.scales))]
    sizes = [s for s in sizes if min(scaled_size(width, height, s)) >= MIN_SIDE_PX] or [longer]
    sizes = sorted(set(sizes))[-config.horizon :]  # each size needs a step at least
    shares = len(sizes) + (len(sizes) > 1)
    ends: list[int] = []
    for k in range(len(sizes) - 1):
        least, most = (ends[-1] if ends else 0) + 1, config.horizon - (len(sizes) - 1 - k)
        ends.append(min(max(round(config.horizon * (k + 2) / shares), least), most))
    return tuple(map(Stage, sizes, [*ends, config.horizon]))


def stage_at(plan: Sequence[Stage], step: int) -> Stage:
    """The stage in which step ``step`` + 1 is taken; the last one at and after the end."""
    return next((stage for stage in plan if step < stage.until), plan[-1])


def starts_from_content(config: StyleConfig) -> bool:
    """Whether the first step finds the content as it is, which has no content loss."""
    return config.init == "content" or (config.init == "mix" and not config.init_noise)


class Schedules:
    """Learning rates and style weights of N lanes over their steps.

    Args:
        configs: the lanes' settings.
        device: where the vectors live.
    """

    def __init__(self, configs: Sequence[StyleConfig], device: torch.device):
        def vector(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=device, dtype=torch.float64)

        self._horizon_N = vector([c.horizon for c in configs])
        self._warmup_N = vector([c.warmup_steps for c in configs])
        self._cosine_N = vector([c.lr_schedule == "cosine" for c in configs]).bool()
        self._ramp_start_N = vector(
            [c.ramp_start if c.weight_schedule == "ramp" else 1.0 for c in configs]
        )
        self.balance_ratio_N = vector([c.balance_ratio for c in configs])
        self._balances_N = vector([c.weight_schedule == "balance" for c in configs]).bool()
        self._balances = [c.weight_schedule == "balance" for c in configs]
        self._from_content = [starts_from_content(c) for c in configs]

    def lr_factor(self, step_N: Tensor) -> Tensor:
        """Factor in (0, 1] of the learning rates for step ``step_N``, from 1 -> factor_N.

        Linear warm-up, then constant or half a cosine to zero (Loshchilov & Hutter, arXiv
        1608.03983, without restarts).
        """
        step_N = step_N.double()
        warm_N = (step_N / self._warmup_N.clamp_min(1)).clamp_max(1)
        length_N = (self._horizon_N - self._warmup_N).clamp_min(1)
        done_N = ((step_N - 1 - self._warmup_N) / length_N).clamp(0, 1)
        cosine_N = 0.5 * (1 + torch.cos(math.pi * done_N))
        return warm_N * torch.where(self._cosine_N, cosine_N, torch.ones_like(cosine_N))

    def style_factor(self, step_N: Tensor, balance_N: Tensor) -> Tensor:
        """Factor of the style weights for step ``step_N``, from 1 -> factor_N.

        A ramp is linear from ``ramp_start`` at the first step to 1 at the last; ``balance_N`` is
        what lanes that balance have found.
        """
        done_N = (step_N.double() - 1) / (self._horizon_N - 1).clamp_min(1)
        ramp_N = self._ramp_start_N + (1 - self._ramp_start_N) * done_N.clamp(0, 1)
        return torch.where(self._balances_N, balance_N.double(), ramp_N)

    @property
    def balances(self) -> bool:
        """Whether any lane measures its gradients."""
        return any(self._balances)

    def balance_due(self, steps: Sequence[int]) -> list[bool]:
        """Whether each lane, with so many steps done, measures its gradients now.

        Before its first step a lane that starts from the content has no content loss: its gradient
        would be that of rounding, which differs with the lanes beside it.
        """
        return [
            balances and step % BALANCE_EVERY == 0 and not (from_content and step == 0)
            for balances, from_content, step in zip(
                self._balances, self._from_content, steps, strict=True
            )
        ]

    def balanced(self, factor_N: Tensor, content_N: Tensor, style_N: Tensor) -> Tensor:
        """The new style factors after measuring the norms of the two gradients.

        The factor that gives the wanted ratio, averaged with the old one in the logarithm, since
        a single measurement is noisy (after GradNorm, Chen et al., arXiv 1711.02257). It stays
        where either gradient is zero.
        """
        wanted_N = self.balance_ratio_N * content_N.double() / style_N.double()
        usable_N = torch.isfinite(wanted_N) & (wanted_N > 0)
        mixed_N = (factor_N.double() * wanted_N).sqrt().clamp(1e-6, 1e6)
        return torch.where(usable_N, mixed_N, factor_N.double()).to(factor_N.dtype)
