"""LossInputs: the images and masks of one stylization, at every size of a multi-scale run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.errors import InputError
from nst_core.images.sizes import fit_size, least_size_px
from nst_core.images.tensors import digest, resize, resize_longer_side

#: Largest factor between the sizes of a style image and of the result; see
#: `StyleConfig.style_scale`. Larger style images are reduced to it.
MAX_STYLE_SCALE = 2


@dataclass(frozen=True, kw_only=True)
class Style:
    """One style image of a stylization.

    Attributes:
        image_3HW: float32 in [0, 1].
        weight: weight > 0 among the style images of its region.
        region_HW: mask of the content in [0, 1], where the style applies; None: everywhere that no
            other region covers.
        style_region_HW: mask of the style image in [0, 1], which part of it counts; None: all.
    """

    image_3HW: Tensor
    weight: float = 1.0
    region_HW: Tensor | None = None
    style_region_HW: Tensor | None = None

    @cached_property
    def key(self) -> str:
        """Digest of the style image and of the mask on it."""
        return f"{digest(self.image_3HW)}{_digest(self.style_region_HW)}"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the content image and its blend of style images.

    Attributes:
        mask_HW: mask of the content image in [0, 1]; None: the whole image.
        styles: its style images, with weights that sum to 1.
        positions: positions of these style images among all of them, in the order of the user.
        share: mean of the mask. As a weight of the region's style loss, it gives all pixels the
            same influence, however large their region.
    """

    mask_HW: Tensor | None
    styles: tuple[Style, ...]
    positions: tuple[int, ...]
    share: float

    def blend(self, weights: Sequence[float] | None) -> tuple[float, ...]:
        """Return the weight of each of the region's style images, with sum 1.

        Args:
            weights: `StyleConfig.style_blend`, a weight for each style image of the stylization in
                the order of the user; None: `Style.weight`.
        """
        if weights is None:
            return tuple(style.weight for style in self.styles)
        total = sum(weights[position] for position in self.positions)
        return tuple(weights[position] / total for position in self.positions)


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """The images and masks of one stylization at one size.

    Attributes:
        content_3HW: content image, float32 in [0, 1].
        regions: parts of the content image with their styles; a stylization without region masks
            has one region.
        starts: images to start from, by ``StyleConfig.init`` (``image`` or ``feed_forward``).
        key: digest of content, styles and masks; lanes with equal keys share their targets.
    """

    content_3HW: Tensor
    regions: tuple[Region, ...]
    starts: Mapping[str, Tensor] = field(default_factory=dict)
    key: str = field(init=False)
    _sizes: dict[int, LossInputs] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        parts = [digest(self.content_3HW)]
        for region in self.regions:
            parts.append(_digest(region.mask_HW))
            parts += [f"{style.key}*{style.weight:.9g}" for style in region.styles]
        object.__setattr__(self, "key", "+".join(parts))

    @classmethod
    def at_size(
        cls,
        content_3HW: Tensor,
        styles: Iterable[Style | tuple[Tensor, float]],
        size_px: int,
        starts: Mapping[str, Tensor] | None = None,
    ) -> LossInputs:
        """Return inputs scaled to a longer side of ``size_px``, with weights that sum to 1.

        Args:
            content_3HW: content image in [0, 1], any size.
            styles: style images, or pairs of image and weight.
            size_px: longer side of the result in pixels.
            starts: images to start from, any size; see the class.

        Raises:
            InputError: there is no style image, an image is too narrow for ``size_px``, or a mask
                is empty.
        """
        given = [s if isinstance(s, Style) else Style(image_3HW=s[0], weight=s[1]) for s in styles]
        if not given:
            raise InputError("no style image given; expected at least one")
        if any(s.style_region_HW is not None and s.style_region_HW.mean() < 1e-4 for s in given):
            raise InputError(
                "the mask of a style image is empty, so no part of the image counts; expected white"
                " pixels"
            )
        content = resize_longer_side(content_3HW, size_px)
        size = (content.shape[1], content.shape[2])
        return cls(
            content_3HW=content,
            regions=_regions([_at_most(s, MAX_STYLE_SCALE * size_px) for s in given], size),
            starts={name: resize(image, *size) for name, image in (starts or {}).items()},
        )

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""
        _, height, width = self.content_3HW.shape
        return height, width

    @property
    def masks(self) -> int:
        """Number of regions with a mask; each of them needs additional memory."""
        return sum(region.mask_HW is not None for region in self.regions)

    @property
    def size_px(self) -> int:
        """Longer side of the result in pixels."""
        return max(self.height_width)

    @property
    def keys(self) -> frozenset[str]:
        """The key, and the keys of all other sizes that `at` has made."""
        return frozenset([self.key, *(inputs.key for inputs in self._sizes.values())])

    @property
    def styles(self) -> tuple[tuple[Tensor, float], ...]:
        """All style images with their weights, region by region; all weights sum to 1."""
        return self.blended(None)

    def blended(self, weights: Sequence[float] | None) -> tuple[tuple[Tensor, float], ...]:
        """Like `styles`, with the weights of `StyleConfig.style_blend`; None: `Style.weight`."""
        total = sum(region.share for region in self.regions)
        return tuple(
            (style.image_3HW, share * region.share / total)
            for region in self.regions
            for style, share in zip(region.styles, region.blend(weights), strict=True)
        )

    def check_blend(self, weights: Sequence[float] | None) -> None:
        """Raise InputError unless ``weights`` has one weight for each style image, or is None."""
        count = sum(len(region.styles) for region in self.regions)
        if weights is not None and len(weights) != count:
            raise InputError(
                f"`style_blend`: expected a weight for each style image ({count}),"
                f" got {len(weights)}"
            )

    def at(self, size_px: int) -> LossInputs:
        """Return the inputs for a result with a longer side of ``size_px``, computed once."""
        if size_px == self.size_px:
            return self
        if size_px not in self._sizes:
            height, width = self.height_width
            smaller = fit_size(width, height, size_px)
            self._sizes[size_px] = LossInputs(
                content_3HW=resize(self.content_3HW, *smaller),
                regions=tuple(
                    replace(r, mask_HW=resize_mask(r.mask_HW, *smaller))
                    if r.mask_HW is not None
                    else r
                    for r in self.regions
                ),
                starts={name: resize(image, *smaller) for name, image in self.starts.items()},
            )
        return self._sizes[size_px]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_sizes": {}}


