"""Kinds of parameters of a search space: real numbers, whole numbers, choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high].

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether the logarithm is drawn uniformly; needs ``low`` > 0.
        when: condition: earlier choice -> its values with which the parameter is used.
    """

    low: float
    high: float
    log: bool = False
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Return whether ``value`` is a possible value."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[float, ...]:
        """Smallest and largest value."""
        return self.low, self.high

    def describe(self) -> str:
        """Return the values as text for a table."""
        log = ", log scale" if self.log else ""
        return f"{self.low:g} … {self.high:g}{log}"


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number in [low, high]; attributes as `Float`."""

    low: int
    high: int
    log: bool = False
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Return whether ``value`` is a possible value."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[int, ...]:
        """Smallest and largest value."""
        return self.low, self.high

    def describe(self) -> str:
        """Return the values as text for a table."""
        return f"{self.low} … {self.high}, whole{', log scale' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several names.

    Attributes:
        options: possible values.
        when: condition, as in `Float`.
    """

    options: tuple[str, ...]
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, value: Any) -> bool:
        """Return whether ``value`` is a possible value."""
        return value in self.options

    @property
    def ends(self) -> tuple[str, ...]:
        """All options."""
        return self.options

    def describe(self) -> str:
        """Return the options as text for a table."""
        return " | ".join(self.options)


Parameter = Float | Int | Choice


def condition(parameter: Parameter) -> str:
    """Return a parameter's condition as text; empty if it has none."""
    return " and ".join(f"{key} is {' or '.join(v)}" for key, v in parameter.when.items())


#: Parameter -> drawn value.
Params = Mapping[str, float | int | str]
