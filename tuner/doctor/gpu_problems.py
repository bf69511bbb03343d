"""Problems of GPUs and drivers: what an error of CUDA means, and what to do about it.

Importing this module does not load torch.
"""

from __future__ import annotations

import re
from pathlib import Path

#: Oldest driver on Linux for each major version of CUDA (CUDA Toolkit release notes, "minimum
#: required driver version for CUDA minor version compatibility").
OLDEST_DRIVERS = {"11": "450.80", "12": "525.60", "13": "580.65"}

#: File in which NVIDIA's kernel module tells its version.
DRIVER_FILE = Path("/proc/driver/nvidia/version")

_VERSION = re.compile(r"\b\d{3,}\.\d+(\.\d+)?\b")
_TOO_OLD = re.compile(r"driver on your system is too old \(found version (\d+)\)")

#: What to do about an error, by a part of its message.
_REMEDIES = {
    "no kernel image is available": (
        "this torch has no code for this GPU; install a torch build that supports it"
        " (https://pytorch.org/get-started)"
    ),
    "CUDA driver initialization failed": (
        "the driver does not start; run `nvidia-smi`, and restart the machine after an update of"
        " the driver"
    ),
    "forward compatibility was attempted on non supported HW": (
        "the driver's library and its kernel module have different versions; restart the machine"
    ),
    "out of memory": "another program uses the GPU's memory; `nvidia-smi` lists the programs",
    "ECC error": "the GPU's memory is faulty; reset the GPU, and replace it if this returns",
    "busy or unavailable": (
        "another program uses this GPU alone, or its compute mode forbids use; `nvidia-smi` shows"
        " both"
    ),
}


def has_no_gpu(message: str) -> bool:
    """Return whether an error of CUDA only says that this machine shows no GPU to this process."""
    return "no NVIDIA driver" in message or "No CUDA GPUs are available" in message


def explain(message: str, cuda_version: str) -> str:
    """Return one line about an error of CUDA: what is wrong, what was expected, what to do.

    Args:
        message: message of the exception that torch raised.
        cuda_version: CUDA version that torch was built for, such as ``13.0``.
    """
    if too_old := _TOO_OLD.search(message):
        found = int(too_old[1])  # 12040: CUDA 12.4
        supported = f"{found // 1000}.{found % 1000 // 10}"
        oldest = OLDEST_DRIVERS.get(cuda_version.partition(".")[0])
        needs = f"driver {oldest} or newer" if oldest else "a newer driver"
        installed = driver_version()
        driver = f"the NVIDIA driver {installed}" if installed else "the NVIDIA driver"
        return (
            f"{driver} is too old: it supports CUDA {supported}, and this torch is built for"
            f" CUDA {cuda_version}, which needs {needs}; update the driver, or install a"
            " torch for the older CUDA (https://pytorch.org/get-started)"
        )
    first_line = next(iter(message.strip().splitlines()), "an error without a message")
    for part, remedy in _REMEDIES.items():
        if part in message:
            return f"{first_line}: {remedy}"
    return f"{first_line}; `nvidia-smi` shows the state of the GPUs"


def driver_version() -> str | None:
    """Return the version of NVIDIA's kernel module, such as ``580.65.06``; None without one."""
    try:
        version = _VERSION.search(DRIVER_FILE.read_text(encoding="utf-8"))
    except OSError:
        return None
    return version[0] if version else None
