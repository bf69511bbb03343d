"""What the loss weights of public engines are in ours. No torch here.

`to_style_config` multiplies the factors of `nst_core.presets.public_engines` into weights of ours,
so that the two losses are equal, not only proportional; `to_engine_weights` is the way back.
docs/conversions.md holds the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nst_core.config import StyleConfig
from nst_core.errors import InputError, near_miss
from nst_core.networks.registry import EXTRACTORS, NETWORKS, POOLING_GAIN
from nst_core.presets.public_engines import ENGINES, ONE, WITHOUT_CONVERSION, Engine, Factor, Grid

#: Channels of VGG's five blocks (Simonyan & Zisserman, arXiv 1409.1556, table 1).
VGG_CHANNELS = (64, 128, 256, 512, 512)

#: Ways to put a term's layers together: layer weights w of n layers -> factors.
LAYER_RULES: Mapping[str, Callable[[float, float, int], float]] = {
    "sum": lambda weight, total, count: weight,
    "mean": lambda weight, total, count: weight / count,
    "shares": lambda weight, total, count: weight / total,
}

#: What the learning rate is divided by for pixels of a range R: a step of Adam is as long as its
#: rate, one of gradient descent has the range once more in the gradient, and L-BFGS' steps are
#: those of a quasi-Newton method, which do not depend on the scale of the variable.
LR_DIVISORS: Mapping[str, Callable[[int], float]] = {
    "adam": lambda pixel_range: pixel_range,
    "sgd": lambda pixel_range: pixel_range**2,
    "lbfgs": lambda pixel_range: 1,
}

#: With which power of its features a style loss grows; a content loss grows with their square.
_STYLE_POWERS = {"gram": 4, "wasserstein": 2}


def to_style_config(
    engine: str,
    *,
    content_weight: float,
    style_weight: float,
    content_layers: Mapping[str, float] | Iterable[str],
    style_layers: Mapping[str, float] | Iterable[str],
    height: int,
    width: int,
    tv_weight: float = 0.0,
    lr: float | None = None,
    optimizer: str = "adam",
    extractor: str = "vgg19",
) -> dict[str, Any]:
    """Fields of `StyleConfig` whose loss is the engine's, given the engine's own weights.

    On the same features the two losses are equal: the common factor is one, except where
    `Engine.note` tells a gradient from a reported loss. Features are the same only with the
    engine's own weights of the network (Caffe's, for most).

    Args:
        engine: a key of `ENGINES`.
        content_weight: as the engine is given it, as all that follows.
        style_weight: likewise.
        content_layers: layers, with the weights that the engine multiplies them with, if it does.
        style_layers: likewise.
        height: of the result in pixels, since many engines sum over pixels.
        width: likewise.
        tv_weight: likewise.
        lr: in the engine's pixel units; None leaves ours.
        optimizer: ``adam``, ``sgd`` or ``lbfgs``; they scale differently with pixels.
        extractor: the network whose layers these are.

    Raises:
        InputError: no such engine, or no weights of ours repeat what is asked for.
    """
    known = _engine(engine)
    grids = _Grids(extractor, height, width)
    fields: dict[str, Any] = {
        "extractor": extractor,
        "content_weight": float(content_weight) ** known.content_power,
        "content_layers": _weighed(content_layers, known.content_layers, known.content, grids),
        "style_weight": float(style_weight) ** known.style_power,
        "style_layers": _weighed(style_layers, known.style_layers, known.style, grids),
        "style_loss": known.style_loss,
        "gram": known.gram,
        "padding": known.padding,
        "tv_weight": 0.0,
        "optimizer": optimizer,
    }
    if known.normalization is not None:
        fields["normalization"] = known.normalization
    if tv_weight:
        fields["tv_weight"] = tv_weight * known.tv_factor(height, width)
        fields["tv_norm"] = known.tv.norm if known.tv else "l2"
    if optimizer not in LR_DIVISORS:
        raise InputError(f"`{optimizer}`: no conversion; expected one of {', '.join(LR_DIVISORS)}")
    if lr is not None:
        fields["lr"] = lr / LR_DIVISORS[optimizer](known.pixel_range)
    return fields


class EngineWeights(NamedTuple):
    """What an engine is to be given for a loss that equals ours.

    Attributes:
        content_layers: layer -> the whole weight of its term.
        style_layers: likewise.
        tv_weight: 0 if there is none; None if the engine has no total variation like it.
        lr: in the engine's pixel units; None for optimizers without a conversion.
    """

    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    tv_weight: float | None
    lr: float | None


def to_engine_weights(
    config: StyleConfig, engine: str, *, height: int, width: int
) -> EngineWeights:
    """The way back from `to_style_config`: weights of an engine from a configuration of ours.

    Where both pool by average and ours has another gain (`POOLING_GAIN`), features below a pooling
    differ in size, which the weights make up for. A network's biases do not grow with its features,
    so that the losses are then nearly equal only.

    Args:
        config: with the style loss of the engine; layers that weigh nothing are left out.
        engine: a key of `ENGINES` whose weights enter the gradient once.
        height: of the result in pixels.
        width: likewise.

    Raises:
        InputError: no such engine, or no weights of it repeat the loss.
    """
    known = _engine(engine)
    if known.style_power != 1 or known.style_loss != config.style_loss:
        raise InputError(f"{engine}: no weights of it repeat style_loss `{config.style_loss}`")
    grids = _Grids(config.extractor, height, width)
    # How much larger our features are than the engine's below each pooling.
    gain = 1.0
    if config.pooling == "average" and known.average_gain is not None:
        gain = POOLING_GAIN["average"] / known.average_gain

    def content(layer: str) -> float:
        grid = grids.of(layer)
        return gain ** (2 * _halvings(layer)) / known.content.of(grid)

    def style(layer: str) -> float:
        grid = grids.of(layer)
        ours = 1 / grid.channels**2 if config.gram == "per_element" else 1.0
        power = _STYLE_POWERS[known.style_loss] * _halvings(layer)
        return ours * gain**power / known.style_factor(grid)

    tv: float | None = 0.0
    if config.tv_weight:
        repeats = known.tv is not None and known.tv.norm == config.tv_norm
        tv = config.tv_weight / known.tv_factor(height, width) if repeats else None
    divisor = LR_DIVISORS.get(config.optimizer)
    return EngineWeights(
        content_layers={
            layer: config.content_weight * weight * content(layer)
            for layer, weight in config.content_layers.items()
            if config.content_weight * weight > 0
        },
        style_layers={
            layer: config.style_weight * weight * style(layer)
            for layer, weight in config.style_layers.items()
            if config.style_weight * weight > 0
        },
        tv_weight=tv,
        lr=config.lr * divisor(known.pixel_range) if divisor else None,
    )


def _engine(name: str) -> Engine:
    if name in ENGINES:
        return ENGINES[name]
    if name in WITHOUT_CONVERSION:
        raise InputError(f"{name} has no conversion: {WITHOUT_CONVERSION[name]}")
    hint = near_miss(name, ENGINES)
    raise InputError(f"`{name}`: no such engine{hint} (known: {', '.join(ENGINES)})")


@dataclass(frozen=True)
class _Grids:
    """The layers of a network on an image of a given size."""

    extractor: str
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.extractor not in EXTRACTORS:
            hint = near_miss(self.extractor, EXTRACTORS)
            raise InputError(f"`{self.extractor}`: no such network{hint}")
        if min(self.height, self.width) < 2:
            raise InputError(f"{self.width}x{self.height}: expected at least 2x2 pixels")

    def of(self, layer: str) -> Grid:
        """Grid of a VGG layer; its poolings halve and round down."""
        if problem := NETWORKS[self.extractor].problem_with(layer):
            raise InputError(problem)
        if not self.extractor.startswith("vgg"):
            raise InputError(f"`{layer}`: known are the channels of vgg16 and vgg19 only")
        halvings = _halvings(layer)
        return Grid(
            channels=VGG_CHANNELS[_block(layer) - 1],
            positions=(self.height >> halvings) * (self.width >> halvings),
            pixels=self.height * self.width,
        )


def _halvings(layer: str) -> int:
    """How many poolings a VGG layer lies below; one that pools counts itself."""
    return _block(layer) - (0 if layer.startswith("pool") else 1)


def _block(layer: str) -> int:
    """In which of VGG's five blocks a layer is."""
    return int(next(character for character in layer if character.isdigit()))


def _weighed(
    layers: Mapping[str, float] | Iterable[str], rule: str, factor: Factor, grids: _Grids
) -> dict[str, float]:
    """Our layer weights for an engine's."""
    given = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    total = sum(given.values())
    if not total > 0:
        raise InputError(f"{given}: expected at least one layer with a weight above 0")
    return {
        layer: LAYER_RULES[rule](weight, total, len(given))
        # Other networks than VGG have their uses where nothing depends on the layer.
        * (1.0 if factor is ONE else factor.of(grids.of(layer)))
        for layer, weight in given.items()
    }
