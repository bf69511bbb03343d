"""The check of a user's GPU: its limits, its verdict, its files. A CPU stands in for the card."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks.support import gpu_check
from benchmarks.support.gpu_check import LIMITS_S, Part, doctor, summary, write

DONE = Part(name="doctor", passed=True, seconds=3.0, found="all fine")
GOAL = {"name": "a goal", "value": 1.0, "goal": 2.0, "bound": "≥", "met": False}


def test_it_takes_at_most_ten_minutes() -> None:
    """The limits of all parts together leave time for starting them."""
    assert sum(LIMITS_S.values()) < 600


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_fails_at_once() -> None:
    """Without a usable GPU, the first part fails and says why; on request a CPU will do."""
    part = doctor("cuda")
    assert not part.passed
    assert any(line.startswith("gpu: ") and "CPU" in line for line in part.details)
    assert doctor("cpu").passed


def test_a_part_that_hangs_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not end in time is killed, with the processes that it started."""
    script = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    output = gpu_check._output([sys.executable, "-c", script], 5.0)
    assert output.code is None and output.seconds < 60
    child = int(output.text)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
    monkeypatch.setitem(LIMITS_S, "tests", 7)
    part = gpu_check._unfinished("tests", output)
    assert not part.passed and part.found == "did not end within 7 s"


def test_a_command_without_a_result_is_a_failure() -> None:
    """A part whose program ends with an error shows the exit code and the last lines."""
    output = gpu_check._output([sys.executable, "-c", "print('so far'); raise SystemExit(3)"], 60)
    part = gpu_check._unfinished("benchmark", output)
    assert "exit code 3" in part.found and part.details == ["so far"]


def test_goals_that_are_not_met_fail_nothing() -> None:
    """The verdict depends on what works; goals are listed beside it."""
    measured = Part(
        name="benchmark", passed=True, seconds=9.0, found="-", results={"goals": [GOAL]}
    )
    text = summary("NVIDIA Card", [DONE, measured])
    assert (
        text.startswith("NVIDIA Card: everything works") and "| a goal | 1 | 2 | ≥ | no |" in text
    )
    broken = Part(name="tests", passed=False, seconds=9.0, found="1 failed")
    assert "something does not work" in summary("NVIDIA Card", [DONE, broken])


def test_results_are_named_after_the_card(tmp_path: Path) -> None:
    """Both files have the name of the card; the JSON file has parts, rows and goals."""
    measured = Part(
        name="benchmark",
        passed=True,
        seconds=9.0,
        found="-",
        results={
            "goals": [GOAL],
            "rows": [{"a": 1}],
            "machine": {},
            "text": "# Engine\n\n## Steps",
        },
    )
    files = write("NVIDIA H100 80GB HBM3", [DONE, measured], tmp_path / "new")
    assert [file.name for file in files] == [
        "nvidia-h100-80gb-hbm3.md",
        "nvidia-h100-80gb-hbm3.json",
    ]
    text = files[0].read_text(encoding="utf-8")
    assert text.startswith("# NVIDIA H100 80GB HBM3\n") and "\n### Steps" in text
    content = json.loads(files[1].read_text(encoding="utf-8"))
    assert content["goals"] == [GOAL] and content["rows"] == [{"a": 1}]
    assert [part["result"] for part in content["parts"]] == ["pass", "pass"]
