"""Losses of public engines written out from their own formulas, as oracles for conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

DOUBLE = torch.float64

CONTENT_LAYERS = ("relu3_1", "conv4_2")
STYLE_LAYERS = ("relu1_1", "conv2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_WEIGHT, STYLE_WEIGHT, TV_WEIGHT = 7.0, 130.0, 0.03


@dataclass(frozen=True)
class Seen:
    """What an engine's loss sees: features of the image and its targets, and its own pixels.

    Features are CHW without a batch, by layer.
    """

    image: Mapping[str, Tensor]
    content: Mapping[str, Tensor]
    style: Mapping[str, Tensor]
    pixels_3HW: Tensor


Term = Callable[[Seen], Tensor]


def flat(feat_CHW: Tensor) -> Tensor:
    return feat_CHW.flatten(1)


def product(feat_CHW: Tensor) -> Tensor:
    return flat(feat_CHW) @ flat(feat_CHW).T


def right(pixels_3HW: Tensor) -> Tensor:
    return pixels_3HW[:, :, 1:] - pixels_3HW[:, :, :-1]


def down(pixels_3HW: Tensor) -> Tensor:
    return pixels_3HW[:, 1:] - pixels_3HW[:, :-1]


# The content terms.


def summed_means(seen: Seen) -> Tensor:
    """neural-style and all that do not say otherwise."""
    terms = [mse_loss(seen.image[k], seen.content[k]) for k in CONTENT_LAYERS]
    return CONTENT_WEIGHT * sum(terms)  # type: ignore[return-value]


def mean_of_means(seen: Seen) -> Tensor:
    """crowsonkb divides the weight by the number of layers."""
    terms = [mse_loss(seen.image[k], seen.content[k]) for k in CONTENT_LAYERS]
    return CONTENT_WEIGHT / len(terms) * sum(terms)  # type: ignore[return-value]


def blended_content(seen: Seen) -> Tensor:
    """anishathalye has ``content_weight_blend``, one half here; l2_loss is half a sum."""
    shares = dict.fromkeys(CONTENT_LAYERS, 0.5)
    return sum(  # type: ignore[return-value]
        shares[k]
        * CONTENT_WEIGHT
        * (2 * ((seen.image[k] - seen.content[k]) ** 2).sum() / 2 / seen.content[k].numel())
        for k in CONTENT_LAYERS
    )


def half_sum_content(seen: Seen) -> Tensor:
    """Gatys et al., eq. 1."""
    terms = [0.5 * ((seen.image[k] - seen.content[k]) ** 2).sum() for k in CONTENT_LAYERS]
    return CONTENT_WEIGHT * sum(terms)  # type: ignore[return-value]


def sum_content(seen: Seen) -> Tensor:
    """keras."""
    terms = [((seen.image[k] - seen.content[k]) ** 2).sum() for k in CONTENT_LAYERS]
    return CONTENT_WEIGHT * sum(terms)  # type: ignore[return-value]


# The style terms.


def per_element_style(seen: Seen) -> Tensor:
    """neural-style, the PyTorch tutorial: mean square over Grams divided by all their elements."""
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        found, target = seen.image[layer], seen.style[layer]
        loss = loss + STYLE_WEIGHT * mse_loss(
            product(found) / found.numel(), product(target) / target.numel()
        )
    return loss


def anishathalye_style(seen: Seen) -> Tensor:
    """Layer weights are powers of ``style_layer_weight_exp``, 0.5 here, over their sum."""
    weights = [0.5**i for i in range(len(STYLE_LAYERS))]
    loss = torch.zeros((), dtype=DOUBLE)
    for layer, weight in zip(STYLE_LAYERS, weights, strict=True):
        found, target = seen.image[layer], seen.style[layer]
        gram, wanted = product(found) / found.numel(), product(target) / target.numel()
        half_sum = ((gram - wanted) ** 2).sum() / 2
        loss = loss + weight / sum(weights) * 2 * half_sum / wanted.numel()
    return STYLE_WEIGHT * loss


def gordicaleksa_style(seen: Seen) -> Tensor:
    """Sums over the entries of Grams divided by C H W, a mean over layers."""
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        found, target = seen.image[layer], seen.style[layer]
        gram, wanted = product(found) / found.numel(), product(target) / target.numel()
        loss = loss + mse_loss(gram, wanted, reduction="sum")
    return STYLE_WEIGHT * loss / len(STYLE_LAYERS)


def pystiche_style(seen: Seen) -> Tensor:
    """Mean square over Grams divided by their positions, each layer 1/n."""
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        found, target = seen.image[layer], seen.style[layer]
        gram, wanted = (
            product(found) / flat(found).shape[1],
            product(target) / flat(target).shape[1],
        )
        loss = loss + mse_loss(gram, wanted) / len(STYLE_LAYERS)
    return STYLE_WEIGHT * loss


def gatys_code_style(seen: Seen) -> Tensor:
    """The same Grams, each layer weighed by 1 / C^2."""
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        found, target = seen.image[layer], seen.style[layer]
        gram, wanted = (
            product(found) / flat(found).shape[1],
            product(target) / flat(target).shape[1],
        )
        loss = loss + STYLE_WEIGHT / found.shape[0] ** 2 * mse_loss(gram, wanted)
    return loss


def gatys_paper_style(seen: Seen) -> Tensor:
    """Eq. 3 to 5 with w_l = 1/5."""
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        gram, wanted = product(seen.image[layer]), product(seen.style[layer])
        channels, positions = flat(seen.image[layer]).shape
        error = ((gram - wanted) ** 2).sum() / (4 * channels**2 * positions**2)
        loss = loss + error / len(STYLE_LAYERS)
    return STYLE_WEIGHT * loss


def keras_style(seen: Seen) -> Tensor:
    """Undivided Grams; three channels and the image's own size whatever the layer."""
    size = seen.pixels_3HW[0].numel()
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        error = ((product(seen.style[layer]) - product(seen.image[layer])) ** 2).sum()
        loss = loss + STYLE_WEIGHT / len(STYLE_LAYERS) * error / (4.0 * 3**2 * size**2)
    return loss


