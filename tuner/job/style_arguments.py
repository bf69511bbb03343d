"""Style images on the command line: ``FILE[:WEIGHT][@MASK[@PART]]``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.files import is_file
from tuner.job.load import shapes_differ

if TYPE_CHECKING:  # arguments are parsed before torch is imported
    from torch import Tensor

    from nst_core.losses.inputs import Style


@dataclass(frozen=True)
class StyleArgument:
    """The files of a ``--style`` argument, and its weight.

    Attributes:
        text: the argument as given.
        file: the style image.
        weight: share in the blend, or None if the argument has none.
        region: mask file: white where the style applies in the content; None for everywhere.
        style_region: mask file: white where the style image is used; None for everywhere.
    """

    text: str
    file: str
    weight: float | None = None
    region: str | None = None
    style_region: str | None = None

    @classmethod
    def parse(cls, text: str) -> StyleArgument:
        """Split an argument. The name of an existing file may contain ``@`` and ``:``.

        Raises:
            InputError: the weight is not above 0, or is above 1e6.
        """
        file, masks = text, list[str]()
        while "@" in file and len(masks) < 2 and not _exists(_split_weight(file)[0]):
            file, _, mask = file.rpartition("@")
            masks.insert(0, mask)
        path, weight = _split_weight(file)
        region, style_region = (mask or None for mask in (*masks, "", "")[:2])
        return cls(text, path, weight, region, style_region)

    @property
    def files(self) -> list[str]:
        """Names of the image file and the mask files."""
        return [name for name in (self.file, self.region, self.style_region) if name]

    def load(self) -> Style:
        """Read the image and its masks. The brightness of a mask is its weight at each pixel.

        Raises:
            InputError: a file cannot be read, or the mask of the style image has another shape.
        """
        from nst_core.images.colors import luminance
        from nst_core.images.tensors import load_image
        from nst_core.losses.inputs import Style

        image = load_image(self.file)
        region, style_region = (
            luminance(load_image(mask))[0] if mask else None
            for mask in (self.region, self.style_region)
        )
        if style_region is not None and _shapes_differ(image, style_region):
            raise InputError(
                f"{self.style_region}: {_size(style_region)} has another shape than the style"
                f" image ({_size(image)}); crop the mask to that image's frame"
            )
        return Style(
            image_3HW=image,
            weight=1.0 if self.weight is None else self.weight,
            region_HW=region,
            style_region_HW=style_region,
        )


def parse_style(text: str) -> Style:
    """Read the style image and the masks of an argument; for errors see `StyleArgument`."""
    return StyleArgument.parse(text).load()


def parse_styles(texts: Sequence[str], config: StyleConfig | None = None) -> list[StyleArgument]:
    """Parse all style arguments of a command.

    Args:
        texts: the arguments.
        config: the settings of the stylization, if they are known already.

    Raises:
        InputError: a weight is out of range or would have no effect.
    """
    styles = [StyleArgument.parse(text) for text in texts]
    styles_in_region = Counter(style.region for style in styles)
    for style in styles:
        if style.weight in (None, 1.0):
            continue
        if styles_in_region[style.region] < 2:
            raise InputError(
                f"--style {style.text}: the weight has no effect, because no other style image is"
                " in the same region; remove the weight, or change the strength with --set"
                " style_weight=NUMBER"
            )
        if config and config.style_blend and config.init != "feed_forward":
            raise InputError(
                f"--style {style.text}: the weight has no effect, because the setting `style_blend`"
                " weighs the style images; remove the weight, or add --set style_blend=null"
            )
    return styles


def check_frames(content_3HW: Tensor, styles: Sequence[Style], start_3HW: Tensor | None) -> None:
    """Raise InputError if a mask or the start picture has another shape than the content."""
    masks = [("mask of a style", style.region_HW) for style in styles]
    for what, picture in [*masks, ("picture to start from", start_3HW)]:
        if picture is not None and _shapes_differ(content_3HW, picture):
            raise InputError(
                f"the {what}: {_size(picture)} has another shape than the content"
                f" ({_size(content_3HW)}); crop it to the content's frame"
            )


def _shapes_differ(a: Tensor, b: Tensor) -> bool:
    return shapes_differ((a.shape[-1], a.shape[-2]), (b.shape[-1], b.shape[-2]))


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # accepts names of any length


def _split_weight(text: str) -> tuple[str, float | None]:
    """Split ``FILE`` or ``FILE:WEIGHT``; if a file has the whole text as its name, take that."""
    path, colon, number = text.rpartition(":")
    if is_file(text) or not colon:
        return text, None
    try:
        weight = float(number)
    except ValueError:
        return text, None
    if not 0 < weight <= 1e6:
        raise InputError(f"--style {text}: expected a weight above 0 and at most 1e6, got {number}")
    return path, weight