def resize_mask(mask_HW: Tensor, height: int, width: int) -> Tensor:
    """Return a mask at another size in pixels, in [0, 1]."""
    return F.interpolate(
        mask_HW[None, None], size=(height, width), mode="bilinear", antialias=True
    )[0, 0].clamp(0, 1)


def resize_style(image_3HW: Tensor, size_px: int) -> Tensor:
    """Return a style image with a longer side of ``size_px``, or larger if it is very long.

    The shorter side of a very long image would otherwise be too small for the networks.
    """
    _, height, width = image_3HW.shape
    return resize_longer_side(image_3HW, max(size_px, least_size_px(width, height)))


def _regions(styles: Sequence[Style], size: tuple[int, int]) -> tuple[Region, ...]:
    """Return the styles grouped by region; styles without one apply where no region is."""
    groups: dict[str, list[int]] = {}
    for position, style in enumerate(styles):
        groups.setdefault(_digest(style.region_HW), []).append(position)
    masks = {
        key: resize_mask(region_HW, *size)
        for key, positions in groups.items()
        if (region_HW := styles[positions[0]].region_HW) is not None
    }
    if masks and "" in groups:
        masks[""] = 1 - torch.stack(list(masks.values())).amax(0)
    regions = []
    for key, positions in groups.items():
        mask = masks.get(key)
        share = 1.0 if mask is None else float(mask.mean())
        if share < 1e-4:
            if key == "":
                raise InputError(
                    "the regions cover the whole content image, so a style without a region would"
                    " apply nowhere; give it a region, or leave it out"
                )
            raise InputError(
                "a region mask is empty, so its style would apply nowhere; expected white pixels"
            )
        group = [styles[position] for position in positions]
        total = sum(style.weight for style in group)
        blend = tuple(replace(s, weight=s.weight / total, region_HW=None) for s in group)
        regions.append(Region(mask_HW=mask, styles=blend, positions=tuple(positions), share=share))
    return tuple(regions)


def _at_most(style: Style, size_px: int) -> Style:
    """Return the style with its image reduced to ``size_px``, to save memory."""
    if max(style.image_3HW.shape[1:]) <= size_px:
        return style
    return replace(style, image_3HW=resize_style(style.image_3HW, size_px))


def _digest(mask_HW: Tensor | None) -> str:
    return "" if mask_HW is None else digest(mask_HW)
