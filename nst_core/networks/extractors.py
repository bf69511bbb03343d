"""Extractor: a network as a function from images to the features of named layers."""

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
from nst_core.networks.rowwise import Rowwise
from nst_core.networks.winograd import WinogradConv


class Normalization(NamedTuple):
    """Preprocessing of pixels in [0, 1]: ``(pixel - mean) / std``, then RGB or BGR."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False


#: ``imagenet`` is the preprocessing of torchvision's networks, ``half`` that of many scripts, and
#: ``caffe`` that of VGG networks converted from Caffe: BGR, 0 to 255, minus the mean.
NORMALIZATION_STATS: Mapping[str, Normalization] = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": Normalization(
        (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255), bgr=True
    ),
}

#: Number of layers from one stored activation to the next; see `Extractor.checkpointing`.
CHECKPOINT_LAYERS = 4

_HEADS = ("avgpool", "classifier", "fc")


def bare_network(name: str) -> nn.Module:
    """Return torchvision's network without classifier, on the meta device (shapes only)."""
    with torch.device("meta"):
        network: nn.Module = torchvision.models.get_model(name, weights=None)
    for head in _HEADS:
        if hasattr(network, head):
            setattr(network, head, nn.Identity())
    for module in network.modules():
        # An in-place ReLU would overwrite features of the convolution that a loss reads.
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
    return network.eval()


class Pool(nn.Module):
    """Average or L2 (root mean square) pooling that replaces max pooling, times `POOLING_GAIN`.

    Args:
        replaced: max pooling whose window is used.
        kind: ``average`` or ``l2``.
    """

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
        """Return pooled features, feat_NChw."""
        if self._kind == "average":
            return F.avg_pool2d(feat_NCHW, **self._window) * self._gain
        # The constant keeps the gradient of the root finite where a window is all zero.
        return (F.avg_pool2d(feat_NCHW.square(), **self._window) + 1e-7).sqrt() * self._gain


