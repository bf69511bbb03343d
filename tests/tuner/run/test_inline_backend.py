"""InlineBackend: the device on which it runs a job."""

from pathlib import Path

import pytest
import torch

from nst_core.errors import InputError
from nst_core.stylization import default_device
from tests.tuner.helpers import launch_run
from tuner.job.load import load_job
from tuner.run.inline_backend import InlineBackend, device_of


def device_for(job_file: Path, name: str) -> torch.device:
    """Return the device of the job in a file with another `resources.device`."""
    return device_of(load_job(job_file, [f"resources.device={name}"])[0])


def test_the_device_is_that_of_the_job(job_file: Path) -> None:
    """``cpu`` is the CPU, and ``auto`` the device that every command uses by default."""
    assert device_for(job_file, "cpu") == torch.device("cpu")
    assert device_for(job_file, "auto") == default_device()


def test_a_gpu_is_used_where_there_is_one(job_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with a GPU, ``auto`` and ``cuda`` mean the GPU, and ``cpu`` does not."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    found = [device_for(job_file, name).type for name in ("auto", "cuda", "cpu")]
    assert found == ["cuda", "cuda", "cpu"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_cuda_is_one_clear_error(job_file: Path, tmp_path: Path) -> None:
    """A run that asks for a GPU on a machine without one ends with the key and what to do."""
    with pytest.raises(InputError, match=r"resources\.device: cuda .* set it to\s+auto or cpu"):
        launch_run(job_file, tmp_path / "a", InlineBackend(), "resources.device=cuda")
