"""Device: name, default number of lanes, memory, and the meaning of errors of a GPU or CPU.

Importing this module loads neither torch nor Ray.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import traceback
from functools import cache
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

#: Environment variable; ``1`` records steps as CUDA graphs, ``0`` does not.
CUDA_GRAPHS_VARIABLE = "NST_TUNER_CUDA_GRAPHS"

#: Too little memory: messages of torch's CPU allocator, of CUDA outside of torch's allocator, and
#: of cuBLAS, cuDNN and cuSOLVER. NVML only adds details to an error of torch's CUDA allocator, so
#: if NVML itself fails there, memory was the first problem.
_OUT_OF_MEMORY_MESSAGE = re.compile(
    r"can't allocate memory|out of memory|std::bad_alloc|ALLOC(ATION)?_FAILED|nvmlInit\w*\(\)"
)

#: A library or CUDA refused one call, and the process can still use the device: shapes or dtypes
#: that it does not support, too large a launch, not a number where a matrix is decomposed, and
#: errors that a CUDA graph causes while it is recorded.
_REFUSED_MESSAGE = re.compile(
    r"CUDNN_STATUS_(NOT_SUPPORTED|BAD_PARAM|INVALID_VALUE|ARCH_MISMATCH|SUBLIBRARY)"
    r"|CUBLAS_STATUS_(NOT_SUPPORTED|INVALID_VALUE|ARCH_MISMATCH)"
    r"|input matrix contains NaN"
    r"|CUDA (driver )?error: (operation not supported(?! on)|operation not permitted"
    r"|invalid (argument|configuration argument|device function|resource handle)"
    r"|too many resources requested for launch"
    r"|[^\n]*\b(captur|dependency created on uncaptured work))"
)

#: After any other error of the device, the process can no longer use it: an illegal address, a
#: failed launch or assertion, a fault of memory or of a link, a driver that is gone.
_BROKEN_DEVICE_MESSAGE = re.compile(r"CUDA (driver )?error|CUDNN_STATUS|cuDNN error")

_log = logging.getLogger(__name__)


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


def cuda_graphs_enabled() -> bool:
    """Return whether steps on a GPU are recorded as CUDA graphs, from the environment.

    Raises:
        InputError: the variable is neither ``0`` nor ``1``.
    """
    value = os.environ.get(CUDA_GRAPHS_VARIABLE, "")
    if value not in ("", "0", "1"):
        raise InputError(
            f"environment variable {CUDA_GRAPHS_VARIABLE} is {value!r}; expected 1 (record steps as"
            " CUDA graphs) or 0 (the default); set one of them, or unset the variable"
        )
    return value == "1"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the same work may succeed later, or with fewer lanes or images at a time."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY_MESSAGE.search(str(error)))


def is_broken_device(error: Exception) -> bool:
    """Return whether this process can no longer use the device, so that a new one must start.

    An error of the device that is not known to be harmless counts as broken: starting a process for
    nothing takes seconds, while a broken device fails every lane that follows.
    """
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    message = str(error)
    return bool(_BROKEN_DEVICE_MESSAGE.search(message) and not _REFUSED_MESSAGE.search(message))


def release_memory() -> None:
    """Give unused memory of torch's allocator back to the GPU, if this process uses one.

    Call it outside of an ``except`` block: inside, the traceback keeps the tensors of the failed
    step alive. It raises no error. After a CUDA graph whose recording failed, torch 2.11 can no
    longer release memory (mended by https://github.com/pytorch/pytorch/pull/180395 and 190308).
    After an error that broke the device, the next use of the device raises it.
    """
    import torch

    try:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        _warn_once(first_line(error))


@cache
def _warn_once(reason: str) -> None:
    _log.warning("torch cannot release unused GPU memory in this process: %s", reason)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, which may be empty."""
    return next(iter(str(error).strip().splitlines()), "")


def describe_error(error: Exception) -> str:
    """Return one line that says why a trial failed.

    For an unexpected error, the line names the error's type and the source line that raised it.
    """
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, InputError):
        return str(error)
    message = first_line(error)
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {message} ({Path(frame.filename).name}:{frame.lineno})"
