"""Device: which errors of a device mean what, and settings of the environment."""

import logging
import subprocess
import sys

import pytest
import torch

from nst_core.errors import InputError
from nst_core.lanes import device
from nst_core.lanes.device import (
    CUDA_GRAPHS_VARIABLE,
    cuda_graphs_enabled,
    is_broken_device,
    is_out_of_memory,
    release_memory,
)

HINTS = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the"
    " stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
    "\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
CONVOLUTION_HINT = (
    "\nYou can try to repro this exception using the following code snippet. If that doesn't"
    " trigger the error, please include your original repro script when reporting this issue.\n"
)

#: Texts of torch 2.11 and 2.15, of its libraries, and of CUDA 12 and 13.
MESSAGES = {
    "memory": [
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory:"
        " you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)",
        "std::bad_alloc",
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB",
        "CUDA error: out of memory" + HINTS,
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at"
        ' "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1016, please report a bug to PyTorch.',
    ],
    "refused": [
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a"
        " non-contiguous input.",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT" + CONVOLUTION_HINT,
        "cuDNN error: CUDNN_STATUS_BAD_PARAM" + CONVOLUTION_HINT,
        "cuDNN error: CUDNN_STATUS_BAD_PARAM_STREAM_MISMATCH",
        "cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
        "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul(...)`",
        "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm( handle, opa, opb, m)`",
        "cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED, when calling `cusolverDnXsyevd(...)`."
        " This error may appear if the input matrix contains NaN.",
        "CUDA error: invalid configuration argument" + HINTS,
        "CUDA error: invalid argument" + HINTS,
        "CUDA error: too many resources requested for launch" + HINTS,
        "CUDA error: operation not supported" + HINTS,
        "CUDA error: operation not permitted when stream is capturing" + HINTS,
        "CUDA error: operation failed due to a previous error during capture" + HINTS,
        "CUDA error: operation would make the legacy stream depend on a capturing blocking stream",
        "CUDA error: dependency created on uncaptured work in another stream" + HINTS,
        "GET was unable to find an engine to execute this computation",
        "mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)",
        "Expected all tensors to be on the same device, but found at least two devices",
    ],
    "broken": [
        "CUDA error: an illegal memory access was encountered" + HINTS,
        "CUDA error: unspecified launch failure" + HINTS,
        "CUDA error: device-side assert triggered" + HINTS,
        "CUDA error: misaligned address" + HINTS,
        "CUDA error: an illegal instruction was encountered" + HINTS,
        "CUDA error: operation not supported on global/shared address space" + HINTS,
        "CUDA error: the launch timed out and was terminated" + HINTS,
        "CUDA error: uncorrectable ECC error encountered" + HINTS,
        "CUDA error: uncorrectable NVLink error detected during the execution" + HINTS,
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable" + HINTS,
        "CUDA error: no kernel image is available for execution on the device" + HINTS,
        "CUDA error: unknown error" + HINTS,
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb)`",
        "CUDA driver error: an illegal memory access was encountered",
        "CUDA driver error: unknown error",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR" + CONVOLUTION_HINT,
    ],
}


@pytest.mark.parametrize(
    ("meaning", "message"),
    [(meaning, message) for meaning, messages in MESSAGES.items() for message in messages],
)
def test_errors_of_a_device_are_classified(meaning: str, message: str) -> None:
    """Too little memory, a refused call and a broken device are told apart by their messages."""
    error = RuntimeError(message)
    assert is_out_of_memory(error) == (meaning == "memory")
    assert is_broken_device(error) == (meaning == "broken")


def test_only_runtime_errors_are_errors_of_a_device() -> None:
    """An error of another type is not one of the device, whatever text it quotes."""
    error = ValueError("CUDA error: out of memory")
    assert not is_out_of_memory(error) and not is_broken_device(error)
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("full"))


@pytest.mark.parametrize(
    ("value", "enabled"), [(None, False), ("", False), ("0", False), ("1", True)]
)
def test_cuda_graphs_are_off_by_default(
    value: str | None, enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the value 1 of the environment variable turns CUDA graphs on."""
    monkeypatch.delenv(CUDA_GRAPHS_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(CUDA_GRAPHS_VARIABLE, value)
    assert cuda_graphs_enabled() is enabled


def test_an_unknown_value_of_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other value is an error that names the variable, its value and what was expected."""
    monkeypatch.setenv(CUDA_GRAPHS_VARIABLE, "true")
    with pytest.raises(InputError, match=r"NST_TUNER_CUDA_GRAPHS is 'true'; expected 1 .* or 0"):
        cuda_graphs_enabled()


def test_memory_that_cannot_be_released_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If torch cannot release memory, as after a failed recording, one warning says so."""

    def half_ended_pool() -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED at CUDACaching\nmore")

    device._warn_once.cache_clear()
    monkeypatch.setattr(torch.cuda, "empty_cache", half_ended_pool)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            release_memory()
    (record,) = caplog.records
    assert "cannot release unused GPU memory" in record.message and "more" not in record.message


def test_the_module_loads_no_torch() -> None:
    """Importing the module loads neither torch nor Ray, so that commands which only check may."""
    code = "import sys, nst_core.lanes.device; print({'torch', 'ray'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True).strip() == "set()"