class HannPool(nn.Module):
    """L2 pooling of the metric DISTS: root of the squares weighted by a Hann window, stride 2.

    The 3x3 window avoids aliasing that a plain 2x2 window has (Hénaff & Simoncelli, arXiv
    1511.06394). In one dimension it is (1, 2, 1) / 4, two means of neighbors in a row.
    """

    def forward(self, feat_NCHW: Tensor) -> Tensor:
        """Return pooled features, feat_NChw; half of an odd side is rounded up."""
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
    """Frozen network that returns the features of a batch of images at named layers.

    Args:
        backbone: network, pooling and padding.
        layers: layer names to return; layers after the deepest of them are not computed.
        weights: as `weights.get_weights` returns them, on the device and in the dtype to use.
        scale: factor for input and biases that keeps values in the range of float16; features are
            divided by it again. Networks that are not `Network.homogeneous` need 1.

    Attributes:
        checkpointing: store only every `CHECKPOINT_LAYERS`-th activation for the backward pass and
            compute the others again, which halves the memory for a third more work.

    Raises:
        ValueError: the weights are not those of the network, or it cannot be scaled.
    """

    def __init__(
        self,
        backbone: Backbone,
        layers: Iterable[str],
        weights: Mapping[str, Tensor],
        scale: float = 1.0,
    ):
        super().__init__()
        spec = NETWORKS[backbone.name]
        if scale != 1 and not spec.homogeneous:
            raise ValueError(f"{backbone.name} cannot be scaled")
        network = bare_network(backbone.name)
        missing, unexpected = network.load_state_dict(dict(weights), strict=False, assign=True)
        wrong = [key for key in missing if not is_counter(key)] + list(unexpected)
        if wrong:
            raise ValueError(f"not weights of {backbone.name}: {wrong[:3]}")
        _set_pooling(network, backbone.pooling)
        _set_padding(network, backbone.padding)
        _set_winograd(network)
        self._all = [(name, network.get_submodule(path)) for name, path in spec.node.items()]
        self.body = nn.ModuleList([module for _, module in self._all])
        self._spec = spec
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
        deepest = self._spec.layers.index(self._spec.deepest(self.layers))
        self._steps = self._all[: deepest + 1]

    def cut(self, layers: Iterable[str]) -> Extractor:
        """Return an extractor of other layers that shares network and weights with this one."""
        other = copy.copy(self)
        other._read(layers)
        return other

    def feature_shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """Return layer -> shape [C, H, W] of its features for images of a size in pixels."""
        weights = {name: value.to("meta") for name, value in self.state_dict().items()}
        pixels = torch.empty(1, 3, height, width, device="meta")
        features = torch.func.functional_call(self, weights, pixels)
        return {name: tuple(feat.shape[1:]) for name, feat in features.items()}

    @property
    def dtype(self) -> torch.dtype:
        """Number format in which the network computes."""
        return next(self.parameters()).dtype

    def forward(
        self, pixels_N3HW: Tensor, lanes: Mapping[str, int] | None = None
    ) -> dict[str, Tensor]:
        """Return features by layer name, feat_NCHW in the dtype of the pixels.

        Args:
            pixels_N3HW: pixels after normalization.
            lanes: layer -> number of lanes that read this layer or a deeper one. Only this many
                first lanes are computed and returned.
        """
        value = (pixels_N3HW * self.scale if self.scale != 1 else pixels_N3HW).to(self.dtype)
        features: dict[str, Tensor] = {}
        size = CHECKPOINT_LAYERS if self.checkpointing else len(self._steps)
        for start in range(0, len(self._steps), size):
            steps = self._steps[start : start + size]
            if self.checkpointing and torch.is_grad_enabled():
                # No layer is random, and a CUDA graph cannot record the query of the random state.
                value, segment = checkpoint(
                    self._run, value, steps, lanes, use_reentrant=False, preserve_rng_state=False
                )
            else:
                value, segment = self._run(value, steps, lanes)
            features.update(segment)
        return {name: self._unscaled(feat, pixels_N3HW) for name, feat in features.items()}

    def _run(
        self, value: Tensor, steps: list[tuple[str, nn.Module]], lanes: Mapping[str, int] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = {}
        for name, module in steps:
            if lanes and lanes[name] < len(value):
                value = value[: lanes[name]]
            value = module(value)
            if name in self.layers:
                features[name] = value
        return value, features

    def _unscaled(self, feat_NCHW: Tensor, pixels_N3HW: Tensor) -> Tensor:
        feat_NCHW = feat_NCHW.to(pixels_N3HW.dtype)
        return feat_NCHW / self.scale if self.scale != 1 else feat_NCHW


def is_counter(key: str) -> bool:
    """Return whether a tensor is batch normalization's count of training steps, which is unused."""
    return key.endswith("num_batches_tracked")


class Normalizer(Rowwise):
    """Preprocessing of the pixels of N lanes, each with its own normalization.

    Args:
        names: a key of `NORMALIZATION_STATS` for each lane.
        like: a tensor whose device and dtype are used.
        any_bgr: whether BGR must be possible; None: if one of the lanes needs it.
    """

    def __init__(self, names: Sequence[str], like: Tensor, any_bgr: bool | None = None):
        stats = [NORMALIZATION_STATS[name] for name in names]
        # One copy to the device for both.
        both_2N3 = like.new_tensor([[s.mean for s in stats], [s.std for s in stats]])
        self._mean, self._std = both_2N3[..., None, None]
        self._bgr = torch.tensor([s.bgr for s in stats], device=like.device)[:, None, None, None]
        self._any_bgr = any(s.bgr for s in stats) if any_bgr is None else any_bgr

    def __call__(self, image_N3HW: Tensor) -> Tensor:
        """Return normalized pixels, x_N3HW."""
        pixels = (image_N3HW - self._mean) / self._std
        return torch.where(self._bgr, pixels.flip(1), pixels) if self._any_bgr else pixels
