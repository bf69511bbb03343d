"""Rung arithmetic: the steps at which a trial reports."""

from __future__ import annotations

from collections.abc import Sequence


def rung_steps(min_steps: int, max_steps: int, reduction: int) -> tuple[int, ...]:
    """Steps at which a trial reports: min_steps times powers of ``reduction``, and max_steps."""
    rungs = []
    steps = min_steps
    while steps < max_steps:
        rungs.append(steps)
        steps *= reduction
    return (*rungs, max_steps)


def next_rungs(rungs: Sequence[int], steps: int) -> tuple[int, int | None]:
    """The first rung beyond ``steps``, and the one after it, if there is one.

    Raises:
        ValueError: there is none.
    """
    beyond = [rung for rung in rungs if rung > steps]
    if not beyond:
        raise ValueError(f"no rung beyond step {steps} in {tuple(rungs)}")
    return beyond[0], beyond[1] if len(beyond) > 1 else None
