"""Device: name, default number of lanes, and the meaning of errors raised on a GPU or CPU.

Importing this module loads neither torch nor Ray.
"""

from __future__ import annotations

import os
import platform
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from nst_core.errors import InputError

if TYPE_CHECKING:
    import torch

#: Default number of stylizations that advance at the same time on one CPU core and on one GPU.
#: More lanes share more work, up to about these numbers.
CPU_LANES = 4
GPU_LANES = 16

#: Failure of a trial whose lanes do not fit into memory even one at a time.
OUT_OF_MEMORY = "out of memory even alone; a smaller size_px may help"

#: Messages of torch's CPU allocator; of CUDA outside of torch's allocator; of cuBLAS and cuDNN.
_OUT_OF_MEMORY_MESSAGE = re.compile(r"can't allocate memory|out of memory|ALLOC(ATION)?_FAILED")

#: After an error with such a message, the process can no longer use the device.
_BROKEN_DEVICE_MESSAGE = re.compile(r"CUDA error|CUDNN_STATUS|cuDNN error")


def device_name(device: torch.device | str) -> str:
    """Return the name of a GPU, or the number of cores and the model of the CPU."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    cpu_info = Path("/proc/cpuinfo")
    text = cpu_info.read_text(encoding="utf-8") if cpu_info.is_file() else ""
    model = re.search(r"model name\s*: (.*)", text)
    return f"{os.cpu_count()} cores of {model[1] if model else platform.processor()}"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the same work may succeed later, or with fewer lanes or images at a time."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY_MESSAGE.search(str(error)))


def is_broken_device(error: Exception) -> bool:
    """Return whether this process can no longer use the device, so that a new one must start."""
    broken = isinstance(error, RuntimeError) and bool(_BROKEN_DEVICE_MESSAGE.search(str(error)))
    return broken and not is_out_of_memory(error)


def describe_error(error: Exception) -> str:
    """Return one line that says why a trial failed.

    For an unexpected error, the line names the error's type and the source line that raised it.
    """
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, InputError):
        return str(error)
    message = next(iter(str(error).strip().splitlines()), "")
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {message} ({Path(frame.filename).name}:{frame.lineno})"
