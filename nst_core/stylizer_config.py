"""StylizerConfig: settings of one stylization by another stylizer than the engine of this project.

This module does not load torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX, StyleConfig
from nst_core.errors import ConfigError, near_miss

#: Ways to name a stylizer; it has exactly one of them.
KINDS = ("python", "path", "command")
#: Largest number of steps and largest seed.
_MAX_STEPS, _MAX_SEED = 100_000, 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class StylizerConfig:
    """All settings of one stylization by another stylizer.

    Attributes:
        stylizer: which stylizer, as plain JSON: one of the keys ``python``, ``path`` and
            ``command``, and its limits (`tuner.job.stylizer_spec.StylizerSpec`).
        params: parameter of the stylizer -> value.
        size_px: longer side of the result in pixels.
        steps: the result is the first picture after so many steps, or the last one.
        seed: seed of everything random.

    Raises:
        ConfigError: a value is invalid; the error lists all problems.
    """

    stylizer: Mapping[str, Any]
    params: Mapping[str, float | int | str] = field(default_factory=dict)
    size_px: int = 256
    steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise ConfigError("configuration of a stylizer", problems)

    @classmethod
    def from_dict(cls, values: Any, source: str = "configuration") -> StylizerConfig:
        """Build a configuration from plain JSON values.

        Raises:
            ConfigError: a key is unknown or a value invalid; the error lists all problems.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(source, [f"expected an object of settings, got {values!r}"])
        known = [declared.name for declared in dataclasses.fields(cls)]
        problems = [
            f"`{key}`: no such setting{near_miss(key, known)}" for key in values if key not in known
        ]
        if "stylizer" not in values:
            problems.append(f"`stylizer`: missing, expected one of {', '.join(KINDS)}")
        if problems:
            raise ConfigError(source, problems)
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(source, error.problems) from None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> StylizerConfig:
        """Return a validated copy with changed fields."""
        return dataclasses.replace(self, **changes)

    def stopped_at(self, steps: int) -> StylizerConfig:
        """Return the configuration whose result is this one's picture after ``steps`` steps."""
        return self.replace(steps=steps)


#: Settings of one stylization, by whichever stylizer.
Configuration: TypeAlias = StyleConfig | StylizerConfig


def configuration_from_dict(values: Mapping[str, Any], source: str) -> Configuration:
    """Return the settings of a stylization from plain JSON values, as a study holds them.

    Args:
        values: fields of `StyleConfig`, or of `StylizerConfig` with the key ``stylizer``.
        source: name of the origin of the values, for error messages.

    Raises:
        ConfigError: a value is unknown or invalid; the error lists all problems.
    """
    other = isinstance(values, Mapping) and "stylizer" in values
    kind: type[Configuration] = StylizerConfig if other else StyleConfig
    return kind.from_dict(values, source=source)


def _problems(config: StylizerConfig) -> list[str]:
    problems = []
    named = config.stylizer.keys() & set(KINDS) if isinstance(config.stylizer, Mapping) else ()
    if len(named) != 1:
        problems.append(
            f"`stylizer`: expected exactly one of {', '.join(KINDS)}, got {config.stylizer!r}"
        )
    if not isinstance(config.params, Mapping):
        problems.append(f"`params`: expected parameters with values, got {config.params!r}")
    else:
        problems += [
            f"`params.{name}`: expected a finite number or text, got {value!r}"
            for name, value in config.params.items()
            if not _is_value(value)
        ]
    limits = {
        "size_px": (MIN_SIDE_PX, MAX_SIZE_PX),
        "steps": (1, _MAX_STEPS),
        "seed": (0, _MAX_SEED),
    }
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            problems.append(
                f"`{name}`: expected a whole number from {low} to {high}, got {value!r}"
            )
    return problems


def _is_value(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
