"""Where a reference stylization comes from when nobody has made one by hand."""

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

#: What is said where the networks are given some.
NO_REGIONS = "this network puts all styles everywhere; from: long-run keeps to regions"

#: A long coarse-to-fine L-BFGS run on VGG16, with average pooling, the Wasserstein style loss and
#: the best iterate kept: what one would do for one picture with time to spare.
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
    """Raise InputError if a reference cannot be made this way; call it before long work.

    Args:
        source: one of `SOURCES`.
        encoder: file, for ``adain`` only.
        decoder: file, for ``adain`` only.
        steps: for ``long-run`` only.
        regions: whether a style image has a mask, which only ``long-run`` keeps to.
    """
    if source not in SOURCES:
        raise InputError(f"`{source}`: no such source of references ({', '.join(SOURCES)})")
    given = (encoder is not None, decoder is not None)
    if given != ((True, True) if source == "adain" else (False, False)):
        raise InputError("encoder and decoder files are needed for adain, and for nothing else")
    if steps is not None and source != "long-run":
        raise InputError(
            f"steps: {source} takes none, it is one pass of a network; leave steps out, or take the"
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
    """A reference stylization of a picture.

    Args:
        source: one of `SOURCES`; ``feed-forward`` is Magenta's network (an optional extra),
            ``adain`` the network of the two files, ``long-run`` an optimization by
            `LONG_RUN_CONFIG`.
        content_3HW: the picture, float32 in [0, 1].
        styles: style images, or pairs of style image and blend weight; only ``long-run`` knows
            what regions are.
        size_px: longer side of the result.
        weights: gives a network's weights by name, for ``long-run``.
        encoder: weights file for ``adain``.
        decoder: weights file for ``adain``.
        steps: of a ``long-run``, if not `LONG_RUN_CONFIG`'s.
        on_step: told every few steps of a ``long-run``.

    Returns:
        image_3HW in [0, 1], float32.

    Raises:
        InputError: an optional extra is missing, or a file is not what it should be; or a region
            is given that would be ignored.
        WorkError: the long run diverged.
    """
    from nst_core.images.tensors import resize_longer_side
    from nst_core.losses.inputs import Style

    given = [
        one if isinstance(one, Style) else Style(image_3HW=one[0], weight=one[1]) for one in styles
    ]
    regions = any(one.region_HW is not None or one.style_region_HW is not None for one in given)
    check_reference_source(source, encoder, decoder, steps=steps, regions=regions)
    if not MIN_SIDE_PX <= size_px <= MAX_SIZE_PX:
        raise InputError(f"size_px: expected {MIN_SIDE_PX} to {MAX_SIZE_PX}, got {size_px}")
    content = resize_longer_side(content_3HW, size_px)
    if source == "long-run":
        return _long_run(content, given, size_px, steps, weights, on_step)
    pairs = [(one.image_3HW, one.weight) for one in given]
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
