"""Layer information: channels, stride, receptive field and cost. This module does not load torch.

The numbers are computed from the shapes of torchvision's networks;
`tests/nst_core/networks/test_layer_info.py` compares them with torchvision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nst_core.networks.registry import NETWORKS

#: Side of the square picture whose cost is computed.
COST_SIDE_PX = 256


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """Properties of one layer.

    Attributes:
        layer: name of the layer.
        channels: number of channels of its features.
        stride: distance of two neighboring features in pixels of the picture.
        receptive_field_px: side of the square of pixels that one feature depends on.
        gflop: forward cost from the pixels to this layer at 256x256, in 1e9 operations
            (a multiply-add counts as two).
    """

    layer: str
    channels: int
    stride: int
    receptive_field_px: int
    gflop: float


class _Square:
    """Size, channels, receptive field and cost of a square picture inside a network."""

    def __init__(self) -> None:
        self.side, self.channels = COST_SIDE_PX, 3
        self.field_px, self.stride, self.flop = 1, 1, 0

    def conv(
        self, size: int, channels: int, *, step: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        """Apply a convolution with a square kernel."""
        self.shortcut(size, channels, step=step, padding=padding, groups=groups)
        self.pool(size, step=step, padding=padding)
        self.channels = channels

    def shortcut(
        self, size: int, channels: int, *, step: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        """Add the cost of a convolution that is not on the path with the largest kernels."""
        side = (self.side + 2 * padding - size) // step + 1
        self.flop += 2 * side**2 * channels * (self.channels // groups) * size**2

    def pool(self, size: int, *, step: int, padding: int = 0, ceil: bool = False) -> None:
        """Apply a pooling; ``ceil`` rounds the size of the result up."""
        room = self.side + 2 * padding - size
        self.side = (-(-room // step) if ceil else room // step) + 1
        self.field_px += (size - 1) * self.stride
        self.stride *= step


#: Effect of a layer on the square.
Layer = Callable[[_Square], None]


def describe_network(name: str) -> list[LayerInfo]:
    """Return all layers of a network, a key of `NETWORKS`, in forward order."""
    square, layers = _Square(), []
    for layer, apply in zip(NETWORKS[name].node, _LAYERS[name](), strict=True):
        apply(square)
        layers.append(
            LayerInfo(
                layer=layer,
                channels=square.channels,
                stride=square.stride,
                receptive_field_px=square.field_px,
                gflop=square.flop / 1e9,
            )
        )
    return layers


def _keep(square: _Square) -> None:
    """Apply ReLU or batch normalization, which change nothing here."""


def _conv(size: int, channels: int, **options: int) -> Layer:
    return lambda square: square.conv(size, channels, **options)


def _pool(size: int, **options: int) -> Layer:
    return lambda square: square.pool(size, **options)  # type: ignore[arg-type]


def _vgg(convs_per_block: Sequence[int]) -> Iterator[Layer]:
    for convs, channels in zip(convs_per_block, (64, 128, 256, 512, 512), strict=True):
        for _ in range(convs):
            yield from (_conv(3, channels, padding=1), _keep)
        yield _pool(2, step=2)


def _alexnet() -> Iterator[Layer]:
    pool = _pool(3, step=2)
    yield from (_conv(11, 64, step=4, padding=2), _keep, pool)
    yield from (_conv(5, 192, padding=2), _keep, pool)
    for channels in (384, 256, 256):
        yield from (_conv(3, channels, padding=1), _keep)


def _resnet18() -> Iterator[Layer]:
    yield from (_conv(7, 64, step=2, padding=3), _keep, _keep, _pool(3, step=2, padding=1))
    for channels in (64, 128, 256, 512):
        yield _residual(channels, 1 if channels == 64 else 2)
        yield _residual(channels, 1)


def _residual(channels: int, step: int) -> Layer:
    def apply(square: _Square) -> None:
        if step > 1:
            square.shortcut(1, channels, step=step)
        square.conv(3, channels, step=step, padding=1)
        square.conv(3, channels, padding=1)

    return apply


def _mobilenet() -> Iterator[Layer]:
    yield _conv(3, 32, step=2, padding=1)
    # Expansion, channels, blocks and stride of the first block: Sandler et al., table 2.
    for expansion, channels, blocks, step in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for block in range(blocks):
            yield _inverted(expansion, channels, 1 if block else step)
    yield _conv(1, 1280)


def _inverted(expansion: int, channels: int, step: int) -> Layer:
    def apply(square: _Square) -> None:
        hidden = square.channels * expansion
        if expansion > 1:
            square.conv(1, hidden)
        square.conv(3, hidden, step=step, padding=1, groups=hidden)
        square.conv(1, channels)

    return apply


def _squeezenet() -> Iterator[Layer]:
    pool = _pool(3, step=2, ceil=True)
    yield from (_conv(3, 64, step=2), _keep, pool)
    yield from (_fire(16, 64), _fire(16, 64), pool)
    yield from (_fire(32, 128), _fire(32, 128), pool)
    yield from (_fire(48, 192), _fire(48, 192), _fire(64, 256), _fire(64, 256))


def _fire(squeezed: int, expanded: int) -> Layer:
    def apply(square: _Square) -> None:
        square.conv(1, squeezed)
        square.shortcut(1, expanded)
        square.conv(3, expanded, padding=1)
        square.channels = 2 * expanded

    return apply


_LAYERS: Mapping[str, Callable[[], Iterator[Layer]]] = {
    "vgg16": lambda: _vgg((2, 2, 3, 3, 3)),
    "vgg19": lambda: _vgg((2, 2, 4, 4, 4)),
    "resnet18": _resnet18,
    "alexnet": _alexnet,
    "mobilenet_v2": _mobilenet,
    "squeezenet1_1": _squeezenet,
}
