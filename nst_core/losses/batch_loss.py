"""What a batch of lanes is optimised towards: one loss per lane.

A term is one layer and one kind of comparison for those lanes that read it; lanes that do not are
left out of it, so that no lane's numbers depend on its neighbours.
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
    """The terms of one evaluation, each loss_N; the parts are weighted and sum to ``total``."""

    total: Tensor
    content: Tensor
    style: Tensor
    tv: Tensor
    color: Tensor
    photo: Tensor

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Losses:
        """From what `tensors` gives."""
        return cls(**dict(zip((spec.name for spec in fields(cls)), tensors, strict=True)))

    def tensors(self) -> list[Tensor]:
        """The terms in the order of the fields."""
        return [getattr(self, spec.name) for spec in fields(self)]


class Part(NamedTuple):
    """The two parts that a schedule weighs, and the rest; each loss_N, weighted."""

    content: Tensor
    style: Tensor
    tv: Tensor
    color: Tensor
    photo: Tensor

    def weighed(self, style_factor_N: Tensor) -> Losses:
        """All of it, with the style weights scaled by a schedule."""
        style = self.style * style_factor_N
        total = self.content + style + self.tv + self.color + self.photo
        return Losses(**{**self._asdict(), "style": style, "total": total})


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Which lanes a term is for, in order and with repetition, and with which weight.

    Attributes:
        weight_R: of each row.
        rows_of_features: what to take of the features; None: all of them, as they are.
        lanes: which lane a row belongs to; None: every lane has one row, in order.
    """

    weight_R: Tensor
    rows_of_features: Tensor | None
    lanes: Tensor | None

    def of(self, value_NCHW: Tensor) -> Tensor:
        # The view gathers a term's gradients before others are added, as indexing does, and the
        # layout stays that of the whole batch: sums in another order would round differently.
        if self.rows_of_features is None:
            return value_NCHW.view_as(value_NCHW)
        return value_NCHW[self.rows_of_features].contiguous(memory_format=MEMORY_FORMAT)

    def added(self, loss_N: Tensor, loss_R: Tensor) -> Tensor:
        weighted_R = self.weight_R * loss_R
        if self.lanes is None:
            return loss_N + weighted_R
        return loss_N.index_add(0, self.lanes, weighted_R)


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
    nothing: Moments
    mask_R1HW: Tensor | None
    _fitted: list[Tensor] = field(default_factory=list)

    def mask_for(self, feat_RCHW: Tensor) -> Tensor | None:
        """The masks at this layer's size, made at the first call."""
        if self.mask_R1HW is not None and not self._fitted:
            size = (feat_RCHW.shape[2], feat_RCHW.shape[3])
            masks = [resize_mask(mask, *size)[None] for mask in self.mask_R1HW[:, 0]]
            self._fitted.append(torch.stack(masks))
        return self._fitted[0] if self._fitted else None


class BatchLoss:
    """The loss of N lanes that share backbone, precision and image shape.

    Lanes come deepest first (`depth_of`): a layer is computed for the lanes that read it or a
    deeper one, which are the first ones, and compared for those that read it.
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
        grey = [config.preserve_color == "luminance" for config in self._configs]
        self._grey_N111 = (
            torch.tensor(grey, device=store.device)[:, None, None, None] if any(grey) else None
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
        """Whether it asks nothing of the host, as eigenvalues and sparse products do."""
        kinds = {config.style_loss for config in self._configs}
        return "wasserstein" not in kinds and not self._photo_terms

    def null_loss(self) -> Tensor:
        """The loss of a picture without any features and with the roughest pixels -> loss_N.

        The natural size of a lane's loss, whatever its weights; what is far above it exploded.
        """
        total = self._zero_N.clone()
        for lane, config in enumerate(self._configs):
            total[lane] = 2 * config.tv_weight + config.color_weight + config.photo_weight
        for content_term in self._content_terms:
            feat = torch.zeros_like(content_term.target_RCHW)
            total = content_term.rows.added(total, content_loss(feat, content_term.target_RCHW))
        for term in self._style_terms:
            total = term.rows.added(total, term.compare(term.nothing))
        return total

    def __call__(self, image_N3HW: Tensor) -> Part:
        """The loss terms of every lane's pixels."""
        if self._grey_N111 is not None:
            image_N3HW = torch.where(self._grey_N111, luminance(image_N3HW), image_N3HW)
        features = self._extractor(self._normalize(image_N3HW), self._lanes_at)
        content, style = self._zero_N, self._zero_N
        for content_term in self._content_terms:
            feat = content_term.rows.of(features[content_term.layer])
            content = content_term.rows.added(content, content_loss(feat, content_term.target_RCHW))
        for term in self._style_terms:
            feat = term.rows.of(features[term.layer])
            style = term.rows.added(style, term.compare(moments(feat, term.mask_for(feat))))
        tv, color = self._zero_N, self._zero_N
        for norm, rows in self._tv_terms:
            tv = rows.added(tv, total_variation(rows.of(image_N3HW), norm))
        for kind, rows, quantiles_R3P in self._color_terms:
            color = rows.added(color, COLOR_LOSSES[kind](rows.of(image_N3HW), quantiles_R3P))
        photo = self._zero_N
        for lane, weight, laplacian in self._photo_terms:
            index = torch.tensor([lane], device=photo.device)
            loss_1 = weight * matting_loss(image_N3HW[lane], laplacian)[None]
            photo = photo.index_add(0, index, loss_1)
        return Part(content=content, style=style, tv=tv, color=color, photo=photo)

    def _rows(
        self, lanes: Sequence[int], weights: Sequence[float], layer: str | None = None
    ) -> _Rows:
        """Rows of a layer's features, or of the images."""
        there = self._lanes_at[layer] if layer else len(self._lanes)
        device = self._store.device
        in_order = list(lanes) == list(range(there))
        index = torch.tensor(lanes, device=device)
        return _Rows(
            weight_R=torch.tensor(weights, device=device, dtype=self._store.dtype),
            rows_of_features=None if in_order else index,
            lanes=None if in_order and there == len(self._lanes) else index,
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
            nothing=Moments(*map(torch.zeros_like, target)),
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
    """Index of the deepest layer that a configuration reads."""
    network = NETWORKS[config.extractor]
    return network.layers.index(network.deepest(config.layers))


def _stack(targets: Sequence[Tensor]) -> Tensor:
    """Targets of all lanes as one tensor, without copies where all lanes share one."""
    if all(target is targets[0] for target in targets):
        return targets[0][None].expand(len(targets), *targets[0].shape)
    return torch.stack(list(targets))


def _stack_moments(targets: Sequence[Moments]) -> Moments:
    if all(target is targets[0] for target in targets):
        return Moments(*(part.expand(len(targets), *part.shape[1:]) for part in targets[0]))
    return Moments(*(torch.cat(parts) for parts in zip(*targets, strict=True)))
