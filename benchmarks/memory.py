"""Estimated and measured peak memory of stylizations, by network, image size and lanes.

Command: ``python -m benchmarks.memory``. Each measurement runs in a new process, since a process
returns little memory to the system.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import psutil
import torch
import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    progress,
    publish,
    random_weights,
    run,
)
from nst_core.config import MAX_SIZE_PX, StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.memory import GIB, free_bytes, largest_size, needed_bytes
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.registry import EXTRACTORS
from nst_core.stylization import default_device

SIZES_PX = (256, 512, 1024)
QUICK_SIZES_PX = (128, 256, 512)

#: (longer side, lanes) of VGG16 batches.
BATCHES = ((128, 1), (128, 4), (128, 16), (256, 1), (256, 4), (512, 1), (512, 2))
QUICK_BATCHES = ((128, 1), (128, 4))

#: Largest ratio for which memory counts as linear in pixels; see `linear`.
LINEAR_WITHIN = 1.25

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Peak memory of two steps, in addition to what the process used before.

    Attributes:
        estimate_bytes: estimate by `nst_core.lanes.memory`.
        peak_bytes: measured peak: resident memory on a CPU, allocated memory on a GPU.
        seconds: duration of targets and two steps.
    """

    estimate_bytes: int
    peak_bytes: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Estimate divided by peak: 1 is exact, above 1 is safe."""
        return self.estimate_bytes / self.peak_bytes


def main(
    size_px: Annotated[
        list[int] | None, typer.Option(help="longer side of a 4:3 picture; repeatable")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="a network; repeatable; all by default")
    ] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare estimates with peaks, with and without activations computed twice."""
    rows: list[Row] = []
    cases = [
        (name, side, checkpointing)
        for side in size_px or (QUICK_SIZES_PX if quick else SIZES_PX)
        for name in network or EXTRACTORS
        for checkpointing in (False, True)
    ]
    with progress() as bar:
        for name, side, checkpointing in bar.track(cases):
            peak = measure(name, side, checkpointing=checkpointing)
            rows.append(
                {
                    "network": name,
                    "size": f"{side}x{side * 3 // 4}",
                    "twice": "yes" if checkpointing else "",
                    "estimate GiB": peak.estimate_bytes / GIB,
                    "peak GiB": peak.peak_bytes / GIB,
                    "ratio": peak.ratio,
                }
            )
        batches = [
            batch_row(side, lanes) for side, lanes in bar.track(QUICK_BATCHES if quick else BATCHES)
        ]
    free = free_bytes(default_device())
    publish(
        "Memory of a stylization",
        "Two steps of a 4:3 picture in a process of its own; `twice`: layers computed again in the"
        " backward pass.",
        [
            Section(title="Estimate and peak", rows=rows),
            Section(title="Lanes of a batch, VGG16", rows=batches),
            Section(
                title="What fits",
                text=f"By the estimate, in the {free / GIB:.1f} GiB that were free.",
                rows=[what_fits(name, free) for name in network or EXTRACTORS],
            ),
        ],
        goals=linear(rows),
        json_file=json_file,
    )


def batch_row(size_px: int, lanes: int) -> Row:
    """Return the peak of a batch, and per lane."""
    peak = measure("vgg16", size_px, lanes=lanes)
    return {
        "size": f"{size_px}x{size_px * 3 // 4}",
        "lanes": lanes,
        "estimate MiB": peak.estimate_bytes / MIB,
        "peak MiB": peak.peak_bytes / MIB,
        "peak MiB per lane": peak.peak_bytes / MIB / lanes,
    }


