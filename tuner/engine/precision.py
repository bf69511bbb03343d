"""Whether a device can compute in the precision of a run."""

from __future__ import annotations

from nst_core.errors import InputError


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
