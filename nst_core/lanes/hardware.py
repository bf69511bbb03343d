"""What machine this is, for the record."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch


def device_name(device: torch.device | str) -> str:
    """A GPU's name, or the cores and the model of the CPU, where the system tells."""
    device = torch.device(device)
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    model = re.search(r"model name\s*: (.*)", text)
    return f"{os.cpu_count()} cores of {model[1] if model else platform.processor()}"
