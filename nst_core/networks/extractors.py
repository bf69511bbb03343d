"""Networks as functions from images to named features, cut after the deepest layer asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nst_core.networks.registry import NETWORKS, POOLING_GAIN, Backbone
from nst_core.networks.winograd import WinogradConv


class Normalization(NamedTuple):
    """How pixels in [0, 1] enter a network: ``(pixel - mean) / std``, then RGB or BGR."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False


#: ``imagenet`` is what torchvision's networks were trained with, ``half`` what many scripts use,
#: ``caffe`` what the VGG networks converted from Caffe expect: BGR, 0 to 255, less the mean.
NORMALIZATION_STATS: Mapping[str, Normalization] = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": Normalization(
        (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255), bgr=True
    ),
}

#: Layers between two stored activations when memory is short; see `Extractor`.
CHECKPOINT_LAYERS = 4

_HEADS = ("avgpool", "classifier", "fc")


def bare_network(name: str) -> nn.Module:
    """Torchvision's network without its classifier, on the meta device (shapes, no memory)."""
    with torch.device("meta"):
        network: nn.Module = torchvision.models.get_model(name, weights=None)
    for head in _HEADS:
        if hasattr(network, head):
            setattr(network, head, nn.Identity())
    for module in network.modules():
        # In place, a ReLU would overwrite the convolution's features that a loss reads.
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
    return network.eval()


class Pool(nn.Module):
    """Average or L2 (root mean square) pooling in the place of a max pooling, rescaled."""

    def __init__(self, replaced: nn.MaxPool2d, kind: str):
        super().__init__()
        self._window: dict[str, Any] = {
            "kernel_size": replaced.kernel_size,
            "stride": replaced.stride,
            "padding": replaced.padding,
            "ceil_mode": replaced.ceil_mode,
            "count_include_pad": False,
        }
        self._kind, self._gain = kind, POOLING_GAIN[kind]

    def forward(self, feat_NCHW: Tensor) -> Tensor:
        """Pooled features, feat_NChw."""
        if self._kind == "average":
            return F.avg_pool2d(feat_NCHW, **self._window) * self._gain
        # The tiny term keeps the root's slope finite where a whole window is zero.
        return (F.avg_pool2d(feat_NCHW.square(), **self._window) + 1e-7).sqrt() * self._gain


class HannPool(nn.Module):
    """L2 pooling of the metric DISTS: the root of the mean square under a Hann window, halving.

    The window of 3x3 keeps aliases out that a plain 2x2 lets in (Hénaff & Simoncelli, arXiv
    1511.06394). One side of it is (1, 2, 1) / 4, the mean of two neighbors taken twice.
    """

    def forward(self, feat_NCHW: Tensor) -> Tensor:
        """Pooled features, feat_NChw; an odd side is rounded up."""
        once = F.avg_pool2d(feat_NCHW.square(), 2, stride=1, padding=1)
        return (F.avg_pool2d(once, 2, stride=2) + 1e-12).sqrt()


def _set_pooling(network: nn.Module, kind: str) -> None:
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d) and kind != "max":
            network.set_submodule(path, HannPool() if kind == "hann" else Pool(module, kind))


def _set_padding(network: nn.Module, kind: str) -> None:
    padded = [
        (path, module)
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and any(module.padding)
    ]
    if kind == "zeros":
        return
    for path, convolution in padded[:1] if kind == "replicate_first" else padded:
        height, width = (int(side) for side in convolution.padding)
        convolution.padding = (0, 0)
        border = nn.ReplicationPad2d((width, width, height, height))
        network.set_submodule(path, nn.Sequential(border, convolution))


def _set_winograd(network: nn.Module) -> None:
    suited = [
        (path, module)
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and WinogradConv.suits(module)
    ]
    for path, convolution in suited:
        network.set_submodule(path, WinogradConv(convolution))


