"""stylize(): one stylization as an iterator of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes import LaneBatch, Outcome
from nst_core.losses import FeatureStore, Losses, Materials
from nst_core.weights import Weights, get_weights


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a stylization stands.

    Attributes:
        step: optimizer steps done.
        losses: weighted loss terms (content, style, tv, total) before the last update.
        seconds: working time since the start.
        image_3HW: the image so far, clamped to [0, 1], float32, on the CPU.
        outcome: ``RUNNING``, or why the run ended before its last step.
    """

    step: int
    losses: Mapping[str, float]
    seconds: float
    image_3HW: Tensor
    outcome: Outcome = Outcome.RUNNING


def default_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def stylize(
    config: StyleConfig,
    content_3HW: Tensor,
    styles: Iterable[tuple[Tensor, float]],
    *,
    weights: Callable[[str], Weights] = get_weights,
    device: torch.device | str | None = None,
    every: int = 10,
) -> Iterator[Step]:
    """Stylize one picture, yielding where it stands every ``every`` steps and at the end.

    Args:
        config: all settings; pictures are scaled to ``config.size_px``.
        content_3HW: the picture to stylize, float32 in [0, 1].
        styles: style images with blend weights (scaled to sum 1).
        weights: gives a network's weights by name.
        device: where to work; the first GPU if there is one.
        every: optimizer steps between two yields, >= 1.

    Yields:
        A `Step`; the last one has ``step == config.steps`` unless the run diverged.

    Raises:
        InputError: the picture's shape does not allow the size.
        WeightsError: the network's weights cannot be had.
    """
    materials = Materials.at_size(content_3HW, styles, config.size_px)
    batch = LaneBatch(FeatureStore(weights, device or default_device()))
    batch.add("lane", config, materials)
    started = time.perf_counter()
    done, outcome = 0, Outcome.RUNNING
    while done < config.steps and outcome is Outcome.RUNNING:
        losses = batch.advance(min(every, config.steps - done))
        done, (outcome,) = batch.lanes[0].step, batch.outcomes(losses)
        yield Step(
            step=done,
            losses=lane_losses(losses, 0),
            seconds=time.perf_counter() - started,
            image_3HW=batch.image("lane").float().clamp(0, 1).cpu(),
            outcome=outcome,
        )


def lane_losses(losses: Losses, index: int) -> dict[str, float]:
    """One lane's loss terms as plain numbers."""
    return {name: float(value[index]) for name, value in vars(losses).items()}
