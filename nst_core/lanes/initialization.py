"""Initialization: the image from which an optimization starts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nst_core.config import StyleConfig, is_random
from nst_core.errors import InputError
from nst_core.images.colors import color_noise
from nst_core.images.tensors import resize, resize_longer_side
from nst_core.losses.inputs import LossInputs, Style

#: Standard deviation of the noise that a seed adds to a start that is not random: a fortieth of an
#: 8-bit level. Float32 rounding differs with the other lanes of a batch and with the processor, and
#: it grows until results differ almost as much as those of two seeds
#: (`python -m benchmarks.determinism`). Different seeds make this variation visible, so that the
#: results of one configuration can be averaged over it.
DISTURBANCE = 1e-4
#: The seed that adds no noise to a start that is not random.
UNDISTURBED = StyleConfig().seed
#: Standard deviation of noise around mid gray: nearly all of it stays within [0, 1].
NOISE_SPREAD = 0.2


def initial_image(config: StyleConfig, inputs: LossInputs) -> Tensor:
    """Return image_3HW in [0, 1], from which the optimization starts; see `StyleConfig.init`.

    Raises:
        InputError: ``inputs.starts`` lacks the image that ``config.init`` names.
    """
    height, width = inputs.height_width
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(3, height, width, generator=generator)
    blend = inputs.blended(config.style_blend)
    styles = [(resize(image, height, width), weight) for image, weight in blend]
    content = inputs.content_3HW
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
            gray = 0.5 + NOISE_SPREAD * noise
            image = (1 - config.init_noise) * content + config.init_noise * gray
        case "image" | "feed_forward":
            image = _given_start(config.init, inputs)
        case _:
            image = content
    if config.seed != UNDISTURBED and not is_random(config):
        image = image + DISTURBANCE * noise
    return image.clone().clamp(0, 1)


def feed_forward_start(content_3HW: Tensor, styles: Sequence[Style], size_px: int) -> Tensor:
    """Return the result of a feed-forward network, image_3HW in [0, 1], to start from.

    Args:
        content_3HW: content image in [0, 1].
        styles: style images with their weights.
        size_px: longer side of the result.

    Raises:
        InputError: the optional extra ``feed-forward`` is not installed.
    """
    from nst_core.feed_forward.magenta import feed_forward

    content = resize_longer_side(content_3HW, size_px)
    return feed_forward(content, [(style.image_3HW, style.weight) for style in styles])


def _given_start(name: str, inputs: LossInputs) -> Tensor:
    if name not in inputs.starts:
        needed = "an image to start from" if name == "image" else "a feed-forward result"
        raise InputError(f"`init: {name}` needs {needed}, but none was given")
    return inputs.starts[name]
