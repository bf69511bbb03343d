"""Memory: estimate what a stylization needs, and plan how it fits onto a device.

The estimate uses only the shapes of the network's activations; nothing is computed.
`python -m benchmarks.memory` compares it with measured peaks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from torchvision.models.squeezenet import Fire

from nst_core.config import MIN_SIDE_PX, StyleConfig
from nst_core.errors import InputError
from nst_core.lanes.device import cuda_graphs_enabled
from nst_core.lanes.step_graph import MAX_PIXELS
from nst_core.losses.targets import NETWORK_DTYPES
from nst_core.networks import winograd
from nst_core.networks.extractors import CHECKPOINT_LAYERS, bare_network
from nst_core.networks.registry import NETWORKS

#: Factor for memory that allocators do not give back.
OVERHEAD = 1.1
#: Memory of threads and libraries, whatever the image size.
FIXED_BYTES = 48 * 2**20
#: Buffers of Winograd convolutions besides their filters: one block of tiles, and the filters of
#: one layer in float64 while they are transformed.
WINOGRAD_BYTES = 128 * 2**20

#: Share of the free memory that one stylization may use; the rest is for other processes.
USABLE_SHARE = 0.85
#: Share of that for the lanes of a batch; the rest is for targets and scores.
LANES_SHARE = 0.8

GIB = 2**30

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = ("memory.max", "memory.current")
_PAGE_CACHE = re.compile(r"^inactive_file (\d+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a stylization fits into memory.

    Attributes:
        bytes_needed: estimated peak, in addition to what the process uses already.
        bytes_free: memory that the stylization may use.
        checkpointing: whether activations must be computed again in the backward pass to fit.
    """

    bytes_needed: int
    bytes_free: int
    checkpointing: bool

    def describe(self) -> str:
        """Return one line for users."""
        again = ", activations computed twice to fit" if self.checkpointing else ""
        return (
            f"needs about {self.bytes_needed / GIB:.1f} GiB of"
            f" {self.bytes_free / GIB:.1f} GiB free{again}"
        )


def free_bytes(device: torch.device) -> int:
    """Return how many bytes may be used on a device now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # torch returns its unused cache to the device before it runs out of memory.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + cached) * USABLE_SHARE)
    available = min(psutil.virtual_memory().available, _container_bytes())
    return int(available * USABLE_SHARE)


def lanes_bytes(device: torch.device, share: float) -> int:
    """Return how many bytes the lanes of one engine may use now.

    Several engines on a device use its memory at different moments, so what is free at one of them
    says little. Each engine therefore stays within its share of all memory.

    Args:
        device: where the lanes advance.
        share: share of the device's memory that belongs to the engine's lanes; the rest is for
            targets, scores and other engines.
    """
    total: float
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
    else:
        total = min(psutil.virtual_memory().total, _container_limit())
    return int(min(share * total * USABLE_SHARE, LANES_SHARE * free_bytes(device)))


def _container_limit() -> float:
    """Return the memory limit of a container in bytes."""
    try:
        return int((_CGROUP / "memory.max").read_text())
    except (OSError, ValueError):  # not Linux, no cgroup v2, or no limit ("max")
        return math.inf


def _container_bytes() -> float:
    """Return the free bytes under a container's memory limit, which psutil does not see."""
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in _CGROUP_FILES)
        cached = _PAGE_CACHE.search((_CGROUP / "memory.stat").read_text())
    except (OSError, ValueError):  # not Linux, no cgroup v2, or no limit ("max")
        return math.inf
    # The page cache counts as used, but the kernel frees it when a process needs memory.
    return limit - used + (int(cached[1]) if cached else 0)