class Extractor(nn.Module):
    """Features of a batch of images at the named layers; frozen.

    Args:
        backbone: network, pooling and padding.
        layers: layer names to return; nothing after the deepest is computed.
        weights: as `weights.get_weights` returns them, on the device and in the dtype to use.
        scale: input and features are computed this much smaller and handed back in full size, to
            keep them within float16; networks that are not `Network.homogeneous` take only 1.

    Attributes:
        checkpointing: keep only every `CHECKPOINT_LAYERS`-th activation for the backward pass and
            compute the others again, which halves the memory for a third more work.

    Calling it with normalized pixels x_N3HW gives ``{layer: feat_NCHW}`` in the pixels' dtype; with
    ``lanes``, layer -> how many lanes still read it or a deeper one, features are of so many first
    lanes, and no others are computed.
    """

    def __init__(
        self,
        backbone: Backbone,
        layers: Iterable[str],
        weights: Mapping[str, Tensor],
        scale: float = 1.0,
    ):
        super().__init__()
        known = NETWORKS[backbone.name]
        if scale != 1 and not known.homogeneous:
            raise ValueError(f"{backbone.name} cannot be scaled")
        network = bare_network(backbone.name)
        missing, unexpected = network.load_state_dict(dict(weights), strict=False, assign=True)
        wrong = [key for key in missing if not is_counter(key)] + list(unexpected)
        if wrong:
            raise ValueError(f"not weights of {backbone.name}: {wrong[:3]}")
        _set_pooling(network, backbone.pooling)
        _set_padding(network, backbone.padding)
        _set_winograd(network)
        # A list of pairs, not a ModuleDict: layers of one name across networks need no registry.
        self._all = [(name, network.get_submodule(path)) for name, path in known.node.items()]
        self.body = nn.ModuleList([module for _, module in self._all])
        self._known = known
        self.scale = scale
        self.checkpointing = False
        if scale != 1:
            for module in self.body.modules():
                if isinstance(module, nn.Conv2d) and module.bias is not None:
                    module.bias = nn.Parameter(module.bias * scale)
        self.requires_grad_(False)
        self._read(layers)

    def _read(self, layers: Iterable[str]) -> None:
        self.layers = frozenset(layers)
        deepest = self._known.layers.index(self._known.deepest(self.layers))
        self._steps = self._all[: deepest + 1]

    def cut(self, layers: Iterable[str]) -> Extractor:
        """The same network, with the same weights in memory, to be read at other layers."""
        other = copy.copy(self)
        other._read(layers)
        return other

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.parameters()).dtype

    def forward(
        self, pixels_N3HW: Tensor, lanes: Mapping[str, int] | None = None
    ) -> dict[str, Tensor]:
        """Features by layer name, feat_NCHW."""
        value = (pixels_N3HW * self.scale if self.scale != 1 else pixels_N3HW).to(self.dtype)
        features: dict[str, Tensor] = {}
        size = CHECKPOINT_LAYERS if self.checkpointing else len(self._steps)
        for start in range(0, len(self._steps), size):
            steps = self._steps[start : start + size]
            if self.checkpointing and torch.is_grad_enabled():
                # Nothing in a network is random, and asking CUDA for its state stops recording.
                value, found = checkpoint(
                    self._run, value, steps, lanes, use_reentrant=False, preserve_rng_state=False
                )
            else:
                value, found = self._run(value, steps, lanes)
            features.update(found)
        return {name: self._handed_back(feat, pixels_N3HW) for name, feat in features.items()}

    def _run(
        self, value: Tensor, steps: list[tuple[str, nn.Module]], lanes: Mapping[str, int] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        found = {}
        for name, module in steps:
            if lanes and lanes[name] < len(value):
                value = value[: lanes[name]]
            value = module(value)
            if name in self.layers:
                found[name] = value
        return value, found

    def _handed_back(self, feat_NCHW: Tensor, pixels_N3HW: Tensor) -> Tensor:
        feat_NCHW = feat_NCHW.to(pixels_N3HW.dtype)
        return feat_NCHW / self.scale if self.scale != 1 else feat_NCHW


def is_counter(key: str) -> bool:
    """Whether a tensor only counts batch normalization's training steps; nothing reads it here."""
    return key.endswith("num_batches_tracked")


class Normalizer:
    """Pixels of N lanes into what their network expects.

    Args:
        names: a key of `NORMALIZATION_STATS` for each lane.
        like: a tensor of the device and dtype to work in.
    """

    def __init__(self, names: Sequence[str], like: Tensor):
        stats = [NORMALIZATION_STATS[name] for name in names]
        self._mean = like.new_tensor([s.mean for s in stats])[:, :, None, None]
        self._std = like.new_tensor([s.std for s in stats])[:, :, None, None]
        self._bgr = torch.tensor([s.bgr for s in stats], device=like.device)[:, None, None, None]
        self._any_bgr = any(s.bgr for s in stats)

    def __call__(self, image_N3HW: Tensor) -> Tensor:
        """Normalized pixels, x_N3HW."""
        pixels = (image_N3HW - self._mean) / self._std
        return torch.where(self._bgr, pixels.flip(1), pixels) if self._any_bgr else pixels
