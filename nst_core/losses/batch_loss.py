"""BatchLoss: the losses of all lanes of a batch, one number per lane.

The loss of a lane is a weighted sum of these terms. Formulas are in `functional`, targets come from
`targets.FeatureStore`:

========= ============================================================= ==========================
term      formula                                                       weight in `StyleConfig`
========= ============================================================= ==========================
content   `functional.content_loss` in each of ``content_layers``       ``content_weight``
style     `functional.style_comparison` in each of ``style_layers``     ``style_weight``
tv        `functional.total_variation`                                  ``tv_weight``
color     `functional.mean_color_loss`, `functional.histogram_loss`     ``color_weight``
photo     `functional.matting_loss`                                     ``photo_weight``
========= ============================================================= ==========================

A content or style term covers one layer and one formula, for the lanes that use both. Other lanes
are not part of it, so no lane's loss depends on the other lanes.

In shapes, N is the number of lanes and R the number of rows of a term, one per lane and region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.colors import luminance
from nst_core.losses.functional import (
    COLOR_LOSSES,
    STYLE_LOSSES,
    Moments,
    content_loss,
    gram_factor,
    matting_loss,
    moments,
    style_comparison,
    total_variation,
)
from nst_core.losses.inputs import LossInputs, resize_mask
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.extractors import Normalizer
from nst_core.networks.registry import NETWORKS


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
        return cls(**dict(zip((spec.name for spec in fields(cls)), tensors, strict=True)))

    def tensors(self) -> list[Tensor]:
        """Return total and terms in the order of the fields."""
        return [getattr(self, spec.name) for spec in fields(self)]


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


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of a term: one for each lane that uses it, or several for a lane with regions.

    Attributes:
        weight_R: weight of each row.
        feature_index_R: index of each row in the features; None: rows are the features, in order.
        lane_R: lane of each row; None: every lane has one row, in order.
    """

    weight_R: Tensor
    feature_index_R: Tensor | None
    lane_R: Tensor | None

    def select(self, value_NCHW: Tensor) -> Tensor:
        """Return the rows of some features or images, value_RCHW."""
        # A view, so that autograd adds up a term's gradients before it adds those of other terms,
        # as it does after indexing; and one memory layout. Sums in another order round differently.
        if self.feature_index_R is None:
            return value_NCHW.view_as(value_NCHW)
        return value_NCHW[self.feature_index_R].contiguous(memory_format=MEMORY_FORMAT)

    def add(self, loss_N: Tensor, loss_R: Tensor) -> Tensor:
        """Return ``loss_N`` plus the weighted losses of the rows."""
        weighted_R = self.weight_R * loss_R
        if self.lane_R is None:
            return loss_N + weighted_R
        return loss_N.index_add(0, self.lane_R, weighted_R)


@dataclass(frozen=True, kw_only=True)
class _ContentTerm:
    rows: _Rows
    layer: str
    target_RCHW: Tensor


@dataclass(frozen=True, kw_only=True)
class _StyleTerm:
    rows: _Rows
    layer: str
    compare: Callable[[Moments], Tensor]
    zero_moments: Moments
    mask_R1HW: Tensor | None
    _resized_mask: list[Tensor] = field(default_factory=list)

    def mask_for(self, feat_RCHW: Tensor) -> Tensor | None:
        """Return the masks at the size of some features, computed at the first call."""
        if self.mask_R1HW is not None and not self._resized_mask:
            size = (feat_RCHW.shape[2], feat_RCHW.shape[3])
            masks = [resize_mask(mask, *size)[None] for mask in self.mask_R1HW[:, 0]]
            self._resized_mask.append(torch.stack(masks))
        return self._resized_mask[0] if self._resized_mask else None


