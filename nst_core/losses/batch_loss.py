"""BatchLoss: the losses of all lanes of a batch, one number per lane.

The loss of a lane is a weighted sum of these terms. Formulas are in `functional`, targets come from
`targets.FeatureStore`:

========= ============================================================= ==========================
term      formula                                                       weight in `StyleConfig`
========= ============================================================= ==========================
content   `functional.content_loss` in each of ``content_layers``       ``content_weight``
style     `functional.style_loss` in each of ``style_layers``           ``style_weight``
tv        `functional.total_variation`                                  ``tv_weight``
color     `functional.mean_color_loss`, `functional.histogram_loss`     ``color_weight``
photo     `functional.matting_loss`                                     ``photo_weight``
========= ============================================================= ==========================

A content or style term covers one layer and one formula (`terms`). No lane's loss depends on other
lanes.

In shapes, N is the number of lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import luminance
from nst_core.losses.functional import (
    COLOR_LOSSES,
    Moments,
    content_loss,
    matting_loss,
    moments,
    total_variation,
)
from nst_core.losses.inputs import LossInputs
from nst_core.losses.loss_kinds import LossKinds
from nst_core.losses.targets import FeatureStore
from nst_core.losses.terms import TermBuilder, depth_of
from nst_core.networks.extractors import Normalizer
from nst_core.networks.rowwise import Rowwise


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Weighted loss terms of every lane, each loss_N, and their sum ``total``."""

    total: Tensor
    content: Tensor
    style: Tensor
    tv: Tensor
    color: Tensor
    photo: Tensor

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Losses:
        """Return the losses that `tensors` turned into a list."""
        return cls(**dict(zip(cls.names(), tensors, strict=True)))

    def tensors(self) -> list[Tensor]:
        """Return total and terms in the order of `names`."""
        return [getattr(self, name) for name in self.names()]

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of total and terms in the order of the fields."""
        return [spec.name for spec in fields(cls)]

    def detached(self, rows: Tensor | None = None) -> Losses:
        """Return a copy without the graph of autograd, of some rows or of all."""
        values = [value.detach() for value in self.tensors()]
        return Losses.from_tensors([v.clone() if rows is None else v[rows] for v in values])


class LossTerms(NamedTuple):
    """Weighted loss terms of every lane before the style weight's schedule, each loss_N."""

    content: Tensor
    style: Tensor
    tv: Tensor
    color: Tensor
    photo: Tensor

    def scaled(self, style_factor_N: Tensor) -> Losses:
        """Return the losses with style terms times ``style_factor_N``, see `Schedules`."""
        style = self.style * style_factor_N
        total = self.content + style + self.tv + self.color + self.photo
        return Losses(**{**self._asdict(), "style": style, "total": total})


class BatchLoss(Rowwise):
    """Loss function of N lanes that share backbone, precision and image shape.

    Args:
        store: extractors and targets.
        lanes: settings and images of each lane.
        kinds: compute all of these terms for every lane, so that lanes can be exchanged
            (`terms`). None: compute each term only for the lanes that use it, and each network
            layer only for lanes that use it or a deeper one. Lanes must then be sorted by
            `depth_of`, deepest first, so that these are always the first ones.

    Attributes:
        null_loss_N: loss of an image without features, with the largest total variation. This is
            the natural scale of a lane's loss, whatever its weights: a loss far above it has
            exploded.

    Raises:
        ValueError: lanes are not sorted.
    """

    def __init__(
        self,
        store: FeatureStore,
        lanes: Sequence[tuple[StyleConfig, LossInputs]],
        kinds: LossKinds | None = None,
    ) -> None:
        configs = [config for config, _ in lanes]
        depths = [depth_of(config) for config in configs]
        if kinds is None and depths != sorted(depths, reverse=True):
            raise ValueError(f"lanes must come deepest first, got depths {depths}")
        every_lane = kinds is not None
        kinds = kinds or LossKinds.of(lanes)
        terms = TermBuilder(store, lanes, kinds, every_lane=every_lane)
        self._lanes_at = None if every_lane else terms.lanes_at
        self._extractor = store.extractor(configs[0].backbone, kinds.layers, configs[0].precision)
        like = torch.empty(0, device=store.device, dtype=store.dtype)
        self._normalize = Normalizer(
            [c.normalization for c in configs], like, any_bgr="bgr" in kinds.flags
        )
        gray = [config.preserve_color == "luminance" for config in configs]
        self._gray_N111 = (
            torch.tensor(gray, device=store.device)[:, None, None, None]
            if "gray" in kinds.flags
            else None
        )
        self._content_terms = terms.content_terms()
        self._style_terms = terms.style_terms()
        self._tv_terms = terms.tv_terms()
        self._color_terms = terms.color_terms()
        self._photo_terms = [
            (lane, config.photo_weight, store.laplacian(inputs))
            for lane, (config, inputs) in enumerate(lanes)
            if config.photo_weight
        ]
        self.null_loss_N = self._null_loss(configs, like)

    def _null_loss(self, configs: Sequence[StyleConfig], like: Tensor) -> Tensor:
        total = like.new_tensor(
            [2 * c.tv_weight + c.color_weight + c.photo_weight for c in configs]
        )
        for content_term in self._content_terms:
            feat = torch.zeros_like(content_term.target_RCHW)
            total = content_term.rows.add(total, content_loss(feat, content_term.target_RCHW))
        for term in self._style_terms:
            nothing = Moments(*map(torch.zeros_like, term.target))
            total = term.rows.add(total, term.compare(nothing))
        return total

    def __call__(self, image_N3HW: Tensor) -> LossTerms:
        """Return the loss terms of every lane's image, whose pixels need not be in [0, 1]."""
        if self._gray_N111 is not None:
            image_N3HW = torch.where(self._gray_N111, luminance(image_N3HW), image_N3HW)
        features = self._extractor(self._normalize(image_N3HW), self._lanes_at)
        zero_N = image_N3HW.new_zeros(len(image_N3HW))
        content, style, tv, color, photo = (zero_N,) * 5
        for content_term in self._content_terms:
            feat = content_term.rows.select(features[content_term.layer])
            content = content_term.rows.add(content, content_loss(feat, content_term.target_RCHW))
        for term in self._style_terms:
            feat = term.rows.select(features[term.layer])
            style = term.rows.add(style, term.compare(moments(feat, term.mask_R1hw)))
        for tv_term in self._tv_terms:
            pixels = tv_term.rows.select(image_N3HW)
            tv = tv_term.rows.add(tv, total_variation(pixels, tv_term.norm))
        for color_term in self._color_terms:
            pixels = color_term.rows.select(image_N3HW)
            loss_R = COLOR_LOSSES[color_term.kind](pixels, color_term.quantiles_R3P)
            color = color_term.rows.add(color, loss_R)
        for lane, weight, laplacian in self._photo_terms:
            loss_1 = weight * matting_loss(image_N3HW[lane], laplacian)
            # Not index_add: the index would be copied to the device, which waits for the host.
            photo = photo + torch.nn.functional.pad(loss_1[None], (lane, len(photo) - lane - 1))
        return LossTerms(content=content, style=style, tv=tv, color=color, photo=photo)
