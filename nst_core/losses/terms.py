"""Terms of a `BatchLoss`: rows of weights and targets, one row per lane and region.

There are two forms. By default a term has rows only for the lanes that use it, so that it computes
nothing else. A bucket needs the same rows whoever is in it: then every lane has a row in every
term, or as many rows as `LossKinds.regions`, and rows that are not used have the weight 0.

In shapes, N is the number of lanes and R the number of rows of a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.losses.functional import (
    COLOR_LOSSES,
    STYLE_LOSSES,
    Moments,
    covariance_root,
    gram_factor,
    style_loss,
)
from nst_core.losses.inputs import LossInputs, Region, resize_mask
from nst_core.losses.loss_kinds import LossKinds, content_weights, style_weights
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.registry import NETWORKS
from nst_core.networks.rowwise import Rowwise


@dataclass(frozen=True, kw_only=True)
class Rows(Rowwise):
    """Rows of a term.

    Attributes:
        weight_R: weight of each row; 0 in rows that are not used.
        per_lane: number of rows of every lane; 0 if only some lanes have rows.
        feature_index_R: index of each row in the features; None: every lane has ``per_lane`` rows,
            or the rows are the features, in order.
        lane_R: lane of each row; None: every lane has ``per_lane`` rows, or one row, in order.
    """

    weight_R: Tensor
    per_lane: int = 0
    feature_index_R: Tensor | None = None
    lane_R: Tensor | None = None

    def select(self, value_NCHW: Tensor) -> Tensor:
        """Return the rows of some features or images, value_RCHW."""
        if self.per_lane > 1:
            repeated = value_NCHW[:, None].expand(-1, self.per_lane, -1, -1, -1)
            return repeated.flatten(0, 1).contiguous(memory_format=MEMORY_FORMAT)
        # A view, so that autograd adds up a term's gradients before it adds those of other terms,
        # as it does after indexing; and one memory layout. Sums in another order round differently.
        if self.feature_index_R is None:
            return value_NCHW.view_as(value_NCHW)
        return value_NCHW[self.feature_index_R].contiguous(memory_format=MEMORY_FORMAT)

    def add(self, loss_N: Tensor, loss_R: Tensor) -> Tensor:
        """Return ``loss_N`` plus the weighted losses of the rows."""
        weighted_R = self.weight_R * loss_R
        if self.per_lane:
            # A row that is not used may be infinite, and 0 times infinity is not a number.
            weighted_R = torch.where(self.weight_R > 0, weighted_R, torch.zeros_like(weighted_R))
            return loss_N + weighted_R.view(-1, self.per_lane).sum(1)
        if self.lane_R is None:
            return loss_N + weighted_R
        return loss_N.index_add(0, self.lane_R, weighted_R)


@dataclass(frozen=True, kw_only=True)
class ContentTerm(Rowwise):
    """Difference of the features of one layer from those of the content."""

    rows: Rows
    layer: str
    target_RCHW: Tensor


@dataclass(frozen=True, kw_only=True)
class StyleTerm(Rowwise):
    """Difference of the statistics of one layer from those of the style, in one ``style_loss``.

    Attributes:
        root_RCC: `covariance_root` of the target, for ``wasserstein`` only.
        mask_R1hw: region masks at the size of the features; None: there are no regions.
    """

    rows: Rows
    layer: str
    kind: str
    target: Moments
    root_RCC: Tensor | None
    mask_R1hw: Tensor | None

    def compare(self, image: Moments) -> Tensor:
        """Return loss_R of the moments of an image."""
        return style_loss(self.kind, image, self.target, self.root_RCC)


@dataclass(frozen=True, kw_only=True)
class TvTerm(Rowwise):
    """Total variation in one norm."""

    rows: Rows
    norm: str


@dataclass(frozen=True, kw_only=True)
class ColorTerm(Rowwise):
    """Difference of the colors from those of the style, in one ``color_loss``."""

    rows: Rows
    kind: str
    quantiles_R3P: Tensor


@dataclass(frozen=True)
class _StyleRow:
    lane: int
    weight: float
    target: Moments
    region: Region | None


class TermBuilder:
    """Makes the terms of some lanes.

    Args:
        store: extractors and targets.
        lanes: settings and images of each lane, deepest network layer first.
        kinds: terms to make, which must cover those of the lanes.
        every_lane: every lane gets rows in every term.
    """

    def __init__(
        self,
        store: FeatureStore,
        lanes: Sequence[tuple[StyleConfig, LossInputs]],
        kinds: LossKinds,
        *,
        every_lane: bool,
    ):
        self._store, self._lanes, self._kinds, self._every = store, lanes, kinds, every_lane
        self._configs = [config for config, _ in lanes]
        self._layers = NETWORKS[self._configs[0].extractor].layers
        depths = [depth_of(config) for config in self._configs]
        self.lanes_at = {
            layer: len(lanes) if every_lane else sum(depth >= index for depth in depths)
            for index, layer in enumerate(self._layers)
        }

    def content_terms(self) -> list[ContentTerm]:
        """Return a term for each content layer, in forward order."""
        terms = []
        for layer in [layer for layer in self._layers if layer in self._kinds.content]:
            weights = [content_weights(c).get(layer, 0.0) for c in self._configs]
            lanes = self._with_rows(weights)
            targets = [
                self._store.content(*self._lanes[lane], layer)
                if weights[lane]
                else self._zero(layer)
                for lane in lanes
            ]
            rows = self._rows(lanes, [weights[lane] for lane in lanes], layer)
            terms.append(ContentTerm(rows=rows, layer=layer, target_RCHW=_stack(targets)))
        return terms

    def style_terms(self) -> list[StyleTerm]:
        """Return a term for each style layer and ``style_loss``, in forward order."""
        return [
            self._style_term(layer, kind)
            for layer in self._layers
            for kind in STYLE_LOSSES
            if (layer, kind) in self._kinds.style
        ]

    def tv_terms(self) -> list[TvTerm]:
        """Return a term for each norm of total variation."""
        terms = []
        for norm in sorted(self._kinds.tv, reverse=True):
            weights = [c.tv_weight if c.tv_norm == norm else 0.0 for c in self._configs]
            lanes = self._with_rows(weights)
            terms.append(TvTerm(rows=self._rows(lanes, [weights[i] for i in lanes]), norm=norm))
        return terms

    def color_terms(self) -> list[ColorTerm]:
        """Return a term for each color loss."""
        terms = []
        for kind in [kind for kind in COLOR_LOSSES if kind in self._kinds.color]:
            weights = [c.color_weight if c.color_loss == kind else 0.0 for c in self._configs]
            lanes = self._with_rows(weights)
            rows = self._rows(lanes, [weights[lane] for lane in lanes])
            quantiles = [self._quantiles(lane, bool(weights[lane])) for lane in lanes]
            terms.append(ColorTerm(rows=rows, kind=kind, quantiles_R3P=_stack(quantiles)))
        return terms

    def _quantiles(self, lane: int, is_used: bool) -> Tensor:
        config, inputs = self._lanes[lane]
        if is_used:
            return self._store.color_quantiles(config, inputs)
        height, width = inputs.height_width
        return torch.zeros(3, height * width, device=self._store.device, dtype=self._store.dtype)

    def _with_rows(self, weights: Sequence[float]) -> list[int]:
        """Return the lanes that have a row in a term with these weights."""
        return [lane for lane, weight in enumerate(weights) if weight or self._every]

    def _rows(
        self,
        lanes: Sequence[int],
        weights: Sequence[float],
        layer: str | None = None,
        per_lane: int = 1,
    ) -> Rows:
        """Return the rows of a term.

        Args:
            lanes: lane of each row.
            weights: weight of each row.
            layer: layer that the term compares; None: the term compares images.
            per_lane: number of rows of each lane, if every lane has rows.
        """
        device = self._store.device
        weight_R = torch.tensor(weights, device=device, dtype=self._store.dtype)
        if self._every:
            return Rows(weight_R=weight_R, per_lane=per_lane)
        available = self.lanes_at[layer] if layer else len(self._lanes)
        in_order = list(lanes) == list(range(available))
        index = torch.tensor(lanes, device=device)
        return Rows(
            weight_R=weight_R,
            feature_index_R=None if in_order else index,
            lane_R=None if in_order and available == len(self._lanes) else index,
        )

    def _style_term(self, layer: str, kind: str) -> StyleTerm:
        rows = [
            row for lane in range(len(self._lanes)) for row in self._style_rows(lane, layer, kind)
        ]
        target = _stack_moments([row.target for row in rows])
        return StyleTerm(
            rows=self._rows(
                [row.lane for row in rows], [row.weight for row in rows], layer, self._kinds.regions
            ),
            layer=layer,
            kind=kind,
            target=target,
            root_RCC=covariance_root(target) if kind == "wasserstein" else None,
            mask_R1hw=self._masks(rows, layer),
        )

    def _style_rows(self, lane: int, layer: str, kind: str) -> list[_StyleRow]:
        """Return the rows of a lane in a style term; none if it does not use the term."""
        config, inputs = self._lanes[lane]
        weight = style_weights(config).get(layer, 0.0) if config.style_loss == kind else 0.0
        rows = []
        for index, region in enumerate(inputs.regions if weight else ()):
            target = self._store.style(config, inputs, index, layer)
            factor = gram_factor(config.gram, target.mean_NC.shape[1]) if kind == "gram" else 1.0
            rows.append(_StyleRow(lane, weight * factor * region.share, target, region))
        if self._every and len(rows) < self._kinds.regions:
            channels = self._zero(layer).shape[0]
            like = torch.zeros(1, device=self._store.device, dtype=self._store.dtype)
            unused = Moments(like.new_zeros(1, channels), like.new_zeros(1, channels, channels))
            rows += [_StyleRow(lane, 0.0, unused, None)] * (self._kinds.regions - len(rows))
        return rows

    def _masks(self, rows: Sequence[_StyleRow], layer: str) -> Tensor | None:
        """Return mask_R1hw at the size of a layer; None if no lane may have a mask."""
        has_masks = any(row.region and row.region.mask_HW is not None for row in rows)
        if not (has_masks or (self._every and "masks" in self._kinds.flags)):
            return None
        size = self._feature_shape(layer)[1:]
        store = self._store
        ones = torch.ones(size, device=store.device, dtype=store.dtype)
        masks = [
            ones
            if row.region is None or row.region.mask_HW is None
            else resize_mask(store.place(row.region.mask_HW), *size)
            for row in rows
        ]
        return torch.stack(masks)[:, None]

    def _feature_shape(self, layer: str) -> tuple[int, int, int]:
        config, inputs = self._lanes[0]
        return self._store.feature_shape(config.backbone, layer, *inputs.height_width)

    def _zero(self, layer: str) -> Tensor:
        """Return zero_CHW, the target of a row that is not used."""
        shape = self._feature_shape(layer)
        return torch.zeros(1, device=self._store.device, dtype=self._store.dtype).expand(shape)


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
