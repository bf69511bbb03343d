"""What an error in an engine means: want of memory, a broken device, or something else."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch

from nst_core.errors import InputError
from nst_core.lanes.batch import Outcome

#: Torch's allocator on CPUs; CUDA outside of torch's allocator; cuBLAS and cuDNN.
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|ALLOC(ATION)?_FAILED")

#: After these nothing that the process does on the device works any more.
_BROKEN = re.compile(r"CUDA error|CUDNN_STATUS|cuDNN error")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the same may work with fewer lanes or images at a time, or later."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def is_broken_device(error: Exception) -> bool:
    """Whether only a new process can go on."""
    broken = isinstance(error, RuntimeError) and bool(_BROKEN.search(str(error)))
    return broken and not is_out_of_memory(error)


def described(error: Exception) -> str:
    """Why a trial cannot go on, in a line; of what should not happen, where it did."""
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY.value
    if isinstance(error, InputError):
        return str(error)
    what = next(iter(str(error).strip().splitlines()), "")
    *_, place = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {what} ({Path(place.filename).name}:{place.lineno})"
