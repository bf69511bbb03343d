"""StyleConfig: every knob of one stylization, validated. No torch here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nst_core.errors import ConfigError, near_miss
from nst_core.networks import EXTRACTORS, NETWORKS

GRAMS = ("per_pixel", "per_element")
NORMALIZATIONS = ("imagenet", "half")
OPTIMIZERS = ("adam",)
INITS = ("content", "noise", "style")
CLAMPS = ("step", "save")

#: The shortest side an image may have: below it the LPIPS network's poolings leave nothing.
MIN_SIDE_PX = 32
MAX_SIZE_PX = 8192


def _choice(options: tuple[str, ...], default: str) -> Any:
    return field(default=default, metadata={"options": options})


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _layers(default: Mapping[str, float]) -> Any:
    return field(default_factory=lambda: dict(default), metadata={"layers": True})


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """Every knob of one stylization (Gatys, Ecker, Bethge, CVPR 2016, and its descendants).

    Loss of one image: ``content_weight * sum_l c_l * content_l + style_weight * sum_l s_l * style_l
    + tv_weight * tv``, with the terms of `nst_core.functional` and the layer weights ``c_l`` and
    ``s_l`` below. Treat instances as immutable, mappings included.

    Attributes:
        extractor: network whose features are read, one of `networks.EXTRACTORS`.
        content_layers: layer -> weight >= 0, at least one layer.
        style_layers: layer -> weight >= 0, at least one layer.
        content_weight: factor of the content term, >= 0.
        style_weight: factor of the style term, >= 0.
        tv_weight: factor of the total-variation term, >= 0; 0 turns it off.
        gram: Gram normalisation; ``per_pixel`` divides F F^T by H*W, ``per_element`` by C*H*W.
        normalization: how pixels enter the network; ``imagenet`` mean and standard deviation, or
            ``half`` (0.5 and 0.5).
        optimizer: how pixels are updated.
        lr: learning rate in units of the pixel range [0, 1] per step, > 0.
        steps: optimizer steps, >= 1.
        init: the image the optimization starts from.
        size_px: longer side of the result in pixels; the shorter follows the content's shape.
        clamp: keep pixels in [0, 1] after each ``step``, or only when the image is ``save``d.
        seed: seed of the noise initialisation.

    Raises:
        ConfigError: with every problem at once.
    """

    extractor: str = _choice(EXTRACTORS, "vgg16")
    content_layers: Mapping[str, float] = _layers({"relu4_2": 1.0})
    style_layers: Mapping[str, float] = _layers(
        {"relu1_1": 0.2, "relu2_1": 0.2, "relu3_1": 0.2, "relu4_1": 0.2, "relu5_1": 0.2}
    )
    content_weight: float = _number(1.0, 0.0, 1e12)
    style_weight: float = _number(10.0, 0.0, 1e12)
    tv_weight: float = _number(0.0, 0.0, 1e12)
    gram: str = _choice(GRAMS, "per_pixel")
    normalization: str = _choice(NORMALIZATIONS, "imagenet")
    optimizer: str = _choice(OPTIMIZERS, "adam")
    lr: float = _number(0.02, 1e-8, 1e4)
    steps: int = _number(300, 1, 100_000)
    init: str = _choice(INITS, "content")
    size_px: int = _number(256, MIN_SIDE_PX, MAX_SIZE_PX)
    clamp: str = _choice(CLAMPS, "step")
    seed: int = _number(0, 0, 2**63 - 1)

    def __post_init__(self) -> None:
        problems = _problems(dataclasses.asdict(self))
        if problems:
            raise ConfigError("configuration", problems)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "configuration") -> StyleConfig:
        """Build from plain JSON values; ``source`` names where they come from in the error."""
        if not isinstance(values, Mapping):
            raise ConfigError(source, [f"expected an object of settings, got {values!r}"])
        problems = [
            f"`{key}`: no such setting{near_miss(key, FIELDS)}"
            for key in values
            if key not in FIELDS
        ]
        known = {key: value for key, value in values.items() if key in FIELDS}
        defaults = dataclasses.asdict(cls())
        problems += _problems({**defaults, **known})
        if problems:
            raise ConfigError(source, problems)
        return cls(**{key: _plain(key, value) for key, value in known.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, every field."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> StyleConfig:
        """A copy with ``changes``, validated again."""
        return StyleConfig.from_dict({**self.to_dict(), **changes})

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that the loss reads, content and style, in forward order."""
        terms = (
            (self.content_weight, self.content_layers),
            (self.style_weight, self.style_layers),
        )
        used = {
            layer
            for factor, weights in terms
            for layer, weight in weights.items()
            if factor * weight > 0
        }
        return tuple(layer for layer in NETWORKS[self.extractor].layers if layer in used)


FIELDS: Mapping[str, dataclasses.Field[Any]] = {
    spec.name: spec for spec in dataclasses.fields(StyleConfig)
}


def _plain(key: str, value: Any) -> Any:
    """Give ints where floats are declared and the like their declared type."""
    if FIELDS[key].metadata.get("layers"):
        return {layer: float(weight) for layer, weight in value.items()}
    return float(value) if FIELDS[key].type == "float" else value


def _problems(values: Mapping[str, Any]) -> list[str]:
    problems = [p for key, value in values.items() for p in _field_problems(key, value, values)]
    if not problems and not any(w > 0 for w in values["style_layers"].values()):
        problems.append("`style_layers`: expected at least one layer with a weight above 0")
    if not problems and not (values["content_weight"] or values["style_weight"]):
        problems.append("`style_weight`: expected above 0 where `content_weight` is 0")
    return problems


def _field_problems(key: str, value: Any, values: Mapping[str, Any]) -> list[str]:
    meta = FIELDS[key].metadata
    if "options" in meta:
        if value in meta["options"]:
            return []
        hint = near_miss(value, meta["options"])
        return [f"`{key}`: {value!r} is not one of {', '.join(meta['options'])}{hint}"]
    if "layers" in meta:
        return _layer_problems(key, value, values.get("extractor"))
    return _number_problems(key, value, meta["low"], meta["high"], FIELDS[key].type == "int")


def _number_problems(key: str, value: Any, low: float, high: float, whole: bool) -> list[str]:
    kind = "a whole number" if whole else "a number"
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        return [f"`{key}`: expected {kind} from {low:g} to {high:g}, got {value!r}"]
    return []


def _layer_problems(key: str, value: Any, extractor: Any) -> list[str]:
    if not isinstance(value, Mapping) or not value:
        return [f"`{key}`: expected layers with weights, such as {{relu4_2: 1}}, got {value!r}"]
    problems = []
    network = NETWORKS.get(extractor) if extractor in EXTRACTORS else None
    for layer, weight in value.items():
        if network and (problem := network.problem_with(layer)):
            problems.append(f"`{key}`: {problem}")
        problems += _number_problems(f"{key}.{layer}", weight, 0.0, 1e12, whole=False)
    return problems
