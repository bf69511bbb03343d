"""Trainings that are killed at random moments, as processes: `scripts/test --faults`."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nst_core.distill.onnx_file import OnnxNetwork

pytestmark = pytest.mark.faults

STEPS, KILLS = 60, 3
#: The command, with a checkpoint after every half second instead of every minute.
COMMAND = (
    "import tuner.distill.train as train; train.SAVE_EVERY_S = 0.5;"
    "from tuner.cli.main import main; main()"
)


def start(pictures: Path, out: Path) -> subprocess.Popen[str]:
    """Start a training."""
    options = ["--style", str(pictures / "style.png")]
    options += ["--set", "content_layers={relu2_2: 1}", "--set", "style_layers={relu1_1: 1}"]
    options += ["--set", "steps=2", "--size-px", "32", "--network", "mobile", "--batch", "1"]
    options += ["--steps", str(STEPS), "--photos", "samples", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "distill", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(pictures: Path, out: Path) -> OnnxNetwork:
    """Train to the end, and return the network."""
    process = start(pictures, out)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    assert ("continues after" in stderr) == (out.stem == "killed"), stderr
    return OnnxNetwork.load(out)


def test_a_training_that_is_killed_three_times(pictures: Path, tmp_path: Path) -> None:
    """After SIGKILL at random moments, the same command ends with the same network."""
    whole = finish(pictures, tmp_path / "whole.onnx")
    out = tmp_path / "killed.onnx"
    checkpoint = tmp_path / "killed.onnx.training" / "checkpoint.safetensors"
    for _ in range(KILLS):
        process, before = start(pictures, out), checkpoint.exists() and checkpoint.stat().st_mtime
        while not checkpoint.exists() or checkpoint.stat().st_mtime == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.5))
        process.kill()
        process.wait()
        assert not out.exists()
    resumed = finish(pictures, out)
    image = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))
    expected = whole(image, styles=whole.shares({"style": 1.0}))
    assert torch.allclose(
        resumed(image, styles=resumed.shares({"style": 1.0})), expected, atol=1e-4
    )
    assert not torch.allclose(expected, image, atol=1e-2)
