"""Arithmetic of rungs, the steps at which a trial reports."""

from __future__ import annotations

from collections.abc import Sequence


def rung_steps(min_steps: int, max_steps: int, reduction: int) -> tuple[int, ...]:
    """Return ``min_steps`` times powers of ``reduction``; the last rung is ``max_steps``."""
    rungs = []
    steps = min_steps
    while steps < max_steps:
        rungs.append(steps)
        steps *= reduction
    return (*rungs, max_steps)


def next_rungs(rungs: Sequence[int], steps: int) -> tuple[int, int | None]:
    """Return the first rung after ``steps``, and the second one or None.

    Raises:
        ValueError: no rung comes after ``steps``.
    """
    ahead = [rung for rung in rungs if rung > steps]
    if not ahead:
        raise ValueError(f"no rung after step {steps}: the rungs are {tuple(rungs)}")
    return ahead[0], ahead[1] if len(ahead) > 1 else None
