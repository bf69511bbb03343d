"""Rung arithmetic of asynchronous successive halving, as pure functions.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020, arXiv 1810.05934),
in its stopping form: at a rung a trial goes on if it is among the best 1/reduction of all that have
reported there so far. Nothing is remembered between calls: the values come from the study, so a
resumed run decides as an uninterrupted one.
"""

from __future__ import annotations

import math
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


def goes_on(
    value: float, others: Sequence[float], *, reduction: int, higher_is_better: bool
) -> bool:
    """Whether a trial with ``value`` at a rung goes on.

    Args:
        value: its objective there.
        others: objectives of the other trials that have reported at this rung.
        reduction: the best 1/reduction of all, at least one, go on; ties go on.

    A value that is not finite never goes on and never keeps another back.
    """
    if not math.isfinite(value):
        return False
    sign = -1.0 if higher_is_better else 1.0
    ranked = sorted(sign * v for v in [*others, value] if math.isfinite(v))
    survivors = max(1, len(ranked) // reduction)
    return sign * value <= ranked[survivors - 1]
