"""`stylize`: one stylization as an iterator of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.initialization import feed_forward_start
from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.memory import plan_memory
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.laplacian import check_photorealism
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights, get_weights

#: A stylization that needs less memory is not reported.
REPORTED_BYTES = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class Step:
    """State of a stylization.

    Attributes:
        step: number of optimizer steps done.
        losses: weighted loss terms (content, style, tv …, total) before the last update.
        seconds: seconds since the start of the optimization.
        image_3HW: the result so far, in [0, 1], float32, full size, on the CPU.
        outcome: ``RUNNING``, or the reason why the run ended before its last step.
    """

    step: int
    losses: Mapping[str, float]
    seconds: float
    image_3HW: Tensor
    outcome: Outcome = Outcome.RUNNING


def default_device() -> torch.device:
    """Return the first CUDA device if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def stylize(
    config: StyleConfig,
    content_3HW: Tensor,
    styles: Iterable[Style | tuple[Tensor, float]],
    *,
    starts: Mapping[str, Tensor] | None = None,
    weights: Callable[[str], Weights] = get_weights,
    device: torch.device | str | None = None,
    every: int = 10,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Step]:
    """Stylize one picture; yield its state every ``every`` steps and at the end.

    Args:
        config: all settings; pictures are scaled to ``config.size_px``.
        content_3HW: picture to stylize, float32 in [0, 1].
        styles: style images, or pairs of style image and blend weight (scaled to sum 1).
        starts: start images for ``init`` ``image`` or ``feed_forward``; the latter is computed if
            it is not given.
        weights: returns a network's weights by name.
        device: device to work on; the default is that of `default_device`.
        every: optimizer steps between two yields, >= 1.
        say: called with one line about the memory, if the stylization needs much of it.

    Yields:
        A `Step`; the last one has ``step == config.steps`` unless the run diverged.

    Raises:
        InputError: the picture's aspect ratio does not allow the size, the stylization does not fit
            into memory, or an optional dependency is missing.
        WeightsError: the network's weights are not available.
    """
    all_styles = [s if isinstance(s, Style) else Style(image_3HW=s[0], weight=s[1]) for s in styles]
    if config.photo_weight:
        check_photorealism()
    if config.init == "feed_forward" and "feed_forward" not in (starts or {}):
        start_3HW = feed_forward_start(content_3HW, all_styles, config.size_px)
        starts = {**(starts or {}), "feed_forward": start_3HW}
    store = FeatureStore(weights, device or default_device())
    inputs = LossInputs.at_size(content_3HW, all_styles, config.size_px, starts)
    plan = plan_memory(config, *inputs.height_width, store.device, masks=inputs.masks)
    store.checkpointing = plan.checkpointing
    if plan.bytes_needed > REPORTED_BYTES or plan.checkpointing:
        height, width = inputs.height_width
        say(f"{width}x{height} {plan.describe()}")
    yield from advance(store, config, inputs, every=every)


def advance(
    store: FeatureStore, config: StyleConfig, inputs: LossInputs, *, every: int = 10
) -> Iterator[Step]:
    """Like `stylize`, from prepared inputs on the device of ``store``."""
    started = time.perf_counter()
    saved: LaneState | None = None
    done, outcome = 0, Outcome.RUNNING
    while done < config.steps and outcome is Outcome.RUNNING:
        batch = LaneBatch(store, Buckets.for_store(store))
        batch.add("lane", config, inputs, saved)
        while batch.stage_steps_left and done < config.steps and outcome is Outcome.RUNNING:
            to_yield = every - done % every
            losses = batch.advance(min(to_yield, batch.stage_steps_left, config.steps - done))
            done, (reading,) = batch.lanes[0].step, batch.readings(losses)
            outcome = reading.outcome
            if done % every == 0 or done == config.steps or outcome is not Outcome.RUNNING:
                yield Step(
                    step=done,
                    losses=reading.losses,
                    seconds=time.perf_counter() - started,
                    image_3HW=batch.picture("lane").cpu(),
                    outcome=outcome,
                )
        saved = batch.save("lane")
