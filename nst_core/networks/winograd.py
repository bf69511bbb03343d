"""Winograd convolution on CPUs: a 3x3 convolution with a quarter of the multiplications.

F(4x4, 3x3) of Lavin & Gray, arXiv 1509.09308: a 4x4 tile of the output is computed from a 6x6 tile
of the input with one multiplication per pair of channels and position, 36 in all; the transforms
before and after need additions and constant factors only. The multiplications of all tiles of all
lanes are 36 matrix products, so that lanes share the filters in the CPU caches. Filters are frozen
and transformed once. In float32 the result differs from the direct convolution by about 1e-5 of its
largest value.

`python -m benchmarks.winograd` compares the two. GPU libraries contain the method already.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

#: Sides of an output tile, of the kernel, and of an input tile.
OUT, KERNEL = 4, 3
IN = OUT + KERNEL - 1
PLACES = IN * IN

#: With fewer channels the transforms take as much time as the products save.
LEAST_CHANNELS = 128

#: With fewer tiles, reading the filters takes longer than the products: transformed filters have
#: four times as many numbers.
LEAST_TILES = 8

#: Number of tiles that are computed together; their data should fit into the CPU caches.
BLOCK_TILES = 256

#: The transforms of input tiles, filters and products for the points 0, 1, -1, 2, -2, infinity.
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_FILTER = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def _both_ways(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return the transform of rows and columns of a flattened tile as one matrix."""
    one_way = torch.tensor(matrix, dtype=torch.float32)
    return torch.kron(one_way, one_way)


_INPUT_BOTH, _OUTPUT_BOTH = _both_ways(_INPUT), _both_ways(_OUTPUT)


def transformed(weight_KCHW: Tensor) -> Tensor:
    """Return the filters of a 3x3 convolution for `convolve`: filters_PCK with P = 36 positions."""
    matrix = torch.tensor(_FILTER, dtype=torch.float64)
    filters = torch.einsum("ia,jb,kcab->ijck", matrix, matrix, weight_KCHW.double())
    return filters.flatten(0, 1).to(weight_KCHW.dtype)


def convolve(
    feat_NCHW: Tensor, filters_PCK: Tensor, padding: int, bias_K: Tensor | None = None
) -> Tensor:
    """Compute a 3x3 convolution with stride 1 -> feat_NKhw, channels last.

    Args:
        feat_NCHW: float32 on a CPU; fastest with channels last.
        filters_PCK: result of `transformed`.
        padding: number of zeros on each side.
        bias_K: bias, added to the result.
    """
    lanes, _, height, width = feat_NCHW.shape
    height, width = (side + 2 * padding - KERNEL + 1 for side in (height, width))
    rows, columns = _tiles_along(height), _tiles_along(width)
    below, right = rows * OUT - height, columns * OUT - width
    padded = F.pad(feat_NCHW, (padding, padding + right, padding, padding + below))
    filters = filters_PCK.shape[2]
    result = feat_NCHW.new_empty(lanes, rows, OUT, columns, OUT, filters)
    bias = feat_NCHW.new_zeros(filters) if bias_K is None else bias_K
    for lane, row in _blocks(lanes, rows, columns):
        top, bottom = row.start * OUT, row.stop * OUT + KERNEL - 1
        products = _products(padded[lane, :, top:bottom].permute(0, 2, 3, 1), filters_PCK)
        torch.add(products.permute(2, 3, 0, 4, 1, 5), bias, out=result[lane, row])
    result = result.view(lanes, rows * OUT, columns * OUT, filters)
    return result[:, :height, :width].permute(0, 3, 1, 2)