# The total variations, on the engine's own pixels.


def absolute_sum(seen: Seen) -> Tensor:
    return TV_WEIGHT * (right(seen.pixels_3HW).abs().sum() + down(seen.pixels_3HW).abs().sum())


def anishathalye_tv(seen: Seen) -> Tensor:
    dx, dy = right(seen.pixels_3HW), down(seen.pixels_3HW)
    halves = (dy**2).sum() / 2 / dy.numel() + (dx**2).sum() / 2 / dx.numel()
    return TV_WEIGHT * 2 * halves


def lua_tv(seen: Seen) -> Tensor:
    """A gradient without a loss; here the loss that has this gradient and no meaning."""
    pixels = seen.pixels_3HW.detach()
    block = pixels[:, :-1, :-1]
    x_diff, y_diff = block - pixels[:, :-1, 1:], block - pixels[:, 1:, :-1]
    gradient = torch.zeros_like(pixels)
    gradient[:, :-1, :-1] += x_diff + y_diff
    gradient[:, :-1, 1:] -= x_diff
    gradient[:, 1:, :-1] -= y_diff
    return TV_WEIGHT * (gradient * seen.pixels_3HW).sum()


def pystiche_tv(seen: Seen) -> Tensor:
    block = seen.pixels_3HW[:, :-1, :-1]
    vertical, horizontal = block - seen.pixels_3HW[:, 1:, :-1], block - seen.pixels_3HW[:, :-1, 1:]
    return TV_WEIGHT * ((vertical**2 + horizontal**2).sqrt() ** 2).mean()


def crowsonkb_tv(seen: Seen) -> Tensor:
    """Differences to four neighbors, diagonals with a quarter of the weight."""
    padded = torch.nn.functional.pad(seen.pixels_3HW[None], (1, 1, 1, 1), "replicate")[0]
    center = padded[:, 1:-1, 1:-1]
    straight = [padded[:, 1:-1, 2:] - center, padded[:, 2:, 1:-1] - center]
    diagonal = [padded[:, 1:, 1:] - padded[:, :-1, :-1], padded[:, 1:, :-1] - padded[:, :-1, 1:]]
    loss = sum((d**2).mean() / 3 for d in straight) + sum((d**2).mean() / 12 for d in diagonal)
    return TV_WEIGHT * 2 * loss  # type: ignore[return-value]


class Rescaled(torch.autograd.Function):
    """maua's ``normalize``: the identity, but for a gradient over its norm times a weight^2."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad / (grad.norm() + 1e-8) * ctx.weight * ctx.weight, None


def maua_content(seen: Seen) -> Tensor:
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in CONTENT_LAYERS:
        term = mse_loss(seen.image[layer], seen.content[layer])
        loss = loss + Rescaled.apply(term, CONTENT_WEIGHT) * CONTENT_WEIGHT
    return loss


def maua_style(seen: Seen, *, weight_first: bool) -> Tensor:
    loss = torch.zeros((), dtype=DOUBLE)
    for layer in STYLE_LAYERS:
        found, target = seen.image[layer], seen.style[layer]
        term = mse_loss(product(found) / found.numel(), product(target) / target.numel())
        if weight_first:
            loss = loss + Rescaled.apply(STYLE_WEIGHT * term, STYLE_WEIGHT)
        else:
            loss = loss + Rescaled.apply(term, STYLE_WEIGHT) * STYLE_WEIGHT
    return loss


#: Engine -> its terms. The Wasserstein style has a test of its own.
PUBLISHED: Mapping[str, Mapping[str, Term]] = {
    "neural-style-pt": {"content": summed_means, "style": per_element_style, "tv": absolute_sum},
    "neural-style-lua": {"content": summed_means, "style": per_element_style, "tv": lua_tv},
    "anishathalye": {
        "content": blended_content,
        "style": anishathalye_style,
        "tv": anishathalye_tv,
    },
    "gordicaleksa": {"content": summed_means, "style": gordicaleksa_style, "tv": absolute_sum},
    "pystiche": {"content": summed_means, "style": pystiche_style, "tv": pystiche_tv},
    "gatys-code": {"content": summed_means, "style": gatys_code_style},
    "gatys-paper": {"content": half_sum_content, "style": gatys_paper_style},
    "pytorch-tutorial": {"content": summed_means, "style": per_element_style},
    "keras": {"content": sum_content, "style": keras_style},
    "crowsonkb": {"content": mean_of_means},
    "maua": {
        "content": maua_content,
        "style": lambda seen: maua_style(seen, weight_first=True),
        "tv": absolute_sum,
    },
    "maua-early": {
        "content": maua_content,
        "style": lambda seen: maua_style(seen, weight_first=False),
        "tv": absolute_sum,
    },
}
