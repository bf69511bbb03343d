"""Reference stylizations, computed for pairs without a given one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from nst_core.errors import InputError, WorkError
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import BUILT_IN

if TYPE_CHECKING:  # torch takes seconds to load, and a job is checked without it
    from torch import Tensor

    from nst_core.losses.inputs import Style
    from nst_core.stylization import Step

SOURCES = ("feed-forward", "adain", "long-run")

#: Message of networks that are given regions.
NO_REGIONS = "this network ignores the regions of styles; use `from: long-run`, which applies them"

#: A long coarse-to-fine L-BFGS run on VGG16 with average pooling, the Wasserstein style loss and
#: the best iterate kept: settings for quality, whatever the time.
LONG_RUN_CONFIG = BUILT_IN["style-transfer-pytorch"].config.replace(
    extractor="vgg16",
    pooling="average",
    optimizer="lbfgs",
    lr=1.0,
    lbfgs_history=20,
    steps=600,
    clamp="save",
    keep="best",
)


def check_reference_source(
    source: str,
    encoder: Path | None,
    decoder: Path | None,
    *,
    steps: int | None = None,
    regions: bool = False,
) -> None:
    """Raise InputError if a reference cannot be computed this way; call it before long work.

    Args:
        source: one of `SOURCES`.
        encoder: weights file, for ``adain`` only.
        decoder: weights file, for ``adain`` only.
        steps: optimizer steps, for ``long-run`` only.
        regions: whether a style image has a mask, which only ``long-run`` applies.
    """
    if source not in SOURCES:
        raise InputError(
            f"`{source}`: no such source of references; expected one of {', '.join(SOURCES)}"
        )
    given = (encoder is not None, decoder is not None)
    if given != ((True, True) if source == "adain" else (False, False)):
        raise InputError(
            f"{source}: adain needs both an encoder and a decoder file, other sources take neither"
        )
    if steps is not None and source != "long-run":
        raise InputError(
            f"steps: {source} is one pass of a network without steps; leave steps out, or use the"
            " source long-run"
        )
    if regions and source != "long-run":
        raise InputError(f"{source}: {NO_REGIONS}")
    if source == "feed-forward":
        from nst_core.feed_forward.magenta import check_installed

        check_installed()


def make_reference(
    source: str,
    content_3HW: Tensor,
    styles: Sequence[Style | tuple[Tensor, float]],
    *,
    size_px: int,
    weights: Callable[[str], Weights],
    encoder: Path | None = None,
    decoder: Path | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Tensor:
    """Compute a reference stylization of a picture.

    Args:
        source: one of `SOURCES`; ``feed-forward`` is Magenta's network (an optional extra),
            ``adain`` the network of the two files, ``long-run`` an optimization by
            `LONG_RUN_CONFIG`.
        content_3HW: picture to stylize, float32 in [0, 1].
        styles: style images, or pairs of style image and blend weight; only ``long-run`` applies
            regions.
        size_px: longer side of the result in pixels.
        weights: returns a network's weights by name, for ``long-run``.
        encoder: weights file for ``adain``.
        decoder: weights file for ``adain``.
        steps: optimizer steps of a ``long-run``; the default is that of `LONG_RUN_CONFIG`.
        on_step: called every few steps of a ``long-run``.

    Returns:
        image_3HW in [0, 1], float32.

    Raises:
        InputError: an optional extra is missing, a file is not the expected one, or a region is
            given to a source that would ignore it.
        WorkError: the long run diverged.
    """
    from nst_core.images.tensors import resize_longer_side
    from nst_core.losses.inputs import Style

    all_styles = [
        style if isinstance(style, Style) else Style(image_3HW=style[0], weight=style[1])
        for style in styles
    ]
    regions = any(s.region_HW is not None or s.style_region_HW is not None for s in all_styles)
    check_reference_source(source, encoder, decoder, steps=steps, regions=regions)
    if not MIN_SIDE_PX <= size_px <= MAX_SIZE_PX:
        raise InputError(f"size_px: expected {MIN_SIDE_PX} to {MAX_SIZE_PX}, got {size_px}")
    content = resize_longer_side(content_3HW, size_px)
    if source == "long-run":
        return _long_run(content, all_styles, size_px, steps, weights, on_step)
    pairs = [(style.image_3HW, style.weight) for style in all_styles]
    if source == "feed-forward":
        from nst_core.feed_forward.magenta import feed_forward  # an optional dependency

        return feed_forward(content, pairs)
    from nst_core.feed_forward.adain import Adain

    assert encoder is not None and decoder is not None
    return Adain.load(encoder, decoder)(content, pairs)


def _long_run(
    content_3HW: Tensor,
    styles: Sequence[Style],
    size_px: int,
    steps: int | None,
    weights: Callable[[str], Weights],
    on_step: Callable[[Step], None],
) -> Tensor:
    from nst_core.lanes.batch import Outcome
    from nst_core.stylization import stylize

    config = LONG_RUN_CONFIG.replace(size_px=size_px, steps=steps or LONG_RUN_CONFIG.steps)
    image = content_3HW
    for step in stylize(config, content_3HW, styles, weights=weights):
        on_step(step)
        image = step.image_3HW
        if step.outcome is not Outcome.RUNNING:
            raise WorkError(f"the long run ended at step {step.step}: {step.outcome.value}")
    return image
