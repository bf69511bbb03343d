"""How much memory a stylization needs, and what to do where there is not enough.

An estimate from the shapes of the network's activations alone, before anything is computed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from torchvision.models.squeezenet import Fire

from nst_core.config import MIN_SIDE_PX, StyleConfig
from nst_core.errors import InputError
from nst_core.losses.targets import NETWORK_DTYPES
from nst_core.networks import winograd
from nst_core.networks.extractors import CHECKPOINT_LAYERS, bare_network
from nst_core.networks.registry import NETWORKS

#: What allocators do not give back, on top of what is stored, what threads take however small the
#: picture, and what Winograd's convolutions take beside their filters: a block of tiles, and the
#: filters of a layer in float64 while they are made. `python -m benchmarks.memory` compares with
#: peaks.
OVERHEAD = 1.1
FIXED_BYTES = 48 * 2**20
WINOGRAD_BYTES = 128 * 2**20

#: Share of the free memory that one stylization may plan with; the rest is for others.
USABLE_SHARE = 0.85

GIB = 2**30

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = ("memory.max", "memory.current")
_PAGE_CACHE = re.compile(r"^inactive_file (\d+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a stylization fits.

    Attributes:
        bytes_needed: at the peak, beyond what the process has already.
        bytes_free: of what may be used.
        checkpointing: whether activations are computed again in the backward pass to fit.
    """

    bytes_needed: int
    bytes_free: int
    checkpointing: bool

    def describe(self) -> str:
        """One line for people."""
        again = ", activations computed twice to fit" if self.checkpointing else ""
        return (
            f"needs about {self.bytes_needed / GIB:.1f} GiB of"
            f" {self.bytes_free / GIB:.1f} GiB free{again}"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that may be used on a device now."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch keeps for itself counts as taken
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * USABLE_SHARE)
    available = min(psutil.virtual_memory().available, _container_bytes())
    return int(available * USABLE_SHARE)


def _container_bytes() -> float:
    """What a container's limit leaves, which the machine's own figures do not tell."""
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in _CGROUP_FILES)
        cached = _PAGE_CACHE.search((_CGROUP / "memory.stat").read_text())
    except (OSError, ValueError):  # not Linux, no cgroup v2, or no limit ("max")
        return math.inf
    # Files that were read stay in memory until somebody needs it, and count as used.
    return limit - used + (int(cached[1]) if cached else 0)


def needed_bytes(
    config: StyleConfig,
    height: int,
    width: int,
    *,
    device: torch.device | str,
    lanes: int = 1,
    masks: int = 0,
    checkpointing: bool = False,
) -> int:
    """Estimated peak of a step of ``lanes`` stylizations of ``height`` x ``width`` pixels.

    Args:
        config: of the lanes.
        height: in pixels.
        width: in pixels.
        device: where they run.
        lanes: how many.
        masks: regions of the picture with a mask, see `LossInputs.masks`.
        checkpointing: whether activations are computed again in the backward pass.
    """
    segments, read = _activations(config.extractor, frozenset(config.layers), height, width)
    item = torch.empty(0, dtype=NETWORK_DTYPES.get(config.precision, torch.float32)).element_size()
    largest = max(max(sizes) for sizes in segments)
    if checkpointing:
        # Inputs of the segments, and all of the one that is being computed again.
        stored = sum(sizes[-1] for sizes in segments) + max(sum(sizes) for sizes in segments)
    else:
        stored = sum(sum(sizes) for sizes in segments)
    network = (stored + 2 * largest) * item
    # Gradients of the features that are read, their copies in the precision of the losses, and what
    # a mask leaves of them, forward and backward.
    losses = 4 * read * (2 if item < 4 else 1) + 4 * read * 2 * masks
    images = _images(config) * 3 * height * width * 4
    per_lane = int((network + losses + images) * OVERHEAD)
    return fixed_bytes(config, device) + lanes * per_lane


def fixed_bytes(config: StyleConfig, device: torch.device | str) -> int:
    """What is needed however small the pictures and few the lanes."""
    on_cpu = torch.device(device).type == "cpu" and config.precision not in NETWORK_DTYPES
    deepest = NETWORKS[config.extractor].deepest(config.layers)
    return FIXED_BYTES + (_winograd_bytes(config.extractor, deepest) if on_cpu else 0)