def _tiles_along(side: int) -> int:
    return -(-side // OUT)


def _blocks(lanes: int, rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Yield the lanes and the rows of tiles of each block that is computed together."""
    tiles_per_lane = rows * columns
    if tiles_per_lane <= BLOCK_TILES:
        together = BLOCK_TILES // tiles_per_lane
        for start in range(0, lanes, together):
            yield slice(start, min(lanes, start + together)), slice(0, rows)
        return
    together = max(1, BLOCK_TILES // columns)
    for lane in range(lanes):
        for start in range(0, rows, together):
            yield slice(lane, lane + 1), slice(start, min(rows, start + together))


def _products(feat_NHWC: Tensor, filters_PCK: Tensor) -> Tensor:
    """Return output tiles; axes: row and column in the tile, lane, row and column of tiles, K."""
    places, channels, filters = filters_PCK.shape
    tiles = feat_NHWC.unfold(1, IN, OUT).unfold(2, IN, OUT)
    values = tiles.permute(4, 5, 0, 1, 2, 3).reshape(places, -1)
    values_PTC = (_INPUT_BOTH @ values).view(places, -1, channels)
    products = torch.bmm(values_PTC, filters_PCK).view(places, -1)
    return (_OUTPUT_BOTH @ products).view(OUT, OUT, *tiles.shape[:3], filters)


class _Convolution(torch.autograd.Function):
    """`convolve` with the gradient of its input; the filters are frozen."""

    @staticmethod
    def forward(ctx: FunctionCtx, feat: Tensor, conv: WinogradConv) -> Tensor:
        ctx.conv = conv  # type: ignore[attr-defined]
        return convolve(feat, conv.filters.forward, conv.padding, conv.convolution.bias)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        conv: WinogradConv = ctx.conv  # type: ignore[attr-defined]
        return convolve(grads[0], conv.filters.gradient, KERNEL - 1 - conv.padding), None


class _Filters:
    """Transformed filters of one convolution, computed at their first use."""

    def __init__(self, weight_OI33: Tensor):
        self._weight_OI33 = weight_OI33

    @cached_property
    def forward(self) -> Tensor:
        """Filters of the forward pass."""
        return transformed(self._weight_OI33)

    @cached_property
    def gradient(self) -> Tensor:
        """Filters of the backward pass, a convolution of the gradient of the output."""
        return transformed(self._weight_OI33.flip(2, 3).transpose(0, 1))


#: Address and shape of weights -> their filters, shared by networks with other pooling or padding.
#: Filters hold a reference to their weights, so that no other weights can get the same address.
_FILTERS = WeakValueDictionary[tuple[int, torch.Size], _Filters]()


class WinogradConv(nn.Module):
    """Frozen convolution that uses Winograd's method where this is faster.

    Elsewhere, and in other precisions than float32, it computes the plain convolution.

    Args:
        convolution: convolution of which `suits` is true.
    """

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        self.convolution = convolution
        self.padding = int(convolution.padding[0])

    @staticmethod
    def suits(convolution: nn.Conv2d) -> bool:
        """Return whether a convolution is 3x3 with stride 1 and has enough channels."""
        plain = convolution.stride == convolution.dilation == (1, 1) and convolution.groups == 1
        padding = convolution.padding in ((0, 0), (1, 1))
        channels = min(convolution.in_channels, convolution.out_channels)
        square = convolution.kernel_size == (KERNEL, KERNEL)
        return plain and padding and square and channels >= LEAST_CHANNELS

    @cached_property
    def filters(self) -> _Filters:
        """Transformed filters, shared by all convolutions with the same weights in memory."""
        weight_OI33 = self.convolution.weight.detach()
        key = (weight_OI33.data_ptr(), weight_OI33.shape)
        return _FILTERS.setdefault(key, _Filters(weight_OI33))

    def forward(self, feat_NCHW: Tensor) -> Tensor:
        """Return the result of the convolution, feat_NKhw."""
        if self._is_faster(feat_NCHW):
            result: Tensor = _Convolution.apply(feat_NCHW, self)
        else:
            result = self.convolution(feat_NCHW)
        return result

    def _is_faster(self, feat_NCHW: Tensor) -> bool:
        if feat_NCHW.device.type != "cpu" or feat_NCHW.dtype != torch.float32:
            return False
        lanes, _, height, width = feat_NCHW.shape
        return lanes * _tiles_along(height) * _tiles_along(width) >= LEAST_TILES
