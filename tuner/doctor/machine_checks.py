"""Checks of this machine, one line each: ``nst-tuner doctor``."""

from __future__ import annotations

import shutil
from importlib.metadata import version

from tuner.doctor.check import Check, run_checks
from tuner.doctor.device_checks import CPU_PRECISIONS, check_gpus, compute
from tuner.doctor.platforms import check_platform, check_python

_MIN_FREE_BYTES = 2**30


def check_machine(address: str | None) -> list[Check]:
    """Return the results of all checks of this machine.

    Args:
        address: of a Ray cluster that must answer, as `ray_backend` takes it; None: no cluster.
    """
    return run_checks(
        {
            "platform": check_platform,
            "python": check_python,
            "torch": _torch,
            "gpu": check_gpus,
            "ray": lambda: _ray(address),
            "weights": _weights,
            "disk": _disk,
        }
    )


def _torch() -> Check:
    import torch
    import torchvision

    cpu = compute(torch.device("cpu"), CPU_PRECISIONS)
    found = (
        f"torch {torch.__version__}, torchvision {torchvision.__version__},"
        f" {torch.get_num_threads()} threads, {', '.join(cpu.works) or 'no precision'} work"
    )
    return Check(name="torch", ok=not cpu.problems, found="; ".join([found, *cpu.problems]))


def _ray(address: str | None) -> Check:
    from tuner.cluster.connection import connected, ray_backend

    if address is None:
        return Check(name="ray", ok=True, found=f"ray {version('ray')}; no --address to check")
    ray_backend(address)
    with connected(address) as resources:
        listed = ", ".join(f"{resources.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
        return Check(name="ray", ok=True, found=f"{address} answers: {listed}")


def _weights() -> Check:
    from nst_core.networks.weights import SOURCES, cache_dir, get_weights, is_cached

    cached = [name for name in SOURCES if is_cached(name)]
    for name in cached:
        get_weights(name)  # verifies the file
    missing = [name for name in SOURCES if name not in cached]
    found = f"in the cache and verified: {', '.join(cached) or 'none'}"
    if missing:
        found += f"; not in the cache: {', '.join(missing)} (`nst-tuner weights fetch`)"
    return Check(
        name="weights", ok=True if cached else None, found=f"{found}; cache: {cache_dir()}"
    )


def _disk() -> Check:
    free = shutil.disk_usage(".").free
    found = f"{free / 2**30:.1f} GiB free in this folder"
    return Check(name="disk", ok=free > _MIN_FREE_BYTES, found=found)
