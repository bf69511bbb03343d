"""Settings without effect, given the other settings. This module does not load torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nst_core.config import StyleConfig

_MOMENTS = ("adam", "adamw", "lamb")
_RANDOM = ("noise", "style_noise")

#: Setting -> whether it has an effect, and the other settings that it needs.
_NEEDS: Mapping[str, tuple[Callable[[StyleConfig], bool], str]] = {
    "content_layers": (lambda c: c.content_weight > 0, "content_weight above 0"),
    "style_layers": (lambda c: c.style_weight > 0, "style_weight above 0"),
    "style_loss": (lambda c: c.style_weight > 0, "style_weight above 0"),
    "style_scale": (lambda c: c.style_weight > 0, "style_weight above 0"),
    "gram": (
        lambda c: c.style_loss == "gram" and c.style_weight > 0,
        "style_loss: gram and style_weight above 0",
    ),
    "tv_norm": (lambda c: c.tv_weight > 0, "tv_weight above 0"),
    "color_loss": (lambda c: c.color_weight > 0, "color_weight above 0"),
    "match_colors": (lambda c: c.preserve_color != "luminance", "preserve_color: none or after"),
    "beta1": (lambda c: c.optimizer in _MOMENTS, f"optimizer: {', '.join(_MOMENTS)}"),
    "beta2": (lambda c: c.optimizer in _MOMENTS, f"optimizer: {', '.join(_MOMENTS)}"),
    "weight_decay": (lambda c: c.optimizer in ("adamw", "lamb"), "optimizer: adamw or lamb"),
    "momentum": (lambda c: c.optimizer == "sgd", "optimizer: sgd"),
    "lbfgs_history": (lambda c: c.optimizer == "lbfgs", "optimizer: lbfgs"),
    "schedule_steps": (
        lambda c: c.scales > 1 or c.lr_schedule != "constant" or c.weight_schedule == "ramp",
        "lr_schedule: cosine, weight_schedule: ramp or scales above 1",
    ),
    "ramp_start": (lambda c: c.weight_schedule == "ramp", "weight_schedule: ramp"),
    "balance_ratio": (lambda c: c.weight_schedule == "balance", "weight_schedule: balance"),
    "init_noise": (lambda c: c.init == "mix", "init: mix"),
    "seed": (
        lambda c: c.init in _RANDOM or (c.init == "mix" and c.init_noise > 0),
        "a start with noise (init: noise, style_noise or mix)",
    ),
    "ema_decay": (lambda c: c.keep == "ema", "keep: ema"),
}

#: Setting -> the other setting whose value the message shows.
_DECIDES = {"schedule_steps": "lr_schedule", "seed": "init", "gram": "style_loss"}


def without_effect(config: StyleConfig, keys: Iterable[str]) -> list[str]:
    """Return one sentence for each setting that has no effect, given the others.

    Args:
        config: all settings.
        keys: settings that the user chose. None turns a setting off, which is allowed anywhere.
    """
    problems = []
    for key in dict.fromkeys(keys):
        if key not in _NEEDS or getattr(config, key) is None:
            continue
        works, needed = _NEEDS[key]
        if not works(config):
            decides = _DECIDES.get(key) or needed.split(":")[0].split(" ")[0]
            problems.append(
                f"`{key}`: changes nothing with `{decides}: {getattr(config, decides)}`; it needs"
                f" {needed}; set that too, or leave it out"
            )
    return problems
