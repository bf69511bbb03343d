"""What each layer of a network is: channels, stride, receptive field, cost. No weights needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock
from torchvision.models.squeezenet import Fire

from nst_core.extractors import bare_network
from nst_core.networks import NETWORKS

#: Side of the square picture that costs are given for.
COST_SIDE_PX = 256


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One layer.

    Attributes:
        layer: its name.
        channels: of its features.
        stride: pixels between two neighbouring features.
        receptive_field_px: side of the square of pixels that one feature sees.
        gflop: forward cost from the pixels to this layer at 256x256, in 1e9 operations
            (a multiply-add is two).
    """

    layer: str
    channels: int
    stride: int
    receptive_field_px: int
    gflop: float


def describe_network(name: str) -> list[LayerInfo]:
    """Every layer of a network in forward order; ``name`` is a key of `networks.NETWORKS`."""
    network = bare_network(name)
    field_px, stride, flop = 1, 1, 0
    value = torch.empty(1, 3, COST_SIDE_PX, COST_SIDE_PX, device="meta")
    found = []
    for layer, path in NETWORKS[name].node.items():
        module = network.get_submodule(path)
        with FlopCounterMode(display=False) as counter:
            value = module(value)
        flop += counter.get_total_flops()
        for window, step in _windows(module):
            field_px += (window - 1) * stride
            stride *= step
        found.append(
            LayerInfo(
                layer=layer,
                channels=value.shape[1],
                stride=stride,
                receptive_field_px=field_px,
                gflop=flop / 1e9,
            )
        )
    return found


def _windows(module: nn.Module) -> Iterator[tuple[int, int]]:
    """Window and stride of every operation on the path that sees farthest."""
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
        yield _side(module.kernel_size), _side(module.stride)
    elif isinstance(module, BasicBlock):
        yield from (*_windows(module.conv1), *_windows(module.conv2))
    elif isinstance(module, Fire):
        yield from (*_windows(module.squeeze), *_windows(module.expand3x3))
    elif isinstance(module, InvertedResidual):
        yield from _windows(module.conv)
    elif isinstance(module, nn.Sequential):
        for child in module:
            yield from _windows(child)


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]
