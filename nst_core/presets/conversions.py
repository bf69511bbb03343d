"""Conversion of loss weights between public engines and `StyleConfig`.

`to_style_config` multiplies an engine's weights by the factors of
`nst_core.presets.public_engines`, so that the two losses are equal, not only proportional.
`to_engine_weights` is the reverse. The table of factors is in docs/reference/conversions.md. This
module does not load torch.
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

#: How an engine combines the layers of a term: weight of a layer, sum of all weights and number of
#: layers -> factor of the layer.
LAYER_RULES: Mapping[str, Callable[[float, float, int], float]] = {
    "sum": lambda weight, total, count: weight,
    "mean": lambda weight, total, count: weight / count,
    "shares": lambda weight, total, count: weight / total,
}

#: Divisor of the learning rate for pixels in [0, R]. A step of Adam is as long as its learning
#: rate; the gradient in gradient descent contains R once more; and quasi-Newton steps as in L-BFGS
#: do not depend on the scale of the variable.
LR_DIVISORS: Mapping[str, Callable[[int], float]] = {
    "adam": lambda pixel_range: pixel_range,
    "sgd": lambda pixel_range: pixel_range**2,
    "lbfgs": lambda pixel_range: 1,
}

#: Power of the features with which a style loss grows; a content loss grows with their square.
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
    """Return fields of `StyleConfig` whose loss equals an engine's loss with the given weights.

    The two losses are equal on the same features, except where `Engine.note` says that an engine
    reports another loss than it minimizes. The features are the same only with the engine's own
    network weights, which most take from Caffe.

    Args:
        engine: a key of `ENGINES`.
        content_weight: content weight in the engine.
        style_weight: style weight in the engine.
        content_layers: content layers, with their weights in the engine if it has any.
        style_layers: style layers, with their weights in the engine if it has any.
        height: height of the result in pixels, because many engines sum over pixels.
        width: width of the result in pixels.
        tv_weight: weight of the total variation in the engine.
        lr: learning rate in the engine's pixel units; None for our default.
        optimizer: ``adam``, ``sgd`` or ``lbfgs``; each scales differently with the pixel range.
        extractor: network of the layers.

    Raises:
        InputError: there is no such engine, or its loss cannot be expressed by `StyleConfig`.
    """
    spec = _engine(engine)
    grids = _Grids(extractor, height, width)
    fields: dict[str, Any] = {
        "extractor": extractor,
        "content_weight": float(content_weight) ** spec.content_power,
        "content_layers": _weighed(content_layers, spec.content_layers, spec.content, grids),
        "style_weight": float(style_weight) ** spec.style_power,
        "style_layers": _weighed(style_layers, spec.style_layers, spec.style, grids),
        "style_loss": spec.style_loss,
        "gram": spec.gram,
        "padding": spec.padding,
        "tv_weight": 0.0,
        "optimizer": optimizer,
    }
    if spec.normalization is not None:
        fields["normalization"] = spec.normalization
    if tv_weight:
        fields["tv_weight"] = tv_weight * spec.tv_factor(height, width)
        fields["tv_norm"] = spec.tv.norm if spec.tv else "l2"
    if optimizer not in LR_DIVISORS:
        raise InputError(f"`{optimizer}`: no conversion; expected one of {', '.join(LR_DIVISORS)}")
    if lr is not None:
        fields["lr"] = lr / LR_DIVISORS[optimizer](spec.pixel_range)
    return fields


class EngineWeights(NamedTuple):
    """Weights of an engine whose loss equals that of a `StyleConfig`.

    Attributes:
        content_layers: layer -> total weight of its content term.
        style_layers: layer -> total weight of its style term.
        tv_weight: weight of the total variation; 0 if it is not used, None if the engine has no
            equal total variation.
        lr: learning rate in the engine's pixel units; None for optimizers without a conversion.
    """

    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    tv_weight: float | None
    lr: float | None


def to_engine_weights(
    config: StyleConfig, engine: str, *, height: int, width: int
) -> EngineWeights:
    """Return weights of an engine from a `StyleConfig`: the reverse of `to_style_config`.

    Average pooling here and in the engine may have different gains (`POOLING_GAIN`). The weights
    compensate for the different magnitudes of features after a pooling. The biases of the network
    do not scale with the features, so that the losses are only nearly equal in this case.

    Args:
        config: configuration with the style loss of the engine; layers of weight 0 are left out.
        engine: a key of `ENGINES` in which the gradient is proportional to the weights.
        height: height of the result in pixels.
        width: width of the result in pixels.

    Raises:
        InputError: there is no such engine, or its loss cannot equal that of the configuration.
    """
    spec = _engine(engine)
    if spec.style_power != 1 or spec.style_loss != config.style_loss:
        raise InputError(
            f"{engine}: has no equal of style_loss `{config.style_loss}`; choose another engine"
        )
    grids = _Grids(config.extractor, height, width)
    # Ratio of our features to the engine's after each pooling.
    gain = 1.0
    if config.pooling == "average" and spec.average_gain is not None:
        gain = POOLING_GAIN["average"] / spec.average_gain

    def content(layer: str) -> float:
        grid = grids.of(layer)
        return gain ** (2 * _poolings(layer)) / spec.content.of(grid)

    def style(layer: str) -> float:
        grid = grids.of(layer)
        ours = 1 / grid.channels**2 if config.gram == "per_element" else 1.0
        power = _STYLE_POWERS[spec.style_loss] * _poolings(layer)
        return ours * gain**power / spec.style_factor(grid)

    tv: float | None = 0.0
    if config.tv_weight:
        is_equal = spec.tv is not None and spec.tv.norm == config.tv_norm
        tv = config.tv_weight / spec.tv_factor(height, width) if is_equal else None
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
        lr=config.lr * divisor(spec.pixel_range) if divisor else None,
    )


def _engine(name: str) -> Engine:
    if name in ENGINES:
        return ENGINES[name]
    if name in WITHOUT_CONVERSION:
        raise InputError(f"{name} has no conversion: {WITHOUT_CONVERSION[name]}")
    hint = near_miss(name, ENGINES)
    raise InputError(f"`{name}`: no such engine{hint}; expected one of {', '.join(ENGINES)}")


@dataclass(frozen=True)
class _Grids:
    """Sizes of the layers of a network for an image of a given size."""

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
        """Return the grid of a VGG layer; each pooling halves the sides and rounds down."""
        if problem := NETWORKS[self.extractor].problem_with(layer):
            raise InputError(problem)
        if not self.extractor.startswith("vgg"):
            raise InputError(
                f"`{layer}`: this conversion depends on the layer's size and needs vgg16 or vgg19"
            )
        halvings = _poolings(layer)
        return Grid(
            channels=VGG_CHANNELS[_block(layer) - 1],
            positions=(self.height >> halvings) * (self.width >> halvings),
            pixels=self.height * self.width,
        )


def _poolings(layer: str) -> int:
    """Return the number of poolings up to and including a VGG layer."""
    return _block(layer) - (0 if layer.startswith("pool") else 1)


def _block(layer: str) -> int:
    """Return the number of the VGG block of a layer, 1 to 5."""
    return int(next(character for character in layer if character.isdigit()))


def _weighed(
    layers: Mapping[str, float] | Iterable[str], rule: str, factor: Factor, grids: _Grids
) -> dict[str, float]:
    """Return our layer weights for an engine's."""
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    total = sum(weights.values())
    if not total > 0:
        raise InputError(f"{weights}: expected at least one layer with a weight above 0")
    return {
        layer: LAYER_RULES[rule](weight, total, len(weights))
        # Networks other than VGG are allowed where the factor does not depend on the layer.
        * (1.0 if factor is ONE else factor.of(grids.of(layer)))
        for layer, weight in weights.items()
    }
