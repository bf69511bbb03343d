"""doctor: checks of the machine, each in one line."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from nst_core.errors import NstError


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding; ``ok`` is None where it is worth knowing and no fault."""

    name: str
    ok: bool | None
    found: str


def check_all(address: str | None) -> list[Check]:
    """Every check of this machine."""
    return checked(
        {
            "python": _python,
            "torch": _torch,
            "gpu": _gpu,
            "ray": lambda: _ray(address),
            "weights": _weights,
            "disk": _disk,
        }
    )


def checked(checks: Mapping[str, Callable[[], Check]]) -> list[Check]:
    """What each check found; one that breaks is a finding, not an end."""
    found = []
    for name, check in checks.items():
        try:
            found.append(check())
        except NstError as error:
            found.append(Check(name=name, ok=False, found=str(error)))
        except Exception as error:  # a doctor reports what is broken, whatever it is
            found.append(Check(name=name, ok=False, found=f"{type(error).__name__}: {error}"))
    return found


def _python() -> Check:
    return Check(name="python", ok=sys.version_info >= (3, 11), found=platform.python_version())


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
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free, total = (f"{value / 2**30:.0f} GiB" for value in torch.cuda.mem_get_info())
    return Check(
        name="gpu", ok=True, found=f"{', '.join(names)}; {free} of {total} free on the first"
    )


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

    here = [name for name in SOURCES if is_cached(name)]
    for name in here:
        get_weights(name)
    missing = [name for name in SOURCES if name not in here]
    found = f"verified: {', '.join(here) or 'none'}"
    if missing:
        found += f"; not here: {', '.join(missing)} (`nst-tuner weights fetch`)"
    return Check(name="weights", ok=True if here else None, found=f"{found}; cache {cache_dir()}")


def _disk() -> Check:
    free = shutil.disk_usage(".").free
    return Check(name="disk", ok=free > 2**30, found=f"{free / 2**30:.1f} GiB free in this folder")
