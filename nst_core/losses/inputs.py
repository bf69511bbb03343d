"""The pictures of one stylization, at every size that it runs through."""

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

#: Style images are kept up to this much larger than the result, for `StyleConfig.style_scale`.
MAX_STYLE_SCALE = 2


@dataclass(frozen=True, kw_only=True)
class Style:
    """One style image of a stylization.

    Attributes:
        image_3HW: float32 in [0, 1].
        weight: share in the blend of the styles of its region, > 0.
        region_HW: where in the content it applies, in [0, 1], or None for what no region covers.
        style_region_HW: what of the style image counts, in [0, 1], or None for all of it.
    """

    image_3HW: Tensor
    weight: float = 1.0
    region_HW: Tensor | None = None
    style_region_HW: Tensor | None = None

    @cached_property
    def key(self) -> str:
        """Equal for equal pictures with equal masks on them."""
        return f"{digest(self.image_3HW)}{_digest(self.style_region_HW)}"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the picture and the blend of styles that it takes.

    Attributes:
        mask_HW: in [0, 1], or None for the whole picture.
        styles: with weights that sum to 1.
        places: which of all style images, as they were given, these are.
        share: the mask's mean, which gives every pixel the same say however large its region.
    """

    mask_HW: Tensor | None
    styles: tuple[Style, ...]
    places: tuple[int, ...]
    share: float

    def blend(self, weights: Sequence[float] | None) -> tuple[float, ...]:
        """What each of its styles counts, 1 in all.

        Args:
            weights: of all style images, as they were given; None: their own.
        """
        if weights is None:
            return tuple(style.weight for style in self.styles)
        total = sum(weights[place] for place in self.places)
        return tuple(weights[place] / total for place in self.places)


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """The pictures of one stylization at the size it runs.

    Attributes:
        content_3HW: the picture to stylize, float32 in [0, 1].
        regions: parts of the picture with their styles; one without a mask if there are none.
        starts: images to start from by the name of their ``init`` (``image``, ``feed_forward``).
        key: equal for equal pictures; lanes with equal keys share their targets.
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
        """Scale every picture to a longer side of ``size_px`` and the blend weights to sum 1.

        Args:
            content_3HW: the picture to stylize.
            styles: style images, or pairs of image and weight.
            size_px: longer side of the result.
            starts: see the class; scaled to the content's size.

        Raises:
            InputError: no style, a shape that does not allow the size, or masks that cover nothing.
        """
        given = [s if isinstance(s, Style) else Style(image_3HW=s[0], weight=s[1]) for s in styles]
        if not given:
            raise InputError("no style image given; expected at least one")
        if any(s.style_region_HW is not None and s.style_region_HW.mean() < 1e-4 for s in given):
            raise InputError(
                "a mask on a style image is empty: nothing of it counts; expected white pixels"
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
        """How many regions have a mask, each of which takes memory of its own."""
        return sum(region.mask_HW is not None for region in self.regions)

    @property
    def size_px(self) -> int:
        """Longer side of the result."""
        return max(self.height_width)

    @property
    def keys(self) -> frozenset[str]:
        """Its own key, and those of the sizes that `at` made."""
        return frozenset([self.key, *(made.key for made in self._sizes.values())])

    @property
    def styles(self) -> tuple[tuple[Tensor, float], ...]:
        """All style images, region by region, with weights that sum to 1 over the picture."""
        return self.blended(None)

    def blended(self, weights: Sequence[float] | None) -> tuple[tuple[Tensor, float], ...]:
        """As `styles`, with the weights of `StyleConfig.style_blend`; None: their own."""
        total = sum(region.share for region in self.regions)
        return tuple(
            (style.image_3HW, share * region.share / total)
            for region in self.regions
            for style, share in zip(region.styles, region.blend(weights), strict=True)
        )

    def check_blend(self, weights: Sequence[float] | None) -> None:
        """Raise InputError if ``weights`` are of another number of style images."""
        count = sum(len(region.styles) for region in self.regions)
        if weights is not None and len(weights) != count:
            raise InputError(
                f"`style_blend`: expected a weight for each style image ({count}),"
                f" got {len(weights)}"
            )

    def at(self, size_px: int) -> LossInputs:
        """The same pictures for a result with a longer side of ``size_px``; made once."""
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
    """A mask at another size, by area."""
    return F.interpolate(
        mask_HW[None, None], size=(height, width), mode="bilinear", antialias=True
    )[0, 0].clamp(0, 1)


def resize_style(image_3HW: Tensor, size_px: int) -> Tensor:
    """A style image with a longer side of ``size_px``, or more where it is long.

    Of a long one little would be left but a line, which no network can read.
    """
    _, height, width = image_3HW.shape
    return resize_longer_side(image_3HW, max(size_px, least_size_px(width, height)))


def _regions(styles: Sequence[Style], size: tuple[int, int]) -> tuple[Region, ...]:
    """Styles by the region they share; those without one take what no region covers."""
    groups: dict[str, list[int]] = {}
    for place, style in enumerate(styles):
        groups.setdefault(_digest(style.region_HW), []).append(place)
    masks = {
        key: resize_mask(region_HW, *size)
        for key, places in groups.items()
        if (region_HW := styles[places[0]].region_HW) is not None
    }
    if masks and "" in groups:
        masks[""] = 1 - torch.stack(list(masks.values())).amax(0)
    regions = []
    for key, places in groups.items():
        mask = masks.get(key)
        share = 1.0 if mask is None else float(mask.mean())
        if share < 1e-4:
            what = "what no region covers" if key == "" else "a region mask"
            raise InputError(f"{what} is empty: a style would apply nowhere; expected white pixels")
        group = [styles[place] for place in places]
        total = sum(style.weight for style in group)
        blend = tuple(
            Style(
                image_3HW=s.image_3HW,
                weight=s.weight / total,
                style_region_HW=s.style_region_HW,
            )
            for s in group
        )
        regions.append(Region(mask_HW=mask, styles=blend, places=tuple(places), share=share))
    return tuple(regions)


def _at_most(style: Style, size_px: int) -> Style:
    """Spare the memory of a style image far larger than any use of it."""
    if max(style.image_3HW.shape[1:]) <= size_px:
        return style
    return replace(style, image_3HW=resize_style(style.image_3HW, size_px))


def _digest(mask_HW: Tensor | None) -> str:
    return "" if mask_HW is None else digest(mask_HW)
