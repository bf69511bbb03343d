"""What a parameter of a space may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high]; ``log`` draws its logarithm evenly (low > 0)."""

    low: float
    high: float
    log: bool = False
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether ``value`` may be drawn."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[float, ...]:
        """Its extreme values."""
        return self.low, self.high

    def describe(self) -> str:
        """One phrase for a table."""
        return f"{self.low:g} … {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number in [low, high]; ``log`` draws its logarithm evenly (low > 0)."""

    low: int
    high: int
    log: bool = False
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether ``value`` may be drawn."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[int, ...]:
        """Its extreme values."""
        return self.low, self.high

    def describe(self) -> str:
        """One phrase for a table."""
        return f"{self.low} … {self.high}, whole{', log' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several names."""

    options: tuple[str, ...]
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Whether ``value`` may be drawn."""
        return value in self.options

    @property
    def ends(self) -> tuple[str, ...]:
        """All its values; none of them is between others."""
        return self.options

    def describe(self) -> str:
        """One phrase for a table."""
        return " | ".join(self.options)


Parameter = Float | Int | Choice


def condition(parameter: Parameter) -> str:
    """When a parameter has a meaning, in words; empty if it always has one."""
    return " and ".join(f"{key} is {' or '.join(v)}" for key, v in parameter.when.items())


#: Drawn values by parameter.
Params = Mapping[str, float | int | str]
