"""Objective: the loss of presets, for any photos and strengths.

This is the loss that an optimization with the preset minimizes (`BatchLoss`), with the content
targets of each photo.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, InputError
from nst_core.losses.batch_loss import BatchLoss
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.losses.terms import depth_of
from nst_core.networks.precision import arithmetic


@dataclass(frozen=True, kw_only=True)
class NetworkStyle:
    """One style of a network: a preset with its style images.

    Attributes:
        name: name of the style, unique in its network.
        config: settings of the preset, at the size that the network is trained for.
        styles: style images with their weights, without masks.
    """

    name: str
    config: StyleConfig
    styles: tuple[Style, ...]

    def inputs(self, content_3HW: Tensor, starts: Mapping[str, Tensor] | None = None) -> LossInputs:
        """Return the inputs of the loss for a photo, which keeps its size; see `LossInputs`."""
        return LossInputs.at_size(content_3HW, self.styles, max(content_3HW.shape[1:]), starts)


def check_styles(styles: Sequence[NetworkStyle]) -> None:
    """Check that a network can learn the styles.

    Raises:
        ConfigError: a preset asks for what a network cannot learn; the error lists everything.
        InputError: there is no style, or the styles have different sizes.
    """
    if not styles:
        raise InputError("no style; name a preset and a style image")
    problems = [
        f"`{style.name}`: {problem}" for style in styles for problem in _style_problems(style)
    ]
    if len({style.config.size_px for style in styles}) > 1:
        sizes = ", ".join(f"`{style.name}` {style.config.size_px}" for style in styles)
        problems.append(f"size_px: one network is trained for one size, got {sizes}; give one size")
    names = [style.name for style in styles]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"styles named twice: {', '.join(twice)}; rename the style images")
    if problems:
        raise ConfigError("a network cannot learn this", problems)


def _style_problems(style: NetworkStyle) -> list[str]:
    config, problems = style.config, []
    if any(s.region_HW is not None for s in style.styles):
        problems.append(
            "region masks belong to one photo, and a network stylizes any photo; leave @MASK out"
        )
    if any(s.style_region_HW is not None and s.style_region_HW.mean() < 1e-4 for s in style.styles):
        problems.append("the mask of a style image is empty; expected white pixels")
    if config.photo_weight:
        problems.append(
            "`photo_weight`: the matting Laplacian takes seconds for every crop; expected 0, such"
            " as --set photo_weight=0"
        )
    if config.style_weight == 0:
        problems.append("`style_weight`: 0 leaves the photo as it is; expected more than 0")
    if config.weight_schedule == "balance":
        problems.append(
            "`weight_schedule`: balance changes the loss while it is minimized, and a network needs"
            " a fixed one; expected constant, with the `style_weight` that you like"
        )
    if config.init == "image":
        problems.append(
            "`init`: image starts from a given picture, and there is none for each photo; expected"
            " another start, such as --set init=content"
        )
    if config.style_blend is not None and len(config.style_blend) != len(style.styles):
        problems.append(
            f"`style_blend`: expected a weight for each style image ({len(style.styles)}), got"
            f" {len(config.style_blend)}"
        )
    return problems


class Objective:
    """Losses of pictures by preset.

    Args:
        store: networks and targets, on the device of the pictures.
        styles: the styles of a network, checked by `check_styles`.
        precision: number format of the loss networks; None: that of each preset.
    """

    def __init__(
        self, store: FeatureStore, styles: Sequence[NetworkStyle], precision: str | None = None
    ):
        self._store = store
        self._styles = [
            style
            if precision is None
            else replace(style, config=style.config.replace(precision=precision))
            for style in styles
        ]
        self._templates: dict[tuple[int, int], LossInputs] = {}

    def __call__(
        self, result_N3HW: Tensor, photo_N3HW: Tensor, style_N: Sequence[int], strength_N: Tensor
    ) -> Tensor:
        """Return the weighted loss of each picture, loss_N.

        Args:
            result_N3HW: stylized pictures in [0, 1].
            photo_N3HW: the photos that they were made from, float32 on the CPU.
            style_N: index of the style of each picture.
            strength_N: factor of the style weight of each picture.
        """
        groups: dict[tuple[object, str], list[int]] = defaultdict(list)
        for lane, index in enumerate(style_N):
            config = self._styles[index].config
            groups[config.backbone, config.precision].append(lane)
        loss_N = result_N3HW.new_zeros(len(style_N))
        for lanes in groups.values():
            lanes.sort(key=lambda lane: -depth_of(self._styles[style_N[lane]].config))
            index_R = torch.tensor(lanes, device=result_N3HW.device)
            loss_R = self._group(
                result_N3HW[index_R],
                [photo_N3HW[lane] for lane in lanes],
                [style_N[lane] for lane in lanes],
                strength_N[index_R],
            )
            loss_N = loss_N.index_add(0, index_R, loss_R)
        return loss_N

    def _group(
        self,
        result_R3HW: Tensor,
        photos: Sequence[Tensor],
        styles: Sequence[int],
        strength_R: Tensor,
    ) -> Tensor:
        """Return the losses of pictures that share a network."""
        inputs = [self._inputs(index, photo) for index, photo in zip(styles, photos, strict=True)]
        lanes = [
            (self._styles[index].config, each) for index, each in zip(styles, inputs, strict=True)
        ]
        precision = lanes[0][0].precision
        with arithmetic(precision, self._store.device):
            loss = BatchLoss(self._store, lanes)
            total_R: Tensor = loss(result_R3HW).scaled(strength_R).total
        for each in inputs:  # no crop occurs twice
            self._store.forget(each)
        return total_R

    def _inputs(self, index: int, photo_3HW: Tensor) -> LossInputs:
        # The style images are prepared once, since scaling them down takes as long as a pass.
        key = (index, max(photo_3HW.shape[1:]))
        if key not in self._templates:
            self._templates[key] = self._styles[index].inputs(photo_3HW)
        return replace(self._templates[key], content_3HW=photo_3HW)
