"""The image that an optimization starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nst_core.config import StyleConfig, is_random
from nst_core.errors import InputError
from nst_core.images.colors import color_noise
from nst_core.images.tensors import resize, resize_longer_side
from nst_core.losses.inputs import LossInputs, Style

#: Standard deviation of what a seed adds to a start without noise: a fortieth of an 8-bit level.
#: Rounding in float32 differs with the lanes beside a run and with the processor, and grows until
#: the results differ as those of two seeds do, if less (`python -m benchmarks.determinism`). Seeds
#: make that luck visible: results of one configuration can be averaged over it.
DISTURBANCE = 1e-4
#: The seed that leaves such a start as it is.
UNDISTURBED = StyleConfig().seed
#: Standard deviation of noise around mid grey: nearly all of it stays within [0, 1].
NOISE_SPREAD = 0.2


def initial_image(config: StyleConfig, materials: LossInputs) -> Tensor:
    """image_3HW from which the optimization starts, by ``config.init``, in [0, 1].

    Raises:
        InputError: the start is a picture that ``materials`` do not hold.
    """
    height, width = materials.height_width
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(3, height, width, generator=generator)
    blend = materials.blended(config.style_blend)
    styles = [(resize(image, height, width), weight) for image, weight in blend]
    content = materials.content_3HW
    match config.init:
        case "noise":
            image = 0.5 + NOISE_SPREAD * noise
        case "style":
            image = sum((style * weight for style, weight in styles), torch.zeros_like(content))
        case "style_noise":
            image = sum(
                (color_noise(style, noise) * weight for style, weight in styles),
                torch.zeros_like(content),
            )
        case "mix":
            grey = 0.5 + NOISE_SPREAD * noise
            image = (1 - config.init_noise) * content + config.init_noise * grey
        case "image" | "feed_forward":
            image = _given(config.init, materials)
        case _:
            image = content
    if config.seed != UNDISTURBED and not is_random(config):
        image = image + DISTURBANCE * noise
    return image.clone().clamp(0, 1)


def feed_forward_start(content_3HW: Tensor, styles: Sequence[Style], size_px: int) -> Tensor:
    """What a feed-forward network makes of the picture, to start from.

    Raises:
        InputError: the optional extra is not installed.
    """
    from nst_core.feed_forward.magenta import feed_forward

    content = resize_longer_side(content_3HW, size_px)
    return feed_forward(content, [(style.image_3HW, style.weight) for style in styles])


def _given(name: str, materials: LossInputs) -> Tensor:
    if name not in materials.starts:
        what = "a picture to start from" if name == "image" else "a feed-forward result"
        raise InputError(f"init `{name}` needs {what}, and none was given")
    return materials.starts[name]
