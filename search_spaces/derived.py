"""Parameters that are no field of StyleConfig but set one or several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nst_core.config import DEFAULT_LR, StyleConfig
from nst_core.networks import NETWORKS

#: Style layer sets of the VGG networks by name; `style_scheme` says how they are weighted.
STYLE_SETS: Mapping[str, tuple[str, ...]] = {
    "relu1_1-3_1": ("relu1_1", "relu2_1", "relu3_1"),
    "relu1_1-4_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
    "relu1_1-5_1": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    "relu1_2-4_3": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
}

#: How a set's layers share the weight 1: alike, or each layer half or twice the one before.
STYLE_SCHEMES: Mapping[str, float] = {"equal": 1.0, "shallow": 0.5, "deep": 2.0}

#: Choices that set nothing themselves: conditions of the weights of the same name hang on them.
SWITCHES = ("tv", "color", "photo")

Fields = dict[str, Any]


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
    chosen: Fields = {key: fields[key] for key in ("extractor", "style_layers") if key in fields}
    layers = list(StyleConfig.from_dict(chosen).style_layers)
    weights = [factor**i for i in range(len(layers))]
    fields["style_layers"] = {
        layer: weight / sum(weights) for layer, weight in zip(layers, weights, strict=True)
    }


def _set_lr(optimizer: str, value: float, fields: Fields) -> None:
    """Optimizers need rates of other sizes, so each has a parameter of its own."""
    fields["lr"] = value


def _set_nothing(value: str, fields: Fields) -> None:
    pass


#: In the order in which they are applied.
DERIVED: Mapping[str, Callable[[Any, Fields], None]] = {
    "log10_style_content": _set_ratio,
    "content_layer": _set_content_layer,
    "style_set": _set_style_layers,
    "style_depth": _set_style_depth,
    "style_scheme": _set_style_scheme,
    **{f"lr_{optimizer}": partial(_set_lr, optimizer) for optimizer in DEFAULT_LR},
    **dict.fromkeys(SWITCHES, _set_nothing),
}

#: What the derived choices may be; a field's own choices come from StyleConfig.
DERIVED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "style_set": tuple(STYLE_SETS),
    "style_scheme": tuple(STYLE_SCHEMES),
    **dict.fromkeys(SWITCHES, ("off", "on")),
}
