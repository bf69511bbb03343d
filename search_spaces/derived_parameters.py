"""Derived parameters: parameters that set one or several fields of StyleConfig."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError
from nst_core.networks.registry import NETWORKS

#: Name of a set of style layers -> layers in forward order. A set belongs to every network that has
#: all its layers. `style_scheme` and `log10_layer_2`, `log10_layer_3` … weight them.
STYLE_SETS: Mapping[str, tuple[str, ...]] = {
    "relu1_1-3_1": ("relu1_1", "relu2_1", "relu3_1"),
    "relu1_1-4_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
    "relu1_1-5_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    "relu1_2-4_3": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    "relu1_1-2_1": ("relu1_1", "relu2_1"),
    "relu1_2-2_2": ("relu1_2", "relu2_2"),
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

#: Scheme of style weights -> ratio of the weights of two consecutive layers, whose sum is 1. With
#: ``explicit``, `log10_layer_2`, `log10_layer_3` … set the weights.
STYLE_SCHEMES: Mapping[str, float] = {"equal": 1.0, "shallow": 0.5, "deep": 2.0, "explicit": 1.0}

#: Largest slope of style weights, in decades per layer; beyond it, one layer has all the weight.
MAX_SLOPE = 3.0

#: Choices that set no field; the weights of the same name are conditional on them.
SWITCHES = ("tv", "color", "photo")

#: Largest number of layers or style images whose weights can be searched separately.
MAX_WEIGHTS = 8

#: ``log10_blend_N`` compares the N-th style image with the first.
BLEND = "log10_blend_"

Fields = dict[str, Any]


def base_of(name: str) -> str:
    """Return a parameter's name without its variant: ``lr`` for ``lr@adam``."""
    return name.partition("@")[0]


def sets_of(network: str) -> tuple[str, ...]:
    """Return the names of a network's style sets."""
    nodes = NETWORKS[network].node
    return tuple(
        name for name, members in STYLE_SETS.items() if all(layer in nodes for layer in members)
    )


def _set_ratio(value: float, fields: Fields) -> None:
    fields["style_weight"] = fields.get("content_weight", 1.0) * 10.0**value


def _set_content_layer(value: str, fields: Fields) -> None:
    fields["content_layers"] = {value: 1.0}


def _set_style_layers(value: str, fields: Fields) -> None:
    fields["style_layers"] = dict.fromkeys(STYLE_SETS[value], 1.0)


def _set_style_depth(value: int, fields: Fields) -> None:
    """Select the first ``value`` of the network's default style layers."""
    layers = NETWORKS[fields.get("extractor", StyleConfig().extractor)].style_layers[:value]
    fields["style_layers"] = dict.fromkeys(layers, 1 / len(layers))


def _set_style_scheme(value: str, fields: Fields) -> None:
    """Weight the selected style layers, in forward order."""
    factor = STYLE_SCHEMES[value]
    fields["style_layers"] = _normalized(
        {layer: factor**i for i, layer in enumerate(_style_layers(fields))}
    )


def _set_style_slope(value: float, fields: Fields) -> None:
    """Weight the selected style layers so that each has 10**value times the one before."""
    weights = _style_layers(fields)
    fields["style_layers"] = _normalized(
        {layer: weight * 10.0 ** (value * i) for i, (layer, weight) in enumerate(weights.items())}
    )


def _set_layer_weight(number: int, value: float, fields: Fields) -> None:
    """Set the weight of a layer relative to the first; the sum of all stays 1.

    Raises:
        ConfigError: there are fewer layers, or the first layer has the weight 0.
    """
    weights = _style_layers(fields)
    layers = list(weights)
    name = f"log10_layer_{number}"
    if len(layers) < number:
        names = ", ".join(layers)
        raise ConfigError(name, [f"`{name}`: there are only {len(layers)} style layers ({names})"])
    if not weights[layers[0]]:
        raise ConfigError(name, [f"`{name}`: is relative to {layers[0]}, whose weight is 0"])
    fields["style_layers"] = _normalized(
        {**weights, layers[number - 1]: weights[layers[0]] * 10.0**value}
    )


def _set_blend(number: int, value: float, fields: Fields) -> None:
    """Set the weight of a style image relative to the first; called from the second image on."""
    before = [1.0] if number == 2 else list(fields["style_blend"])
    weights = [*before, before[0] * 10.0**value]
    fields["style_blend"] = [weight / sum(weights) for weight in weights]


def _set_nothing(value: str, fields: Fields) -> None:
    pass


def _style_layers(fields: Fields) -> Mapping[str, float]:
    """Return the style layers that the fields select, with weights, in forward order."""
    selection: Fields = {key: fields[key] for key in ("extractor", "style_layers") if key in fields}
    config = StyleConfig.from_dict(selection)
    layers = NETWORKS[config.extractor].layers
    return {layer: config.style_layers[layer] for layer in layers if layer in config.style_layers}


def _normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights with the same ratios and the sum 1."""
    return {layer: weight / sum(weights.values()) for layer, weight in weights.items()}


_NUMBERS = range(2, MAX_WEIGHTS + 1)

#: Derived parameter -> function that sets its fields, in the order in which they are applied.
DERIVED: Mapping[str, Callable[[Any, Fields], None]] = {
    "log10_style_content": _set_ratio,
    "content_layer": _set_content_layer,
    "style_set": _set_style_layers,
    "style_depth": _set_style_depth,
    "style_scheme": _set_style_scheme,
    "style_slope": _set_style_slope,
    **{f"log10_layer_{number}": partial(_set_layer_weight, number) for number in _NUMBERS},
    **{f"{BLEND}{number}": partial(_set_blend, number) for number in _NUMBERS},
    **dict.fromkeys(SWITCHES, _set_nothing),
}

#: Options of the derived choices. Options of fields are those of StyleConfig; those of
#: ``content_layer`` depend on the network.
DERIVED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "style_set": tuple(STYLE_SETS),
    "style_scheme": tuple(STYLE_SCHEMES),
    **dict.fromkeys(SWITCHES, ("off", "on")),
}

#: Derived parameters that are choices.
DERIVED_CHOICES = ("content_layer", *DERIVED_OPTIONS)

#: Derived parameters that are whole numbers.
DERIVED_COUNTS = ("style_depth",)

#: Parameter -> another parameter that sets the same field.
SAME_AS: Mapping[str, str] = {"style_depth": "style_set", "style_weight": "log10_style_content"}
