"""Settings in words: what a person wants to know of a found configuration at first sight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPTIMIZERS: Mapping[str, str] = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "lamb": "LAMB",
    "lbfgs": "L-BFGS",
}
_STYLE_LOSSES = {
    "gram": "Gram matrices",
    "mean_cov": "mean and covariance",
    "wasserstein": "Wasserstein distance",
}
_STARTS = {
    "content": "the photo",
    "style": "the style image",
    "noise": "noise",
    "style_noise": "noise in the style's colors",
    "mix": "the photo with noise",
    "feed_forward": "the result of a network",
    "image": "a picture of the job",
}


def settings_in_words(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of a configuration that matter most, as (name, value).

    Args:
        config: all settings as plain JSON, with the names of `StyleConfig`, or of
            `StylizerConfig` if another stylizer made the picture.
    """
    if "stylizer" in config:
        steps = f"{config['steps']:,} at {config['size_px']} px"
        return [
            *((name, _plain(value)) for name, value in config["params"].items()),
            ("Steps", steps),
        ]
    size_px, style_layers = config["size_px"], _used(config["style_layers"])
    words = [
        ("Style : content", _ratio(config["style_weight"], config["content_weight"])),
        ("Optimizer", f"{OPTIMIZERS[config['optimizer']]}, learning rate {config['lr']:.2g}"),
        ("Steps", f"{config['steps']:,} at {size_px} px"),
        ("Style layers", ", ".join(style_layers)),
        ("Content layers", ", ".join(_used(config["content_layers"]))),
        ("Style loss", f"{_STYLE_LOSSES[config['style_loss']]}"),
        ("Network", _network(config["extractor"])),
        ("Start", _STARTS[config["init"]]),
    ]
    if config["tv_weight"]:
        words.append(("Total variation", f"weight {config['tv_weight']:.2g}"))
    return words


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _network(name: str) -> str:
    return name.upper() if name.startswith("vgg") else name


def _ratio(style: float, content: float) -> str:
    """Return the ratio of two weights, such as ``1.4 : 1`` or ``1 : 3``."""
    if not content:
        return "style only"
    if not style:
        return "content only"
    ratio = style / content
    return f"{_short(ratio)} : 1" if ratio >= 1 else f"1 : {_short(1 / ratio)}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def _used(layers: Mapping[str, float]) -> list[str]:
    return [layer for layer, weight in layers.items() if weight > 0]
