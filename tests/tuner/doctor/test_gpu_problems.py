"""Errors of CUDA in plain words. The messages are those of torch 2.11 to 2.15."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.doctor import gpu_problems
from tuner.doctor.gpu_problems import explain

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version {}). Please update your GPU driver"
    " by downloading and installing a new version from the URL:"
    " http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org to"
    " install a PyTorch version that has been compiled with your version of the CUDA driver."
)


@pytest.mark.parametrize(
    ("found", "cuda", "words"),
    [
        (12040, "13.0", ("CUDA 12.4", "built for CUDA 13.0", "driver 580.65 or newer")),
        (11080, "12.8", ("CUDA 11.8", "built for CUDA 12.8", "driver 525.60 or newer")),
        (13000, "14.1", ("CUDA 13.0", "built for CUDA 14.1", "a newer driver")),
    ],
)
def test_a_driver_that_is_too_old(
    found: int,
    cuda: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line names the driver, the CUDA it supports, the CUDA of torch and the driver needed."""
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n")
    monkeypatch.setattr(gpu_problems, "DRIVER_FILE", file)
    line = explain(TOO_OLD.format(found), cuda)
    assert line.startswith("the NVIDIA driver 535.104.05 is too old: it supports ")
    assert all(part in line for part in words) and "\n" not in line


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            "CUDA error: no kernel image is available for execution on the device\n"
            "CUDA kernel errors might be asynchronously reported at some other API call",
            "install a torch build that supports it",
        ),
        (
            "CUDA driver initialization failed, you might not have a CUDA gpu.",
            "restart the machine",
        ),
        (
            "Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was"
            " attempted on non supported HW",
            "restart the machine",
        ),
        ("CUDA error: out of memory", "another program uses the GPU's memory"),
        ("CUDA error: uncorrectable ECC error encountered", "memory is faulty"),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "compute mode"),
        ("CUDA error: something new", "`nvidia-smi` shows the state"),
        ("", "an error without a message"),
    ],
)
def test_other_errors_keep_their_first_line_and_get_a_remedy(message: str, remedy: str) -> None:
    """One line: the first line of torch's message, and what to do."""
    line = explain(message, "13.0")
    assert remedy in line and "\n" not in line
    assert line.startswith(message.split("\n", maxsplit=1)[0])
