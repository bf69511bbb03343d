"""LossKinds: which terms the losses of some lanes consist of, whatever their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nst_core.config import StyleConfig
from nst_core.losses.inputs import LossInputs


@dataclass(frozen=True, kw_only=True)
class LossKinds:
    """Terms of a `BatchLoss` that is made for more lanes than it has now.

    Attributes:
        content: layers of content terms.
        style: layer and ``style_loss`` of style terms.
        tv: norms of total variation.
        color: kinds of color losses.
        flags: what else is computed: ``gray`` images, ``bgr`` pixels, region ``masks``, ``photo``.
        regions: largest number of regions of a lane.
    """

    content: frozenset[str]
    style: frozenset[tuple[str, str]]
    tv: frozenset[str]
    color: frozenset[str]
    flags: frozenset[str]
    regions: int

    @classmethod
    def of(cls, lanes: Sequence[tuple[StyleConfig, LossInputs]]) -> LossKinds:
        """Return the kinds of the losses of some lanes."""
        configs = [config for config, _ in lanes]
        flags = {
            "gray": any(c.preserve_color == "luminance" for c in configs),
            "bgr": any(c.normalization == "caffe" for c in configs),
            "masks": any(inputs.masks for _, inputs in lanes),
            "photo": any(c.photo_weight for c in configs),
        }
        return cls(
            content=frozenset(
                layer for c in configs for layer, weight in content_weights(c).items() if weight
            ),
            style=frozenset(
                (layer, c.style_loss)
                for c in configs
                for layer, weight in style_weights(c).items()
                if weight
            ),
            tv=frozenset(c.tv_norm for c in configs if c.tv_weight),
            color=frozenset(c.color_loss for c in configs if c.color_weight),
            flags=frozenset(name for name, is_set in flags.items() if is_set),
            regions=max(len(inputs.regions) for _, inputs in lanes),
        )

    def covers(self, other: LossKinds) -> bool:
        """Return whether losses of the other kinds can be computed with the terms of these."""
        return (
            self.content >= other.content
            and self.style >= other.style
            and self.tv >= other.tv
            and self.color >= other.color
            and self.flags >= other.flags
            and self.regions >= other.regions
        )

    @property
    def terms(self) -> int:
        """Number of terms of all regions, a measure of the work."""
        return len(self.content) + self.regions * len(self.style) + len(self.tv) + len(self.color)

    @property
    def layers(self) -> frozenset[str]:
        """Network layers that the terms read."""
        return self.content | {layer for layer, _ in self.style}

    @property
    def recordable(self) -> bool:
        """Whether it can be recorded as a CUDA graph: eigenvalues and sparse products cannot."""
        return "photo" not in self.flags and all(loss != "wasserstein" for _, loss in self.style)


def content_weights(config: StyleConfig) -> dict[str, float]:
    """Return layer -> weight of the content term of this layer."""
    return {
        layer: config.content_weight * weight for layer, weight in config.content_layers.items()
    }


def style_weights(config: StyleConfig) -> dict[str, float]:
    """Return layer -> weight of the style term of this layer."""
    return {layer: config.style_weight * weight for layer, weight in config.style_layers.items()}
