"""FeatureStore: networks and loss targets on one device, each computed once and shared by lanes.

Targets are the content features, the moments of style features, the color quantiles of the styles
and the matting Laplacian; `batch_loss` compares images with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import luminance, luminance_like, recolored
from nst_core.losses.byte_lru import ByteLRU, Key
from nst_core.losses.functional import Moments, color_quantiles, moments
from nst_core.losses.inputs import LossInputs, Style, resize_mask, resize_style
from nst_core.networks.extractors import Extractor, Normalizer
from nst_core.networks.precision import arithmetic
from nst_core.networks.registry import NETWORKS, Backbone
from nst_core.networks.weights import Weights

#: Memory layout of images and features: steps are 1.2x faster at 96 px on a CPU, and cuDNN prefers
#: it.
MEMORY_FORMAT = torch.channels_last

#: Network dtypes by `StyleConfig.precision`; other precisions use the dtype of the store.
NETWORK_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

#: Largest size of all targets that a store keeps. Targets depend on searched settings, such as
#: ``style_scale``. Without a limit, an engine kept 7 MiB of style targets per trial, and about 1 GB
#: of content features in the space `wide` with 4 pairs at 256 px.
MAX_BYTES = 512 * 2**20

#: Factor of the features of homogeneous networks in float16, whose largest number is 65504.
FLOAT16_SCALE = 1 / 32


class FeatureStore:
    """Extractors and targets on one device; each network and each target exists once.

    Targets are computed in the dtype of the store, whatever the precision of a lane, since an error
    in a target would affect every step. They are kept until `forget` removes them or until `trim`
    finds that all targets take more than `MAX_BYTES`. A target that depends only on a style image
    serves all content images of one size.

    Args:
        weights: returns the weights of a network by its name; called once per network.
        device: where to compute.
        dtype: dtype of images, losses and targets, and of networks in ``precision: float32``.

    Attributes:
        checkpointing: whether extractors compute activations again in the backward pass, see
            `Extractor`.
    """

    def __init__(
        self,
        weights: Callable[[str], Weights],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self._weights = weights
        self.device = torch.device(device)
        self.dtype = dtype
        self.checkpointing = False
        self._placed_once: dict[tuple[str, torch.dtype], Weights] = {}
        self._networks: dict[tuple[Backbone, torch.dtype], Extractor] = {}
        self._extractors: dict[tuple[object, ...], Extractor] = {}
        self._normalizers: dict[str, Normalizer] = {}
        self._targets = ByteLRU(MAX_BYTES)
        self._shapes: dict[tuple[Backbone, int, int], dict[str, tuple[int, int, int]]] = {}

    def extractor(
        self, backbone: Backbone, layers: Iterable[str], precision: str = "float32"
    ) -> Extractor:
        """Return a network up to the deepest of ``layers``.

        Args:
            backbone: which network; extractors of one network share their weights.
            layers: layers whose features are needed.
            precision: see `StyleConfig.precision`.
        """
        dtype = NETWORK_DTYPES.get(precision, self.dtype)
        key = (backbone, frozenset(layers), dtype)
        if key not in self._extractors:
            self._extractors[key] = self._network(backbone, dtype).cut(layers)
        self._extractors[key].checkpointing = self.checkpointing
        return self._extractors[key]

    def _network(self, backbone: Backbone, dtype: torch.dtype) -> Extractor:
        """Return a whole network, of which extractors are parts."""
        if (backbone, dtype) not in self._networks:
            scaled = dtype == torch.float16 and NETWORKS[backbone.name].homogeneous
            self._networks[backbone, dtype] = Extractor(
                backbone,
                NETWORKS[backbone.name].layers,
                self._placed_weights(backbone.name, dtype),
                scale=FLOAT16_SCALE if scaled else 1.0,
            )
        return self._networks[backbone, dtype]

    def _placed_weights(self, name: str, dtype: torch.dtype) -> Weights:
        if (name, dtype) not in self._placed_once:
            self._placed_once[name, dtype] = {
                key: self._placed(value, dtype) for key, value in self._weights(name).items()
            }
        return self._placed_once[name, dtype]

    def _placed(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        weight = weight.to(self.device, dtype)
        return weight.contiguous(memory_format=MEMORY_FORMAT) if weight.ndim == 4 else weight

    def place(self, image: Tensor) -> Tensor:
        """Return a tensor on the device and in the dtype of the store."""
        return image.to(self.device, self.dtype)

    def content(self, config: StyleConfig, inputs: LossInputs, layer: str) -> Tensor:
        """Return feat_CHW, the features of the content image in a layer."""
        key = ("content", *self._network_key(config), inputs.key)

        def compute() -> dict[str, Tensor]:
            image = self.place(inputs.content_3HW)
            if config.preserve_color == "luminance":
                image = luminance(image)
            layers = {name for name, weight in config.content_layers.items() if weight > 0}
            return {k: feat[0] for k, feat in self._features(config, image, layers | {layer})}

        target: Tensor = _cached(self._targets, key, layer, compute)
        return target

    def style(self, config: StyleConfig, inputs: LossInputs, region: int, layer: str) -> Moments:
        """Return moments (N = 1) of style features in a layer, blended over a region's styles.

        The moments of each style image are cached. A blend is cached only if its weights are those
        of the style images, so that lanes share it: searched weights hardly ever occur twice.

        Args:
            config: settings of the lane.
            inputs: its images at the current size.
            region: index in ``inputs.regions``.
            layer: name of the layer.
        """
        styles = inputs.regions[region].styles
        if len(styles) == 1:
            return self._one_style(config, inputs, styles[0], layer)

        def blended() -> Moments:
            parts = [self._one_style(config, inputs, style, layer) for style in styles]
            shares = inputs.regions[region].blend(config.style_blend)
            weighed = [[m * share for m in part] for part, share in zip(parts, shares, strict=True)]
            return Moments(*(torch.stack(field).sum(0) for field in zip(*weighed, strict=True)))

        if config.style_blend is not None:
            return blended()
        keys = [(*self._style_key(config, inputs, s), s.weight) for s in styles]
        key = ("blend", *itertools.chain.from_iterable(keys))
        blend: Moments = _cached(self._targets, key, layer, lambda: {layer: blended()})
        return blend

    def _one_style(
        self, config: StyleConfig, inputs: LossInputs, style: Style, layer: str
    ) -> Moments:
        """Return the moments (N = 1) of one style image in a layer."""

        def compute() -> dict[str, Moments]:
            layers = {name for name, weight in config.style_layers.items() if weight > 0}
            size_px = round(inputs.size_px * config.style_scale)
            image, mask = self._style_image(config, inputs, style, size_px)
            by_layer = {}
            for name, feat in self._features(config, image, layers | {layer}):
                resized = None if mask is None else resize_mask(mask, *feat.shape[2:])[None, None]
                by_layer[name] = moments(feat, resized)
            return by_layer

        key = ("style", *self._style_key(config, inputs, style))
        target: Moments = _cached(self._targets, key, layer, compute)
        return target

    def _style_key(self, config: StyleConfig, inputs: LossInputs, style: Style) -> Key:
        """Return everything on which the moments of a style image depend.

        The content is part of it only if the style image takes over colors of the content.
        """
        size_px = round(inputs.size_px * config.style_scale)
        content = inputs.key if self._recolors(config) else None
        return *self._network_key(config), config.match_colors, size_px, style.key, content

    def color_quantiles(self, config: StyleConfig, inputs: LossInputs) -> Tensor:
        """Return quantiles_3P of the styles' colors, blended by weight; P = H W of the result."""
        key = ("color", inputs.key, config.match_colors, config.preserve_color == "luminance")
        height, width = inputs.height_width
        if key not in self._targets:
            quantiles = [
                color_quantiles(self.place(self._recolored(config, inputs, image)), height * width)
                for image, _ in inputs.styles
            ]
            self._targets.update({key: quantiles})
        shares = [share for _, share in inputs.blended(config.style_blend)]
        parts = [part * share for part, share in zip(self._targets[key], shares, strict=True)]
        return torch.stack(parts).sum(0)

    def laplacian(self, inputs: LossInputs) -> Tensor:
        """Return laplacian_PP, the sparse matting Laplacian of the content image."""
        key = ("laplacian", inputs.key)
        if key not in self._targets:
            from nst_core.losses.laplacian import matting_laplacian  # needs an optional extra

            self._targets.update({key: self.place(matting_laplacian(inputs.content_3HW))})
        target: Tensor = self._targets[key]
        return target

    def feature_shape(
        self, backbone: Backbone, layer: str, height: int, width: int
    ) -> tuple[int, int, int]:
        """Return the shape [C, H, W] of the features of images of a size in pixels."""
        key = (backbone, height, width)
        if key not in self._shapes:
            network = self._network(backbone, self.dtype)
            self._shapes[key] = network.feature_shapes(height, width)
        return self._shapes[key][layer]

    def forget(self, inputs: LossInputs) -> None:
        """Remove all targets of a content image, at all sizes; a later request computes them."""
        keys = inputs.keys
        self._targets.drop(lambda key: not keys.isdisjoint(key))

    def trim(self) -> None:
        """Drop the least recently used targets until the others take at most `MAX_BYTES`."""
        self._targets.trim()

    def _network_key(self, config: StyleConfig) -> Key:
        """Return the settings that change the features of a given image."""
        is_gray = config.preserve_color == "luminance"
        return config.backbone, config.normalization, is_gray

    def _style_image(
        self, config: StyleConfig, inputs: LossInputs, style: Style, size_px: int
    ) -> tuple[Tensor, Tensor | None]:
        image = self._recolored(config, inputs, resize_style(style.image_3HW, size_px))
        mask = style.style_region_HW
        return self.place(image), None if mask is None else self.place(mask)

    def _recolored(self, config: StyleConfig, inputs: LossInputs, image: Tensor) -> Tensor:
        """Return a style image with the colors that the targets are computed from.

        It is computed on the host, where both images are: histograms and the roots of covariances
        would make the host wait for the device.
        """
        if not self._recolors(config):
            return image
        image, content = (value.to(self.dtype) for value in (image, inputs.content_3HW))
        if config.preserve_color == "luminance":
            return luminance_like(image, content)
        return recolored(image, content, config.match_colors)

    @staticmethod
    def _recolors(config: StyleConfig) -> bool:
        """Return whether style images take over colors of the content image."""
        return config.match_colors != "none" or config.preserve_color == "luminance"

    @torch.no_grad()
    def _features(
        self, config: StyleConfig, image_3HW: Tensor, layers: Iterable[str]
    ) -> list[tuple[str, Tensor]]:
        name = config.normalization
        if name not in self._normalizers:
            self._normalizers[name] = Normalizer([name], image_3HW)
        pixels = self._normalizers[name](image_3HW[None]).contiguous(memory_format=MEMORY_FORMAT)
        with arithmetic("float32", self.device):
            return list(self.extractor(config.backbone, layers)(pixels).items())


def _cached(cache: ByteLRU, key: Key, layer: str, compute: Callable[[], Mapping[str, Any]]) -> Any:
    """Return the target of a layer; if it is missing, ``compute`` targets of several layers."""
    if (*key, layer) not in cache:
        cache.update({(*key, name): target for name, target in compute().items()})
    return cache[(*key, layer)]
