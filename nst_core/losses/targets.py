"""FeatureStore: extractors and targets on one device, each made once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import luminance, luminance_like, recolored
from nst_core.lanes.step_graph import StepGraphs
from nst_core.losses.byte_lru import ByteLRU, Key
from nst_core.losses.functional import Moments, color_quantiles, moments
from nst_core.losses.inputs import LossInputs, Region, Style, resize_mask, resize_style
from nst_core.networks.extractors import Extractor, Normalizer
from nst_core.networks.precision import arithmetic
from nst_core.networks.registry import NETWORKS, Backbone
from nst_core.networks.weights import Weights

#: Layout of pixels and features: 1.2x faster a step at 96 px on a CPU, and what cuDNN prefers.
MEMORY_FORMAT = torch.channels_last

#: What the network computes in where that is not the store's own type.
NETWORK_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

#: Most bytes that a store keeps of targets. Searches try settings, such as how large a style is
#: seen, and each value has targets of its own: without a bound, an engine kept 7 MiB a trial of
#: styles, and about 1 GB of content features in `wide` with 4 pairs at 256 px.
MOST_BYTES = 512 * 2**20

#: Features of a homogeneous network are kept so much smaller in float16, which ends at 65504.
FLOAT16_SCALE = 1 / 32


class FeatureStore:
    """Extractors and targets on one device: weights once, each target once.

    Targets are always computed in the store's own precision: they are computed once, and an error
    in them would be there in every step. They are kept until `forget`, or until `trim` finds that
    all together take more than `MOST_BYTES`; what depends on a style image alone stays for all
    pictures of one size.

    Args:
        weights: returns the weights of a network by its name; asked once per network.
        device: where the work happens.
        dtype: precision of pixels and losses, and of networks where a lane asks for no other.

    Attributes:
        checkpointing: see `Extractor`.
        graphs: records steps, where the device can.
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
        self.graphs = StepGraphs.for_device(self.device)
        self._placed_once: dict[tuple[str, torch.dtype], Weights] = {}
        self._networks: dict[tuple[Backbone, torch.dtype], Extractor] = {}
        self._extractors: dict[tuple[object, ...], Extractor] = {}
        self._made = ByteLRU(MOST_BYTES)

    def extractor(
        self, backbone: Backbone, layers: Iterable[str], precision: str = "float32"
    ) -> Extractor:
        """The network cut for ``layers``; networks of one name share their weights."""
        dtype = NETWORK_DTYPES.get(precision, self.dtype)
        key = (backbone, frozenset(layers), dtype)
        if key not in self._extractors:
            self._extractors[key] = self._network(backbone, dtype).cut(layers)
        self._extractors[key].checkpointing = self.checkpointing
        return self._extractors[key]

    def _network(self, backbone: Backbone, dtype: torch.dtype) -> Extractor:
        """A whole network, of which the extractors are cuts."""
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
        """A tensor on this store's device and in its dtype."""
        return image.to(self.device, self.dtype)

    def content(self, config: StyleConfig, inputs: LossInputs, layer: str) -> Tensor:
        """feat_CHW of the content image."""
        key = ("content", *self._view(config), inputs.key)

        def make() -> dict[str, Tensor]:
            image = self.place(inputs.content_3HW)
            if config.preserve_color == "luminance":
                image = luminance(image)
            layers = {name for name, weight in config.content_layers.items() if weight > 0}
            return {k: feat[0] for k, feat in self._features(config, image, layers | {layer})}

        found: Tensor = _layered(self._made, key, layer, make)
        return found

    def style(self, config: StyleConfig, inputs: LossInputs, region: int, layer: str) -> Moments:
        """Moments (of one lane) blended over the styles of a region by their weights.

        Those of each style image are kept. A blend is kept as well where the weights are the
        pictures' own, so that lanes share it; searched weights are hardly ever the same twice.
        """
        chosen = inputs.regions[region]
        if len(chosen.styles) == 1:
            return self._one_style(config, inputs, chosen.styles[0], layer)

        def blended() -> Moments:
            parts = [self._one_style(config, inputs, style, layer) for style in chosen.styles]
            shares = chosen.blend(config.style_blend)
            weighed = [[m * share for m in part] for part, share in zip(parts, shares, strict=True)]
            return Moments(*(torch.stack(field).sum(0) for field in zip(*weighed, strict=True)))

        if config.style_blend is not None:
            return blended()
        looks = [(*self._look(config, inputs, s), s.weight) for s in chosen.styles]
        key = ("blend", *itertools.chain.from_iterable(looks))
        found: Moments = _layered(self._made, key, layer, lambda: {layer: blended()})
        return found

    def _one_style(
        self, config: StyleConfig, inputs: LossInputs, style: Style, layer: str
    ) -> Moments:
        """Moments of one style image."""

        def make() -> dict[str, Moments]:
            layers = {name for name, weight in config.style_layers.items() if weight > 0}
            size_px = round(inputs.size_px * config.style_scale)
            image, mask = self._style_image(config, inputs, style, size_px)
            found = {}
            for name, feat in self._features(config, image, layers | {layer}):
                small = None if mask is None else resize_mask(mask, *feat.shape[2:])[None, None]
                found[name] = moments(feat, small)
            return found

        key = ("style", *self._look(config, inputs, style))
        found: Moments = _layered(self._made, key, layer, make)
        return found

    def _look(self, config: StyleConfig, inputs: LossInputs, style: Style) -> Key:
        """All that the moments of one style image depend on; the content only if it recolours."""
        size_px = round(inputs.size_px * config.style_scale)
        content = inputs.key if self._recolors(config) else None
        return *self._view(config), config.match_colors, size_px, style.key, content

    def color_quantiles(self, config: StyleConfig, inputs: LossInputs) -> Tensor:
        """quantiles_3P of the styles' colours, P being the result's pixels, blended by weight."""
        key = ("color", inputs.key, config.match_colors, config.preserve_color == "luminance")
        height, width = inputs.height_width
        if key not in self._made:
            quantiles = [
                color_quantiles(self._recolored(config, inputs, self.place(image)), height * width)
                for image, _ in inputs.styles
            ]
            self._made.update({key: quantiles})
        shares = [share for _, share in inputs.blended(config.style_blend)]
        parts = [part * share for part, share in zip(self._made[key], shares, strict=True)]
        return torch.stack(parts).sum(0)

    def laplacian(self, inputs: LossInputs) -> Tensor:
        """Sparse matting Laplacian of the content, laplacian_PP."""
        key = ("laplacian", inputs.key)
        if key not in self._made:
            from nst_core.losses.laplacian import matting_laplacian  # an optional dependency

            self._made.update({key: self.place(matting_laplacian(inputs.content_3HW))})
        found: Tensor = self._made[key]
        return found

    def mask(self, region: Region, inputs: LossInputs) -> Tensor:
        """A region's mask, mask_HW; ones where the region is the whole picture."""
        if region.mask_HW is None:
            return torch.ones(inputs.height_width, device=self.device, dtype=self.dtype)
        return self.place(region.mask_HW)

    def forget(self, inputs: LossInputs) -> None:
        """Let go of what was made for a picture, at all sizes; it is made again if asked for."""
        keys = inputs.keys
        self._made.drop(lambda key: not keys.isdisjoint(key))

    def trim(self) -> None:
        """Drop the targets that were used longest ago, where all take more than `MOST_BYTES`."""
        self._made.trim()

    def _view(self, config: StyleConfig) -> Key:
        """What of a configuration changes how a picture looks to its network."""
        grey = config.preserve_color == "luminance"
        return config.backbone, config.normalization, grey

    def _style_image(
        self, config: StyleConfig, inputs: LossInputs, style: Style, size_px: int
    ) -> tuple[Tensor, Tensor | None]:
        image = self.place(resize_style(style.image_3HW, size_px))
        image = self._recolored(config, inputs, image)
        mask = style.style_region_HW
        return image, None if mask is None else self.place(mask)

    def _recolored(self, config: StyleConfig, inputs: LossInputs, image: Tensor) -> Tensor:
        content = self.place(inputs.content_3HW)
        if config.preserve_color == "luminance":
            return luminance_like(image, content)
        return recolored(image, content, config.match_colors)

    @staticmethod
    def _recolors(config: StyleConfig) -> bool:
        """Whether style images are given colours of the content."""
        return config.match_colors != "none" or config.preserve_color == "luminance"

    @torch.no_grad()
    def _features(
        self, config: StyleConfig, image_3HW: Tensor, layers: Iterable[str]
    ) -> list[tuple[str, Tensor]]:
        normalize = Normalizer([config.normalization], image_3HW)
        pixels = normalize(image_3HW[None]).contiguous(memory_format=MEMORY_FORMAT)
        with arithmetic("float32", self.device):
            return list(self.extractor(config.backbone, layers)(pixels).items())


def _layered(kept: ByteLRU, key: Key, layer: str, make: Callable[[], Mapping[str, Any]]) -> Any:
    """What was made for a layer, together with others, or is made now."""
    if (*key, layer) not in kept:
        kept.update({(*key, name): value for name, value in make().items()})
    return kept[(*key, layer)]
