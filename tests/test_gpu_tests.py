"""The tests for GPUs run without one, as far as they can, and are skipped with a reason there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.gpu.pack import pack, unpack

ROOT = Path(__file__).parents[1]

#: Tests that only a CUDA device can pass; all others also run on a CPU.
NEED_CUDA = 12


def run_gpu_tests(device: str) -> dict[str, int]:
    """Run tests/gpu in a new process; return the number of tests by result."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu"),
            *("-p", "no:cacheprovider", "--confcutdir=tests/gpu", "tests/gpu"),
        ],
        env={**os.environ, "NST_TEST_DEVICE": device, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-1]
    return {name: int(count) for count, name in re.findall(r"(\d+) (passed|skipped|failed)", last)}


def test_the_tests_for_gpus_pass_on_a_cpu() -> None:
    """Each test that does not need CUDA itself passes on a CPU, so its code is known to run."""
    counts = run_gpu_tests("cpu")
    assert counts["skipped"] == NEED_CUDA and counts["passed"] > 25


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_they_are_all_skipped() -> None:
    """On a machine without a GPU all of them are skipped."""
    counts = run_gpu_tests("cuda")
    assert set(counts) == {"skipped"}


def test_packed_weights_are_unchanged() -> None:
    """A file of float32 tensors is the same after packing and unpacking."""
    content = safetensors.torch.save({"a": torch.randn(7, 5), "b": torch.randn(3)})
    assert unpack(pack(content)) == content
