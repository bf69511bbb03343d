"""Strength: more or less style than a preset has, with everything else as it is."""

from __future__ import annotations

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError

#: Smallest and largest strength; 1 is the preset itself.
LEAST, MOST = 0.5, 2.0
#: The style weight changes with this power of the strength: from an eighth to eight times. Twice
#: the weight is hardly visible, because good weights spread over decades.
POWER = 3


def weight_factor(strength: float) -> float:
    """Return the factor of the style weight that a strength means; 1 for 1.

    Raises:
        ConfigError: the strength is out of range.
    """
    if not LEAST <= strength <= MOST:
        raise ConfigError(
            "--strength", [f"expected a number from {LEAST:g} to {MOST:g}, got {strength:g}"]
        )
    return float(strength**POWER)


def with_strength(config: StyleConfig, strength: float) -> StyleConfig:
    """Return a configuration with more or less style against content.

    The factor goes to what sets the balance of the two: `balance_ratio` if the weight schedule is
    ``balance``, otherwise `style_weight`.

    Args:
        config: the configuration.
        strength: `LEAST` to `MOST`; 1 changes nothing.

    Raises:
        ConfigError: the strength is out of range, or the configuration has no content or no style
            term, so that there is nothing to balance.
    """
    factor = weight_factor(strength)
    content = config.content_weight and any(config.content_layers.values())
    if not (content and config.style_weight):
        missing = "style" if content else "content"
        raise ConfigError(
            "--strength",
            [
                "has no effect: it balances style against content, and this preset has no"
                f" {missing} term; leave it out"
            ],
        )
    key = "balance_ratio" if config.weight_schedule == "balance" else "style_weight"
    return config.replace(**{key: getattr(config, key) * factor})
