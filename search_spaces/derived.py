"""Parameters that are no field of StyleConfig but set one or several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError
from nst_core.networks.registry import NETWORKS

#: Style layers of the networks by a set's name, in forward order; `style_scheme` and
#: `log10_layer_2` and so on say how they are weighted. A set is one of every network that has its
#: layers.
STYLE_SETS: Mapping[str, tuple[str, ...]] = {
    "relu1_1-3_1": ("relu1_1", "relu2_1", "relu3_1"),
    "relu1_1-4_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
    "relu1_1-5_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    "relu1_2-4_3": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    "relu1_1-2_1": ("relu1_1", "relu2_1"),
    "relu2_1-4_1": ("relu2_1", "relu3_1", "relu4_1"),
    "relu2_1-5_1": ("relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    "conv1_1-5_1": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    "conv1-layer2": ("conv1", "layer1", "layer2"),
    "conv1-layer3": ("conv1", "layer1", "layer2", "layer3"),
    "layer1-layer3": ("layer1", "layer2", "layer3"),
    "conv1-block4": ("conv1", "block2", "block4"),
    "conv1-block11": ("conv1", "block2", "block4", "block7", "block11"),
    "relu1-fire4": ("relu1", "fire2", "fire4"),
    "relu1-fire9": ("relu1", "fire2", "fire4", "fire6", "fire9"),
    "relu1-relu3": ("relu1", "relu2", "relu3"),
    "relu1-relu5": ("relu1", "relu2", "relu3", "relu4", "relu5"),
}

#: How a set's layers share the weight 1: alike, or each layer half or twice the one before;
#: ``explicit`` leaves it to `log10_layer_2` and so on.
STYLE_SCHEMES: Mapping[str, float] = {"equal": 1.0, "shallow": 0.5, "deep": 2.0, "explicit": 1.0}

#: Choices that set nothing themselves: conditions of the weights of the same name hang on them.
SWITCHES = ("tv", "color", "photo")

#: Layers, and style images, whose weights can be searched one by one.
MOST_WEIGHTS = 8

#: ``log10_blend_N`` compares the N-th style image with the first.
BLEND = "log10_blend_"

Fields = dict[str, Any]


def base_of(name: str) -> str:
    """What a parameter sets: ``lr@adam`` is a variant of ``lr``, with conditions of its own."""
    return name.partition("@")[0]


def sets_of(network: str, *, layers: int = 1) -> tuple[str, ...]:
    """The style sets that a network has, of at least so many layers."""
    known = NETWORKS[network].node
    return tuple(
        name
        for name, chosen in STYLE_SETS.items()
        if len(chosen) >= layers and all(layer in known for layer in chosen)
    )


def _set_ratio(value: float, fields: Fields) -> None:
    fields["style_weight"] = fields.get("content_weight", 1.0) * 10.0**value


def _set_content_layer(value: str, fields: Fields) -> None:
    fields["content_layers"] = {value: 1.0}


def _set_style_layers(value: str, fields: Fields) -> None:
    fields["style_layers"] = dict.fromkeys(STYLE_SETS[value], 1.0)


def _set_style_depth(value: int, fields: Fields) -> None:
    """The first so many of the layers that the network reads by default."""
    layers = NETWORKS[fields.get("extractor", StyleConfig().extractor)].style_layers[:value]
    fields["style_layers"] = dict.fromkeys(layers, 1 / len(layers))


def _set_style_scheme(value: str, fields: Fields) -> None:
    """Reweights the layers that other settings chose, in forward order."""
    factor = STYLE_SCHEMES[value]
    fields["style_layers"] = _shared(
        {layer: factor**i for i, layer in enumerate(_style_layers(fields))}
    )


def _set_layer_weight(number: int, value: float, fields: Fields) -> None:
    """Weighs a layer against the first one; together they keep the weight 1."""
    weights = _style_layers(fields)
    layers = list(weights)
    name = f"log10_layer_{number}"
    if len(layers) < number:
        there = ", ".join(layers)
        raise ConfigError(name, [f"`{name}`: there are only {len(layers)} style layers ({there})"])
    if not weights[layers[0]]:
        raise ConfigError(name, [f"`{name}`: compares with {layers[0]}, whose weight is 0"])
    fields["style_layers"] = _shared(
        {**weights, layers[number - 1]: weights[layers[0]] * 10.0**value}
    )


def _set_blend(number: int, value: float, fields: Fields) -> None:
    """Weighs a style image against the first one; they are set in order, from the second on."""
    before = [1.0] if number == 2 else list(fields["style_blend"])
    weights = [*before, before[0] * 10.0**value]
    fields["style_blend"] = [weight / sum(weights) for weight in weights]


def _set_nothing(value: str, fields: Fields) -> None:
    pass


def _style_layers(fields: Fields) -> Mapping[str, float]:
    """The layers that settings have chosen so far, in forward order."""
    chosen: Fields = {key: fields[key] for key in ("extractor", "style_layers") if key in fields}
    config = StyleConfig.from_dict(chosen)
    layers = NETWORKS[config.extractor].layers
    return {layer: config.style_layers[layer] for layer in layers if layer in config.style_layers}


def _shared(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights of the same ratios whose sum is 1."""
    return {layer: weight / sum(weights.values()) for layer, weight in weights.items()}


_NUMBERS = range(2, MOST_WEIGHTS + 1)

#: In the order in which they are applied.
DERIVED: Mapping[str, Callable[[Any, Fields], None]] = {
    "log10_style_content": _set_ratio,
    "content_layer": _set_content_layer,
    "style_set": _set_style_layers,
    "style_depth": _set_style_depth,
    "style_scheme": _set_style_scheme,
    **{f"log10_layer_{number}": partial(_set_layer_weight, number) for number in _NUMBERS},
    **{f"{BLEND}{number}": partial(_set_blend, number) for number in _NUMBERS},
    **dict.fromkeys(SWITCHES, _set_nothing),
}

#: What the derived choices may be; a field's own choices come from StyleConfig, and layers from
#: the networks.
DERIVED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "style_set": tuple(STYLE_SETS),
    "style_scheme": tuple(STYLE_SCHEMES),
    **dict.fromkeys(SWITCHES, ("off", "on")),
}

#: Derived choices, as opposed to numbers.
DERIVED_CHOICES = ("content_layer", *DERIVED_OPTIONS)

#: Derived numbers that are counts.
DERIVED_COUNTS = ("style_depth",)

#: Parameters that set the same as another.
SAME_AS: Mapping[str, str] = {"style_depth": "style_set", "style_weight": "log10_style_content"}