def plan_memory(
    config: StyleConfig, height: int, width: int, device: torch.device, *, masks: int = 0
) -> Plan:
    """How one stylization of this size, with so many masks, fits onto a device.

    Raises:
        InputError: not at all; names the largest size that does.
    """
    free = free_bytes(device)
    for checkpointing in (False, True):
        needed = needed_bytes(
            config, height, width, device=device, masks=masks, checkpointing=checkpointing
        )
        if needed <= free:
            return Plan(bytes_needed=needed, bytes_free=free, checkpointing=checkpointing)
    largest = largest_size(config, height, width, device, free, masks=masks)
    advice = f"the largest that fits is size_px {largest}" if largest else "no size fits"
    raise InputError(
        f"{width}x{height} needs about {needed / GIB:.1f} GiB even with activations computed twice,"
        f" and {free / GIB:.1f} GiB may be used; {advice}"
    )


def largest_size(
    config: StyleConfig,
    height: int,
    width: int,
    device: torch.device,
    free: int,
    *,
    masks: int = 0,
    checkpointing: bool = True,
) -> int | None:
    """Longer side of the largest picture that ``free`` bytes are enough for.

    It has the shape of ``height`` x ``width`` and is smaller; None if not even the smallest fits.
    """
    longer = max(height, width)

    def fits(side: int) -> bool:
        scaled = [max(1, round(edge * side / longer)) for edge in (height, width)]
        needed = needed_bytes(
            config, *scaled, device=device, masks=masks, checkpointing=checkpointing
        )
        return needed <= free

    low, high = -(-MIN_SIDE_PX * longer // min(height, width)), longer
    if not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@cache  # an engine asks at every report
def _winograd_bytes(extractor: str, deepest: str) -> int:
    """Of Winograd's convolutions up to the deepest layer: filters of both directions, buffers."""
    network = bare_network(extractor)
    reached = [
        module
        for path in NETWORKS[extractor].up_to(deepest).values()
        for module in network.get_submodule(path).modules()
    ]
    filters = sum(
        2 * winograd.PLACES * module.in_channels * module.out_channels * 4
        for module in reached
        if isinstance(module, nn.Conv2d) and winograd.WinogradConv.suits(module)
    )
    return filters and filters + WINOGRAD_BYTES


def _images(config: StyleConfig) -> int:
    """Images kept or made beside the activations: pixels, gradients, moments, the average."""
    return 16 + (2 * config.lbfgs_history + 8 if config.optimizer == "lbfgs" else 0)


@lru_cache(maxsize=1024)
def _activations(
    extractor: str, layers: frozenset[str], height: int, width: int
) -> tuple[list[list[int]], int]:
    """Elements of every stored output, by checkpoint segment, and of the features that are read."""
    known = NETWORKS[extractor]
    network = bare_network(extractor)
    sizes: list[int] = []
    before_relu = 0

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal before_relu
        # A ReLU remembers its own output, so what went into it is not kept.
        sizes.append(output.numel() - (before_relu if isinstance(module, nn.ReLU) else 0))
        before_relu = 0 if isinstance(module, nn.ReLU) else output.numel()
        if isinstance(module, nn.MaxPool2d):
            sizes.append(2 * output.numel())  # where each maximum was, as 64-bit numbers

    for module in network.modules():
        # A Fire joins two outputs into a third, which no module inside it stands for.
        if isinstance(module, Fire) or not list(module.children()):
            module.register_forward_hook(record)
    nodes = list(known.up_to(known.deepest(layers)).items())
    value = torch.empty(1, 3, height, width, device="meta")
    segments, read = [], 0
    for start in range(0, len(nodes), CHECKPOINT_LAYERS):
        sizes.clear()
        for layer, path in nodes[start : start + CHECKPOINT_LAYERS]:
            value = network.get_submodule(path)(value)
            read += value.numel() if layer in layers else 0
        segments.append(list(sizes))
    return segments, read
