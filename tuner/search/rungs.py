"""Rungs, the steps at which a trial reports: their arithmetic, and which one is the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nst_core.errors import Say

if TYPE_CHECKING:  # the processes of trials import this module
    from tuner.job.spec import HalvingSpec, JobSpec

#: With ``min_steps: auto``, ``max_steps`` is this many times the first rung. Searches with equal
#: numbers of steps are level for first rungs up to a sixth of ``max_steps``, and worse for later
#: ones; the later a rung, the better it ranks (docs/measurements/search.md).
AUTO_DIVISOR = 6


def first_rung(halving: HalvingSpec) -> int:
    """Return the steps of the first rung of a job: its ``min_steps``, or what ``auto`` means."""
    if halving.min_steps is not None:
        return halving.min_steps
    return -(-halving.max_steps // AUTO_DIVISOR)


def with_first_rung(job: JobSpec, say: Say) -> JobSpec:
    """Return a job in which ``halving.min_steps: auto`` is replaced by a number.

    The run directory gets this job, so that a run keeps its rungs whatever a later version chooses.

    Args:
        job: the job.
        say: receives a line about the choice.
    """
    if job.halving.min_steps is not None:
        return job
    halving = job.halving.model_copy(update={"min_steps": first_rung(job.halving)})
    rungs = rung_steps(first_rung(halving), halving.max_steps, halving.reduction)
    say(f"halving.min_steps: auto means {rungs[0]}; rungs at {', '.join(map(str, rungs))} steps")
    return job.model_copy(update={"halving": halving})


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
