"""References of ``from: long-run`` come from a process of their own, and so do its errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from nst_core.errors import InputError, WorkError
from nst_core.networks.weights import Weights
from tuner.engine import reference_process
from tuner.engine.reference_process import long_run_reference

#: Time within which a process must have started or ended, in seconds.
PATIENCE_S = 60


@pytest.fixture
def make(
    pictures: Path, tmp_path: Path, weights: Mapping[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Function that makes a reference of two steps; arguments change the pair."""
    assert weights  # in the cache before a process needs them
    monkeypatch.setattr(reference_process, "STEPS", 2)

    def made(**changes: Any) -> Path:
        pair = {
            "content": str(pictures / "content.png"),
            "style": [{"image": str(pictures / "style.png")}],
            "reference": "-",
            **changes,
        }
        file = tmp_path / "reference.png"
        long_run_reference(pair, file, size_px=64, weights={}, device="cpu", say=lambda line: None)
        return file

    return made


def children() -> list[psutil.Process]:
    """Return the processes that make references for this one."""
    mine = psutil.Process().children()
    return [child for child in mine if "tuner.engine.reference_process" in child.cmdline()]


def wait_for_child() -> psutil.Process:
    """Return the process that makes a reference, as soon as it has started."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := children():
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no process within {PATIENCE_S} s")


def test_another_process_computes(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is made although this process cannot stylize, and the new process has ended."""

    def no_steps(*arguments: object, **options: object) -> None:
        raise AssertionError("the launch itself used the device")

    monkeypatch.setattr("nst_core.stylization.stylize", no_steps)
    with Image.open(make()) as image:
        assert image.size == (64, 43)
    assert children() == []


def test_wrong_input_of_the_process_is_wrong_input_here(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    """An InputError of the other process arrives with the same message and exit code."""
    with pytest.raises(InputError, match=r"missing\.png: no such image file"):
        make(content=str(tmp_path / "missing.png"))


def test_a_killed_process_is_one_clear_error(make: Callable[..., Path]) -> None:
    """If the system kills the process, the error names the signal and what to do."""
    killer = threading.Thread(target=lambda: wait_for_child().kill())
    killer.start()
    with pytest.raises(WorkError, match="ended with SIGKILL; if memory was short, lower size_px"):
        make()
    killer.join()


def test_ctrl_c_ends_the_process(make: Callable[..., Path]) -> None:
    """Ctrl-C in a launch ends the process, too; the process itself ignores Ctrl-C."""
    ignored = []

    def press() -> None:
        child = wait_for_child()
        child.send_signal(signal.SIGINT)
        time.sleep(0.2)
        ignored.append(child.is_running() and child.status() != psutil.STATUS_ZOMBIE)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        make()
    presser.join()
    assert ignored == [True] and children() == []


def test_a_process_without_its_launch_ends(
    pictures: Path, tmp_path: Path, weights: Mapping[str, Weights]
) -> None:
    """When the launch was killed, the process ends at its next step and writes nothing."""
    assert weights
    pair = {
        "content": str(pictures / "content.png"),
        "style": [{"image": str(pictures / "style.png")}],
        "reference": "-",
    }
    file = tmp_path / "reference.png"
    request = {"pair": pair, "file": str(file), "size_px": 64, "weights": {}, "steps": 10**4}
    with pytest.raises(WorkError, match="the launch has ended"):
        reference_process._make({**request, "parent": -1}, lambda line: None)
    assert not file.exists()


def test_an_unexpected_error_is_one_line() -> None:
    """An error that is no `NstError` arrives as one line with exit code 1, without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "tuner.engine.reference_process"],
        input='{"pair": {"content": 1}}',
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"exit_code": 1' in done.stdout and "the long run of a reference failed" in done.stdout
    assert len(done.stdout.splitlines()) == 1 and "Traceback" not in done.stderr
