"""Precision support: which precisions a device computes natively, and which ``auto`` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

#: Type of a device (``cpu`` or ``cuda``) -> the fastest precision whose ranking of 60
#: configurations agrees with that of float32 (Kendall's tau of at least 0.9). Entries come from
#: ``python -m benchmarks.precision`` only. It is empty, since no precision has reached 0.9 yet; in
#: long runs not even float32 does against itself with another rounding.
FASTER: Mapping[str, str] = {}

#: Flags of x86 and ARM processors that multiply bfloat16 matrices in hardware.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_CPU_FLAGS_FILE = Path("/proc/cpuinfo")


def fastest_precision(device: torch.device | str) -> str:
    """Return the fastest precision of a device that was measured to rank as float32 does."""
    device = torch.device(device)
    precision = FASTER.get(device.type, "float32")
    return precision if is_native(precision, device) else "float32"


def is_native(precision: str, device: torch.device | str) -> bool:
    """Return whether a device computes a precision in hardware, and is no slower for it.

    Args:
        precision: ``float32``, ``tf32`` or ``bfloat16``.
        device: a CPU or CUDA device that is present.
    """
    device = torch.device(device)
    if precision == "tf32":
        return has_tf32(device)
    return precision == "float32" or has_bfloat16(device)


def has_tf32(device: torch.device) -> bool:
    """Return whether a device has TF32, a format of GPUs since NVIDIA's Ampere."""
    if device.type != "cuda" or torch.version.hip:
        return False
    return has_bfloat16(device)  # both came with Ampere


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 numbers in hardware.

    By default torch also counts GPUs that convert each number to float32 and back, which is slower
    than float32. On a CPU its check includes processors with AVX-512 that do the same.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return supported and bool(_cpu_flags() & _BFLOAT16_FLAGS)


def _cpu_flags() -> set[str]:
    """Return the capabilities of the CPU as Linux names them; none on other systems."""
    try:
        lines = _CPU_FLAGS_FILE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    # x86 calls the line `flags`, ARM `Features`.
    return {
        flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()
    }