def what_fits(network: str, free: int) -> Row:
    """Return the largest image and the numbers of lanes that fit into ``free`` bytes, estimated."""
    config, device = StyleConfig(extractor=network), default_device()
    fitting: Row = {"network": network}
    for twice in (False, True):
        height, width = MAX_SIZE_PX * 3 // 4, MAX_SIZE_PX
        side = largest_size(config, height, width, device, free, checkpointing=twice)
        fitting["largest px" + (", twice" if twice else "")] = side
    for side in (128, 256, 512):
        one_lane, two_lanes = (
            needed_bytes(config, side * 3 // 4, side, device=device, lanes=n) for n in (1, 2)
        )
        fitting[f"lanes at {side} px"] = max(0, 1 + (free - one_lane) // (two_lanes - one_lane))
    return fitting


def linear(rows: Sequence[Row]) -> list[Goal]:
    """Return the goal that memory is linear in the number of pixels.

    The value is the ratio of two numbers at a middle size: memory on the straight line between the
    smallest and the largest size, and measured memory. It is 1 if memory is linear, and about 3 if
    memory grows with the square of the pixels.
    """
    if len({row["size"] for row in rows}) < 3:
        return []
    worst = 0.0
    for network in {row["network"] for row in rows}:
        (p, low), *between, (q, high) = sorted(
            (pixels_of(row["size"]), row["peak GiB"])
            for row in rows
            if row["network"] == network and not row["twice"]
        )
        lines = [low + (high - low) * (at - p) / (q - p) for at, _ in between]
        worst = max([worst, *(line / peak for line, (_, peak) in zip(lines, between, strict=True))])
    goal = "what a straight line says of the middle size, over what it takes, worst network"
    return [Goal(name=goal, value=worst, goal=LINEAR_WITHIN, at_most=True)]


def pixels_of(size: str) -> int:
    """Return the number of pixels of ``WIDTHxHEIGHT``."""
    width, height = map(int, size.split("x"))
    return width * height


def measure(
    network: str, size_px: int, *, checkpointing: bool = False, lanes: int = 1, masks: int = 0
) -> Peak:
    """Return the peak of two steps of a 4:3 image, measured in a new process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_two_steps, network, size_px, checkpointing, lanes, masks).result()


def _two_steps(network: str, size_px: int, checkpointing: bool, lanes: int, masks: int) -> Peak:
    config = StyleConfig(extractor=network, size_px=size_px)
    height, width = size_px * 3 // 4, size_px
    picture = torch.rand(3, height, width)
    store = FeatureStore(random_weights, default_device())
    store.checkpointing = checkpointing
    store.extractor(config.backbone, config.layers)
    inputs = LossInputs.at_size(picture, _styles(picture, masks), size_px)
    with _Watch(store.device) as watch:
        batch = LaneBatch(store)
        for lane in range(lanes):
            batch.add(lane, config, inputs)
        batch.advance(2)
    return Peak(
        estimate_bytes=needed_bytes(
            config,
            height,
            width,
            device=store.device,
            lanes=lanes,
            masks=masks,
            checkpointing=checkpointing,
        ),
        peak_bytes=watch.peak_bytes,
        seconds=watch.seconds,
    )


def _styles(picture: torch.Tensor, masks: int) -> list[Style]:
    """Return one style image without a mask, or one for each of ``masks`` strips of the image."""
    if not masks:
        return [Style(image_3HW=picture)]
    strips = torch.linspace(0, masks, picture.shape[2] + 1)[:-1].long().expand(picture.shape[1:])
    return [Style(image_3HW=picture, region_HW=(strips == n).float()) for n in range(masks)]


class _Watch:
    """Context manager that measures peak memory in addition to the memory at its beginning."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_bytes, self.seconds = 0, 0.0

    def __enter__(self) -> _Watch:
        self._started = time.perf_counter()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            self._before = self._process.memory_info().rss
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            torch.cuda.synchronize()
            self.peak_bytes = torch.cuda.max_memory_allocated() - self._before
        else:
            self._done.set()
            self._thread.join()
        self.seconds = time.perf_counter() - self._started

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            taken = self._process.memory_info().rss - self._before
            self.peak_bytes = max(self.peak_bytes, taken)


if __name__ == "__main__":
    run(main)
