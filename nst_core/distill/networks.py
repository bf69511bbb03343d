"""Networks that stylize a picture in one pass, with several styles and an adjustable strength.

``small`` has the layout of Johnson et al. (ECCV 2016) with the changes that became standard:
instance normalization (Ulyanov et al., arXiv 1607.08022), resize-convolutions (Odena et al. 2016)
and reflection padding. ``mobile`` replaces convolutions by inverted residuals with depthwise
filters (Sandler et al., arXiv 1801.04381).

All normalizations are conditional (Dumoulin et al., arXiv 1610.07629): scale and shift depend on
the style, and on the strength (Babaeizadeh & Ghiasi, arXiv 1811.08560; Dosovitskiy & Djolonga,
ICLR 2020).

In shapes, N is the number of pictures, K the number of styles and C the number of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Range of the strength, the style weight relative to the preset's: a decade below and above it.
MIN_STRENGTH, MAX_STRENGTH = 0.1, 10.0

#: Shorter side of the smallest picture; the reflection padding needs some pixels at each scale.
MIN_SIDE_PX = 16

#: Distance from black and white of the photo that the result starts from. At the limits themselves,
#: the logistic function of the output has no gradient.
_MARGIN = 0.02

#: Powers of the strength's logarithm that scales and shifts may depend on.
_POWERS = 3


@dataclass(frozen=True)
class _Widths:
    """Channels at full, half and quarter size, and the number of residual blocks."""

    full: int
    half: int
    quarter: int
    blocks: int


class ConditionalNorm(nn.Module):
    """Instance normalization whose scale and shift are linear in the condition of each picture."""

    def __init__(self, channels: int, conditions: int):
        super().__init__()
        self.affine = nn.Linear(conditions, 2 * channels, bias=False)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.weight[:channels, ::_POWERS] = 1  # scale 1 for every style and strength

    def forward(self, feat_NCHW: Tensor, condition_NK: Tensor) -> Tensor:
        """Return the normalized features, of the same shape."""
        scale_NC11, shift_NC11 = self.affine(condition_NK)[:, :, None, None].chunk(2, dim=1)
        # Not F.instance_norm: the mean of squares is a plain reduction, which every ONNX runtime
        # computes for any size.
        centered = feat_NCHW - feat_NCHW.mean(dim=(2, 3), keepdim=True)
        variance = centered.square().mean(dim=(2, 3), keepdim=True)
        normal = centered * torch.rsqrt(variance + 1e-5)
        result: Tensor = normal * scale_NC11 + shift_NC11
        return result


class _Conv(nn.Module):
    """Reflection padding, convolution, conditional normalization, and ReLU unless it is linear."""

    def __init__(
        self,
        channels: tuple[int, int],
        conditions: int,
        *,
        size: int = 3,
        stride: int = 1,
        depthwise: bool = False,
        linear: bool = False,
    ):
        super().__init__()
        groups = channels[0] if depthwise else 1
        # Without a bias, which the normalization would remove.
        self.conv = nn.Conv2d(*channels, size, stride, groups=groups, bias=False)
        self.norm = ConditionalNorm(channels[1], conditions)
        self._padding, self._linear = size // 2, linear

    def forward(self, feat_NCHW: Tensor, condition_NK: Tensor) -> Tensor:
        feat = self.norm(self.conv(_reflected(feat_NCHW, self._padding)), condition_NK)
        return feat if self._linear else F.relu(feat)


class _Separable(nn.Module):
    """A depthwise convolution, then one across channels."""

    def __init__(self, channels: tuple[int, int], conditions: int, *, stride: int = 1):
        super().__init__()
        first = (channels[0], channels[0])
        self.depthwise = _Conv(first, conditions, stride=stride, depthwise=True)
        self.pointwise = _Conv(channels, conditions, size=1)

    def forward(self, feat_NCHW: Tensor, condition_NK: Tensor) -> Tensor:
        feat: Tensor = self.pointwise(self.depthwise(feat_NCHW, condition_NK), condition_NK)
        return feat


class _Residual(nn.Module):
    """Adds two convolutions to the features."""

    def __init__(self, channels: int, conditions: int):
        super().__init__()
        self.first = _Conv((channels, channels), conditions)
        self.second = _Conv((channels, channels), conditions, linear=True)

    def forward(self, feat_NCHW: Tensor, condition_NK: Tensor) -> Tensor:
        change: Tensor = self.second(self.first(feat_NCHW, condition_NK), condition_NK)
        return feat_NCHW + change


class _InvertedResidual(nn.Module):
    """Adds a wide depthwise convolution between two across channels to the features."""

    EXPANSION = 3

    def __init__(self, channels: int, conditions: int):
        super().__init__()
        wide = self.EXPANSION * channels
        self.expand = _Conv((channels, wide), conditions, size=1)
        self.depthwise = _Conv((wide, wide), conditions, depthwise=True)
        self.project = _Conv((wide, channels), conditions, size=1, linear=True)

    def forward(self, feat_NCHW: Tensor, condition_NK: Tensor) -> Tensor:
        wide = self.depthwise(self.expand(feat_NCHW, condition_NK), condition_NK)
        change: Tensor = self.project(wide, condition_NK)
        return feat_NCHW + change


class StyleNetwork(nn.Module):
    """An image-to-image network for one or several styles.

    Args:
        kind: a key of `settings.NETWORKS`.
        styles: number of styles, K >= 1.

    Raises:
        KeyError: there is no such kind.
    """

    def __init__(self, kind: str, styles: int = 1):
        super().__init__()
        widths, block, resize_conv, ends_px = _KINDS[kind]
        full, half, quarter = widths.full, widths.half, widths.quarter
        conditions = styles * _POWERS
        self.styles = styles
        self.first = _Conv((3, full), conditions, size=ends_px)
        self.down = nn.ModuleList(
            [
                resize_conv((full, half), conditions, stride=2),
                resize_conv((half, quarter), conditions, stride=2),
            ]
        )
        self.blocks = nn.ModuleList([block(quarter, conditions) for _ in range(widths.blocks)])
        self.up = nn.ModuleList(
            [resize_conv((quarter, half), conditions), resize_conv((half, full), conditions)]
        )
        self.last = nn.Conv2d(full, 3, ends_px)
        self.start = ConditionalNorm(3, conditions)
        self._ends_padding = ends_px // 2
        with torch.no_grad():  # begin near a photo, which is much nearer than noise
            self.last.weight.mul_(0.1)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, image_N3HW: Tensor, strength_N: Tensor, styles_NK: Tensor) -> Tensor:
        """Return the stylized pictures.

        Args:
            image_N3HW: pictures in [0, 1], sides of at least `MIN_SIDE_PX`.
            strength_N: style weight of each picture relative to the preset's, from `MIN_STRENGTH`
                to `MAX_STRENGTH`; 1 is the preset.
            styles_NK: share of each style, with sum 1 in each row.

        Returns:
            image_N3HW in (0, 1), of the same size.
        """
        condition_NK = _condition(strength_N, styles_NK)
        feat = self.first(image_N3HW, condition_NK)
        sizes = []
        for down in self.down:
            sizes.append(feat.shape[2:])
            feat = down(feat, condition_NK)
        for block in self.blocks:
            feat = block(feat, condition_NK)
        for up in self.up:
            # The exact size, since an odd side is not twice the smaller one.
            feat = up(F.interpolate(feat, size=sizes.pop(), mode="nearest"), condition_NK)
        change = self.last(_reflected(feat, self._ends_padding))
        # The result starts from the photo, since shapes are hard to learn; and from normalized
        # colors, since a network that has to remove those of each photo fails on colors that it has
        # not seen. The sum in front of the logistic function keeps pixels within [0, 1] with a
        # gradient.
        photo = image_N3HW.clamp(_MARGIN, 1 - _MARGIN)
        start = self.start(torch.log(photo / (1 - photo)), condition_NK)
        return torch.sigmoid(start + change)


def _condition(strength_N: Tensor, styles_NK: Tensor) -> Tensor:
    """Return the condition of each picture: share of each style times powers of log strength."""
    position_N = torch.log(strength_N) * (1 / math.log(MAX_STRENGTH))
    powers_NP = torch.stack([torch.ones_like(position_N), position_N, position_N.square()], dim=1)
    return (styles_NK[:, :, None] * powers_NP[:, None, :]).flatten(1)


def _reflected(feat_NCHW: Tensor, padding: int) -> Tensor:
    return F.pad(feat_NCHW, (padding,) * 4, mode="reflect") if padding else feat_NCHW


_KINDS: dict[
    str, tuple[_Widths, Callable[[int, int], nn.Module], Callable[..., nn.Module], int]
] = {
    "small": (_Widths(full=32, half=64, quarter=128, blocks=5), _Residual, _Conv, 9),
    "mobile": (_Widths(full=16, half=32, quarter=64, blocks=6), _InvertedResidual, _Separable, 5),
}
