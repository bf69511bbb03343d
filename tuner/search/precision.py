"""Precision of a run: what ``resources.precision`` becomes at launch, and when it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.errors import InputError, Say

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


def precision_problem(precision: str | None, device: str) -> str | None:
    """Return why a device cannot run a job in its precision, or None if it can.

    Args:
        precision: ``resources.precision`` of a run; None for the precision of each configuration.
        device: ``cpu`` or ``cuda``; the device is present.
    """
    if precision in (None, "auto", "float32"):
        return None
    import torch

    from nst_core.lanes.device import device_name
    from nst_core.networks.precision_support import is_native

    if is_native(precision, torch.device(device)):
        return None
    needed = {
        "tf32": "an NVIDIA GPU since Ampere",
        "bfloat16": "an NVIDIA GPU since Ampere, or a CPU with AVX512_BF16, AMX or ARM's BF16",
    }[precision]
    return (
        f"resources.precision: {precision} needs {needed}, but an engine of this run computes on"
        f" {device_name(device)}; set it to float32 in the job, or run the job on such a device"
    )


def check_precision(precision: str | None, device: str) -> None:
    """Raise InputError if a device cannot run a job in its precision; see `precision_problem`."""
    if problem := precision_problem(precision, device):
        raise InputError(problem)
