"""Precision of a run: what ``resources.precision`` becomes at launch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.errors import Say

if TYPE_CHECKING:  # the processes of trials import this module
    from search_spaces import Space
    from tuner.job.spec import JobSpec


def with_known_precision(job: JobSpec, say: Say) -> JobSpec:
    """Return a job in which ``resources.precision: auto`` is replaced by what it means here.

    The run directory gets this job, so that a run that continues elsewhere keeps its precision.

    Args:
        job: the job.
        say: receives a line about the choice.
    """
    if job.resources.precision != "auto":
        return job
    import torch

    from nst_core.networks.precision_support import FASTER, fastest_precision

    on_gpu = job.resources.device != "cpu" and torch.cuda.is_available()
    precision = fastest_precision("cuda" if on_gpu else "cpu") if FASTER else "float32"
    reason = "the fastest precision that ranks configurations as float32 does"
    if precision == "float32":
        reason = "no faster precision of this device has been measured to rank as float32 does"
    say(f"resources.precision: auto means {precision}: {reason}")
    resources = job.resources.model_copy(update={"precision": precision})
    return job.model_copy(update={"resources": resources})


def precision_problems(job: JobSpec, space: Space) -> list[str]:
    """Return a problem if both the job and its search space set the precision."""
    default = StyleConfig().precision
    in_space = "precision" in space.fixed or space.may_set("precision") != (default,)
    if job.resources.precision is None or not in_space:
        return []
    return [
        f"resources.precision: the space {space.name} sets `precision` as well; remove this key, or"
        " take `precision` out of the space"
    ]