class BatchLoss:
    """Loss function of N lanes that share backbone, precision and image shape.

    Each network layer is computed only for lanes that use it or a deeper layer. Lanes must be
    sorted by `depth_of`, deepest first, so that these are always the first ones.

    Args:
        store: extractors and targets.
        lanes: settings and images of each lane.

    Raises:
        ValueError: lanes are not sorted.
    """

    def __init__(
        self, store: FeatureStore, lanes: Sequence[tuple[StyleConfig, LossInputs]]
    ) -> None:
        self._store, self._lanes = store, lanes
        self._configs = [config for config, _ in lanes]
        first = self._configs[0]
        self._layers = NETWORKS[first.extractor].layers
        depths = [depth_of(config) for config in self._configs]
        if depths != sorted(depths, reverse=True):
            raise ValueError(f"lanes must come deepest first, got depths {depths}")
        self._lanes_at = {
            layer: sum(depth >= index for depth in depths)
            for index, layer in enumerate(self._layers)
        }
        self._extractor = store.extractor(
            first.backbone,
            [layer for config in self._configs for layer in config.layers],
            first.precision,
        )
        like = torch.empty(0, device=store.device, dtype=store.dtype)
        self._normalize = Normalizer([c.normalization for c in self._configs], like)
        gray = [config.preserve_color == "luminance" for config in self._configs]
        self._gray_N111 = (
            torch.tensor(gray, device=store.device)[:, None, None, None] if any(gray) else None
        )
        self._zero_N = like.new_zeros(len(lanes))
        self._content_terms = self._make_content_terms()
        self._style_terms = self._make_style_terms()
        self._tv_terms = self._make_tv_terms()
        self._color_terms = self._make_color_terms()
        self._photo_terms = [
            (lane, config.photo_weight, store.laplacian(inputs))
            for lane, (config, inputs) in enumerate(lanes)
            if config.photo_weight
        ]

    @property
    def recordable(self) -> bool:
        """Whether it can be recorded as a CUDA graph: eigenvalues and sparse products cannot."""
        kinds = {config.style_loss for config in self._configs}
        return "wasserstein" not in kinds and not self._photo_terms

    def null_loss(self) -> Tensor:
        """Return loss_N of an image without features, with the largest total variation.

        This is the natural scale of a lane's loss, whatever its weights: a loss far above it has
        exploded.
        """
        total = self._zero_N.clone()
        for lane, config in enumerate(self._configs):
            total[lane] = 2 * config.tv_weight + config.color_weight + config.photo_weight
        for content_term in self._content_terms:
            feat = torch.zeros_like(content_term.target_RCHW)
            total = content_term.rows.add(total, content_loss(feat, content_term.target_RCHW))
        for term in self._style_terms:
            total = term.rows.add(total, term.compare(term.zero_moments))
        return total

    def __call__(self, image_N3HW: Tensor) -> LossTerms:
        """Return the loss terms of every lane's image, whose pixels need not be in [0, 1]."""
        if self._gray_N111 is not None:
            image_N3HW = torch.where(self._gray_N111, luminance(image_N3HW), image_N3HW)
        features = self._extractor(self._normalize(image_N3HW), self._lanes_at)
        content, style = self._zero_N, self._zero_N
        for content_term in self._content_terms:
            feat = content_term.rows.select(features[content_term.layer])
            content = content_term.rows.add(content, content_loss(feat, content_term.target_RCHW))
        for term in self._style_terms:
            feat = term.rows.select(features[term.layer])
            style = term.rows.add(style, term.compare(moments(feat, term.mask_for(feat))))
        tv, color = self._zero_N, self._zero_N
        for norm, rows in self._tv_terms:
            tv = rows.add(tv, total_variation(rows.select(image_N3HW), norm))
        for kind, rows, quantiles_R3P in self._color_terms:
            color = rows.add(color, COLOR_LOSSES[kind](rows.select(image_N3HW), quantiles_R3P))
        photo = self._zero_N
        for lane, weight, laplacian in self._photo_terms:
            index = torch.tensor([lane], device=photo.device)
            loss_1 = weight * matting_loss(image_N3HW[lane], laplacian)[None]
            photo = photo.index_add(0, index, loss_1)
        return LossTerms(content=content, style=style, tv=tv, color=color, photo=photo)

    def _rows(
        self, lanes: Sequence[int], weights: Sequence[float], layer: str | None = None
    ) -> _Rows:
        """Return the rows of a term.

        Args:
            lanes: lane of each row.
            weights: weight of each row.
            layer: layer that the term compares; None: the term compares images.
        """
        available = self._lanes_at[layer] if layer else len(self._lanes)
        device = self._store.device
        in_order = list(lanes) == list(range(available))
        index = torch.tensor(lanes, device=device)
        return _Rows(
            weight_R=torch.tensor(weights, device=device, dtype=self._store.dtype),
            feature_index_R=None if in_order else index,
            lane_R=None if in_order and available == len(self._lanes) else index,
        )

    def _make_content_terms(self) -> list[_ContentTerm]:
        terms = []
        for layer in self._layers:
            weights = [c.content_weight * c.content_layers.get(layer, 0.0) for c in self._configs]
            lanes = [lane for lane, weight in enumerate(weights) if weight]
            if lanes:
                targets = [self._store.content(*self._lanes[lane], layer) for lane in lanes]
                rows = self._rows(lanes, [weights[lane] for lane in lanes], layer)
                terms.append(_ContentTerm(rows=rows, layer=layer, target_RCHW=_stack(targets)))
        return terms

    def _make_style_terms(self) -> list[_StyleTerm]:
        return [
            term
            for layer in self._layers
            for kind in STYLE_LOSSES
            if (term := self._make_style_term(layer, kind))
        ]

    def _make_style_term(self, layer: str, kind: str) -> _StyleTerm | None:
        lanes, weights, targets, masks = [], [], [], []
        any_mask = False
        for lane, (config, inputs) in enumerate(self._lanes):
            weight = config.style_weight * config.style_layers.get(layer, 0.0)
            if not weight or config.style_loss != kind:
                continue
            for index, region in enumerate(inputs.regions):
                target = self._store.style(config, inputs, index, layer)
                factor = gram_factor(config.gram, target.mean_NC.shape[1]) if kind == "gram" else 1
                lanes.append(lane)
                weights.append(weight * factor * region.share)
                targets.append(target)
                masks.append(self._store.mask(region, inputs)[None])
                any_mask = any_mask or region.mask_HW is not None
        if not lanes:
            return None
        target = _stack_moments(targets)
        return _StyleTerm(
            rows=self._rows(lanes, weights, layer),
            layer=layer,
            compare=style_comparison(kind, target),
            zero_moments=Moments(*map(torch.zeros_like, target)),
            mask_R1HW=torch.stack(masks) if any_mask else None,
        )

    def _make_tv_terms(self) -> list[tuple[str, _Rows]]:
        terms = []
        for norm in ("l2", "l1"):
            lanes = [i for i, c in enumerate(self._configs) if c.tv_weight and c.tv_norm == norm]
            if lanes:
                terms.append((norm, self._rows(lanes, [self._configs[i].tv_weight for i in lanes])))
        return terms

    def _make_color_terms(self) -> list[tuple[str, _Rows, Tensor]]:
        terms = []
        for kind in COLOR_LOSSES:
            lanes = [
                i for i, c in enumerate(self._configs) if c.color_weight and c.color_loss == kind
            ]
            if lanes:
                rows = self._rows(lanes, [self._configs[i].color_weight for i in lanes])
                quantiles = [self._store.color_quantiles(*self._lanes[i]) for i in lanes]
                terms.append((kind, rows, _stack(quantiles)))
        return terms


def depth_of(config: StyleConfig) -> int:
    """Return the index of the deepest network layer that a configuration uses."""
    network = NETWORKS[config.extractor]
    return network.layers.index(network.deepest(config.layers))


def _stack(targets: Sequence[Tensor]) -> Tensor:
    """Return the targets of all rows as one tensor, without a copy if all rows share a target."""
    if all(target is targets[0] for target in targets):
        return targets[0][None].expand(len(targets), *targets[0].shape)
    return torch.stack(list(targets))


def _stack_moments(targets: Sequence[Moments]) -> Moments:
    if all(target is targets[0] for target in targets):
        return Moments(*(part.expand(len(targets), *part.shape[1:]) for part in targets[0]))
    return Moments(*(torch.cat(parts) for parts in zip(*targets, strict=True)))