@dataclass(frozen=True, kw_only=True)
class LaneNeed:
    """Estimated peak memory of a step, which is linear in the number of lanes.

    Attributes:
        fixed: bytes that do not depend on the number of lanes.
        per_lane: bytes of a lane in an eager step.
        recorded_lanes: largest number of lanes whose step is recorded as a CUDA graph. A graph
            keeps the memory of its step for itself. The eager steps of the next lanes that come
            together need theirs in addition, so these lanes count twice.
    """

    fixed: int
    per_lane: int
    recorded_lanes: int = 0

    @classmethod
    def largest(cls, needs: Iterable[LaneNeed]) -> LaneNeed:
        """Return the need of a batch in which every lane needs as much as the largest one."""
        several = list(needs)
        return cls(
            fixed=max(need.fixed for need in several),
            per_lane=max(need.per_lane for need in several),
            recorded_lanes=max(need.recorded_lanes for need in several),
        )

    def bytes_for(self, lanes: int) -> int:
        """Return the bytes that a number of lanes needs."""
        return self.fixed + (lanes + min(lanes, self.recorded_lanes)) * self.per_lane

    def lanes_in(self, free: int) -> int:
        """Return the largest number of lanes that fits into ``free`` bytes, at least 1."""
        places = (free - self.fixed) // self.per_lane
        return max(1, places // 2, places - self.recorded_lanes)


def lane_need(
    config: StyleConfig,
    height: int,
    width: int,
    *,
    device: torch.device | str,
    masks: int = 0,
    checkpointing: bool = False,
) -> LaneNeed:
    """Return the estimated memory of equal stylizations; for the arguments, see `needed_bytes`."""
    item = torch.empty(0, dtype=NETWORK_DTYPES.get(config.precision, torch.float32)).element_size()
    layers = frozenset(config.layers)
    segments, features = _activations(config.extractor, layers, height, width, item)
    largest = max(max(sizes) for sizes in segments)
    if checkpointing:
        # Inputs of all segments, and all activations of the segment that is computed again.
        stored = sum(sizes[-1] for sizes in segments) + max(sum(sizes) for sizes in segments)
    else:
        stored = sum(sum(sizes) for sizes in segments)
    network = stored + 2 * largest
    # Gradients of the features, their float32 copies in lower precisions, and masked features of
    # the forward and the backward pass.
    losses = 4 * features * (2 if item < 4 else 1) + 4 * features * 2 * masks
    images = _images(config) * 3 * height * width * 4
    records = cuda_graphs_enabled() and torch.device(device).type == "cuda"
    return LaneNeed(
        fixed=fixed_bytes(config, device),
        per_lane=int((network + losses + images) * OVERHEAD),
        recorded_lanes=MAX_PIXELS // (height * width) if records else 0,
    )


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
    """Return the estimated peak memory of a step of several equal stylizations, in bytes.

    Args:
        config: settings of the stylizations.
        height: image height in pixels.
        width: image width in pixels.
        device: where they run.
        lanes: number of stylizations.
        masks: number of regions with a mask, see `LossInputs.masks`.
        checkpointing: whether activations are computed again in the backward pass.

    Raises:
        InputError: see `cuda_graphs_enabled`.
    """
    need = lane_need(config, height, width, device=device, masks=masks, checkpointing=checkpointing)
    return need.bytes_for(lanes)


def fixed_bytes(config: StyleConfig, device: torch.device | str) -> int:
    """Return the part of the peak memory that does not depend on image size or lanes, in bytes."""
    on_cpu = torch.device(device).type == "cpu" and config.precision not in NETWORK_DTYPES
    deepest = NETWORKS[config.extractor].deepest(config.layers)
    return FIXED_BYTES + (_winograd_bytes(config.extractor, deepest) if on_cpu else 0)


def plan_memory(
    config: StyleConfig, height: int, width: int, device: torch.device, *, masks: int = 0
) -> Plan:
    """Return how one stylization fits onto a device.

    Args:
        config: settings of the stylization.
        height: image height in pixels.
        width: image width in pixels.
        device: where it will run.
        masks: number of regions with a mask, see `LossInputs.masks`.

    Raises:
        InputError: it does not fit; the message names the largest size that does.
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
        f" but only {free / GIB:.1f} GiB may be used; {advice}"
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
    """Return the longer side in pixels of the largest image that fits into ``free`` bytes.

    Args:
        config: settings of the stylization.
        height: height of the image that does not fit, in pixels; the aspect ratio is kept.
        width: width of the image that does not fit, in pixels.
        device: where it will run.
        free: memory that may be used, in bytes.
        masks: number of regions with a mask, see `LossInputs.masks`.
        checkpointing: whether activations are computed again in the backward pass.

    Returns:
        Less than the longer side of the given image; None if no size fits.
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


@cache  # an engine calls this at every report
def _winograd_bytes(extractor: str, deepest: str) -> int:
    """Return the bytes of Winograd filters (both directions) and buffers up to a layer."""
    network = bare_network(extractor)
    modules = [
        module
        for path in NETWORKS[extractor].up_to(deepest).values()
        for module in network.get_submodule(path).modules()
    ]
    filters = sum(
        2 * winograd.PLACES * module.in_channels * module.out_channels * 4
        for module in modules
        if isinstance(module, nn.Conv2d) and winograd.WinogradConv.suits(module)
    )
    return filters and filters + WINOGRAD_BYTES


def _images(config: StyleConfig) -> int:
    """Return the number of image-sized tensors: pixels, gradients, optimizer state, kept images."""
    return 16 + (2 * config.lbfgs_history + 8 if config.optimizer == "lbfgs" else 0)


@lru_cache(maxsize=1024)
def _activations(
    extractor: str, layers: frozenset[str], height: int, width: int, item: int
) -> tuple[list[list[int]], int]:
    """Return the sizes of stored activations by checkpoint segment, and of all features.

    Args:
        extractor: name of the network.
        layers: layers whose features are used.
        height: image height in pixels.
        width: image width in pixels.
        item: bytes of a number of an activation.

    Returns:
        Bytes of every activation that the backward pass needs, one list for each segment; and the
        total number of elements of the features in ``layers``.
    """
    description = NETWORKS[extractor]
    network = bare_network(extractor)
    sizes: list[int] = []
    before_relu = 0

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal before_relu
        # The backward pass of a ReLU uses its output, so its input is not stored.
        sizes.append(item * (output.numel() - (before_relu if isinstance(module, nn.ReLU) else 0)))
        before_relu = 0 if isinstance(module, nn.ReLU) else output.numel()
        if isinstance(module, nn.MaxPool2d):
            sizes.append(8 * output.numel())  # positions of the maxima, as 64-bit integers

    for module in network.modules():
        # A Fire module concatenates two outputs; no module inside it has that output.
        if isinstance(module, Fire) or not list(module.children()):
            module.register_forward_hook(record)
    nodes = list(description.up_to(description.deepest(layers)).items())
    value = torch.empty(1, 3, height, width, device="meta")
    segments, features = [], 0
    for start in range(0, len(nodes), CHECKPOINT_LAYERS):
        sizes.clear()
        for layer, path in nodes[start : start + CHECKPOINT_LAYERS]:
            value = network.get_submodule(path)(value)
            features += value.numel() if layer in layers else 0
        segments.append(list(sizes))
    return segments, features
