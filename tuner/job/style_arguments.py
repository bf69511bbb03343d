"""Style images as the command line names them: ``FILE[:WEIGHT][@MASK[@PART]]``."""

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

if TYPE_CHECKING:  # arguments are read before torch is loaded
    from torch import Tensor

    from nst_core.losses.inputs import Style


@dataclass(frozen=True)
class StyleArgument:
    """What an argument names: files, and a weight if it gives one."""

    text: str
    file: str
    weight: float | None = None
    region: str | None = None
    style_region: str | None = None

    @classmethod
    def parse(cls, text: str) -> StyleArgument:
        """Split an argument; a file whose name holds a sign is taken as it is.

        Raises:
            InputError: the weight is not a number above 0.
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
        """Every file that it names."""
        return [name for name in (self.file, self.region, self.style_region) if name]

    def load(self) -> Style:
        """Read the image and its masks; a mask's brightness counts.

        Raises:
            InputError: a file cannot be read, or a mask has another shape than the style image.
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
                f" image's {_size(image)}; crop the mask to that image's frame"
            )
        return Style(
            image_3HW=image,
            weight=1.0 if self.weight is None else self.weight,
            region_HW=region,
            style_region_HW=style_region,
        )


def parse_style(text: str) -> Style:
    """The style image that an argument names. Errors as `StyleArgument`."""
    return StyleArgument.parse(text).load()


def parse_styles(texts: Sequence[str], config: StyleConfig | None = None) -> list[StyleArgument]:
    """All style arguments of a command.

    Args:
        texts: as the command line has them.
        config: what they will be used with, if it is known.

    Raises:
        InputError: a weight is not a number above 0, or would change nothing.
    """
    styles = [StyleArgument.parse(text) for text in texts]
    together = Counter(style.region for style in styles)
    for style in styles:
        if style.weight in (None, 1.0):
            continue
        if together[style.region] < 2:
            raise InputError(
                f"--style {style.text}: a weight divides a region between several style images, and"
                " this one is alone there; leave the weight out, or change the strength with"
                " --set style_weight=NUMBER"
            )
        if config and config.style_blend and config.init != "feed_forward":
            raise InputError(
                f"--style {style.text}: the settings give the style images their weights by"
                " `style_blend`, so this one changes nothing; leave it out, or add --set"
                " style_blend=null"
            )
    return styles


def check_frames(content_3HW: Tensor, styles: Sequence[Style], start_3HW: Tensor | None) -> None:
    """Raise InputError if a mask or a start has another shape than the content."""
    given = [("mask of a style", style.region_HW) for style in styles]
    for what, picture in [*given, ("picture to start from", start_3HW)]:
        if picture is not None and _shapes_differ(content_3HW, picture):
            raise InputError(
                f"the {what}: {_size(picture)} has another shape than the content's"
                f" {_size(content_3HW)}; crop it to the content's frame"
            )


def _shapes_differ(a: Tensor, b: Tensor) -> bool:
    return shapes_differ((a.shape[-1], a.shape[-2]), (b.shape[-1], b.shape[-2]))


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # no name is too long for it


def _split_weight(text: str) -> tuple[str, float | None]:
    """``FILE`` or ``FILE:WEIGHT`` -> (file, weight); a file whose name holds a colon wins."""
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
