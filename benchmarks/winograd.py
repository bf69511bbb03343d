"""Winograd convolution against the library's direct convolution, forward and backward, on a CPU.

Command: ``python -m benchmarks.winograd``.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import geometric_mean, median

import torch
from torch import nn

from benchmarks.step import timed
from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    progress,
    publish,
    run,
)
from nst_core.losses.targets import MEMORY_FORMAT
from nst_core.networks.winograd import LEAST_CHANNELS, WinogradConv

#: Convolutions of VGG16: name, input channels, output channels, image size / feature size.
LAYERS = (
    ("conv2_1", 64, 128, 2),
    ("conv2_2", 128, 128, 2),
    ("conv3_1", 128, 256, 4),
    ("conv3_2", 256, 256, 4),
    ("conv4_1", 256, 512, 8),
    ("conv4_2", 512, 512, 8),
    ("conv5_1", 512, 512, 16),
)
#: (longer side, lanes).
CASES = ((64, 1), (64, 4), (96, 1), (96, 4), (128, 4), (256, 1), (256, 4), (512, 1))
QUICK_CASES = ((96, 4), (256, 1))
TURNS, QUICK_TURNS = 7, 3

CPU = torch.device("cpu")


def main(quick: QuickOption = False, json_file: JsonOption = None) -> None:
    """Measure both convolutions alternately for layers of VGG16."""
    rows: list[Row] = []
    cases = [(case, layer) for case in (QUICK_CASES if quick else CASES) for layer in LAYERS]
    with progress() as bar:
        for (side, lanes), (name, inputs, outputs, smaller) in bar.track(cases):
            sizes = (lanes, inputs, outputs, side // smaller)
            direct_s, winograd_s, error = compared(*sizes, QUICK_TURNS if quick else TURNS)
            rows.append(
                {
                    "size px": side,
                    "lanes": lanes,
                    "layer": name,
                    "channels": f"{inputs} → {outputs}",
                    "direct ms": 1000 * direct_s,
                    "winograd ms": 1000 * winograd_s,
                    "× faster": direct_s / winograd_s,
                    "used": min(inputs, outputs) >= LEAST_CHANNELS,
                    "error": error,
                }
            )
    used = geometric_mean([row["× faster"] for row in rows if row["used"]])
    worst = max(row["error"] for row in rows)
    publish(
        "Winograd's convolution",
        "Forward and backward, float32; the median of alternating measurements. `used`: whether"
        " extractors use Winograd for the layer, if it has enough tiles; `error`: largest"
        " difference over largest value.",
        [Section(title="Layers", rows=rows)],
        goals=[
            Goal(name="× faster where used, geometric mean", value=used, goal=1.3),
            Goal(name="worst error", value=worst, goal=1e-4, at_most=True),
        ],
        json_file=json_file,
    )


def compared(
    lanes: int, inputs: int, outputs: int, side: int, turns: int
) -> tuple[float, float, float]:
    """Return seconds of the direct and of the Winograd convolution, and their relative error."""
    direct = nn.Conv2d(inputs, outputs, 3, padding=1).requires_grad_(False)
    direct.to(memory_format=MEMORY_FORMAT)
    winograd = WinogradConv(direct)
    feat = torch.randn(lanes, inputs, side, side).contiguous(memory_format=MEMORY_FORMAT)
    grad = torch.randn(lanes, outputs, side, side).contiguous(memory_format=MEMORY_FORMAT)
    feat.requires_grad_()

    def both_ways(module: nn.Module) -> torch.Tensor:
        (found,) = torch.autograd.grad(module(feat), feat, grad)
        return found

    expected, found = both_ways(direct), both_ways(winograd)
    ways: list[Callable[[], object]] = [lambda: both_ways(direct), lambda: both_ways(winograd)]
    seconds: list[list[float]] = [[], []]
    for _ in range(turns):
        for way, taken in zip(ways, seconds, strict=True):
            taken.append(timed(way, 3, CPU))
    error = float((found - expected).abs().max() / expected.abs().max())
    return median(seconds[0]), median(seconds[1]), error


if __name__ == "__main__":
    run(main)
