"""Checks of this machine, one line each: ``nst-tuner doctor``."""

from __future__ import annotations

import shutil
from importlib.metadata import version

from tuner.doctor.check import Check, run_checks
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
            "gpu": _gpu,
            "ray": lambda: _ray(address),
            "weights": _weights,
            "disk": _disk,
        }
    )


def _torch() -> Check:
    import torch
    import torchvision

    torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 3, 3))
    found = f"torch {torch.__version__}, torchvision {torchvision.__version__} work"
    return Check(name="torch", ok=True, found=f"{found}, {torch.get_num_threads()} threads")


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check(name="gpu", ok=None, found="none; trials run on the CPU")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    free, total = (f"{value / 2**30:.0f} GiB" for value in torch.cuda.mem_get_info())
    found = f"{names}; {free} of {total} free on the first"
    return Check(name="gpu", ok=True, found=found)


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
