"""WorkerProcess: stylizers that work, and every way in which one can fail."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.tuner.stylizers.helpers import (
    AWKWARD,
    CONTENT,
    answer_of,
    ask,
    command,
    failure_of,
    python,
    sleepers,
)
from tuner.stylizers.confinement import can_restrict_writing
from tuner.stylizers.guard import LOCK, PREFIX, remove_leftovers
from tuner.stylizers.process import WorkerProcess


def awkward(what: str, other: object = "") -> dict[str, Any]:
    return command("sh", AWKWARD, what, "{content}", "{out}", str(other))


def test_a_class_in_a_file_makes_pictures_and_names_their_cost() -> None:
    """A stylizer of a file gets pictures and parameters, and its picture and cost come back."""
    answer = answer_of(python("Tint"), {"strength": 0.0})
    assert answer.content["done"] == 1 and answer.content["cost"] == 0.0
    assert np.array_equal(answer.pictures[0], CONTENT)


def test_a_command_makes_pictures() -> None:
    """A command gets PNG files, and the file that it writes comes back."""
    assert np.array_equal(answer_of(awkward("good"), {}).pictures[0], CONTENT)


def test_a_picture_is_the_first_at_or_after_the_step_and_otherwise_the_last() -> None:
    """A trial goes on from its last picture, and its end repeats the last picture."""
    worker = WorkerProcess(python("Slow"), max_bytes=CONTENT.size)
    params = {"rate": 0.01}
    try:
        first = ask(worker, params, until=3)
        assert first.content["done"] == 4
        request = {"do": "advance", "trial": 1, "pair": 0, "params": params, "seed": 0}
        worker.request({**request, "fresh": False, "until": 100})
        while "step" in (answer := worker.answer(60)).content:
            pass
        assert answer.content["done"] == 20
    finally:
        worker.end()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("none", "it ended without a picture"),
        ("raises", r"ValueError: no such thing as this \(python_stylizers.py, line \d+\)"),
        ("exits", "its process ended with exit code 7"),
        ("quits", "SystemExit: 3"),
        ("floats", r"its picture is float64 of shape \[40, 60, 3\], expected uint8"),
        ("wide", r"shape \[40, 120, 3\], expected uint8 of shape \[40, 60, 3\]"),
        ("word", r"it yielded a str, expected \(step, picture\)"),
        ("back", "it yielded step 0, expected a whole number > 0"),
        ("cost", "it yielded the cost 'cheap', expected a finite number"),
    ],
)
def test_every_mistake_of_a_class_is_one_sentence(what: str, reason: str) -> None:
    """Whatever a stylizer in Python does wrong, the answer says it in one line."""
    found = failure_of(python("Awkward"), {"what": what})
    assert pytest.importorskip("re").search(reason, found), found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("prints", "exit code 3; it printed: much text"),
        ("forks", "left 2 processes running, which were killed"),
        ("nothing", "wrote no file {out}"),
        ("link", "wrote no file {out}: there is a link"),
        ("text", "{out}: "),
        ("crash", "it was killed by SIGKILL"),
        ("worker", "its process ended by SIGKILL"),
    ],
)
def test_every_mistake_of_a_command_is_one_sentence(what: str, reason: str) -> None:
    """Whatever a command does wrong, the answer says it in one line, and no process is left."""
    found = failure_of(awkward(what), {})
    assert reason in found and len(found) < 1000 and "\n" not in found
    assert sleepers() == 0


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A picture of 20,000 px is refused by its header."""
    huge = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000)).save(huge)
    found = failure_of(awkward("huge", huge), {})
    assert "{out}" in found or "20000x20000 px, expected 60x40 px" in found


@pytest.mark.skipif(not can_restrict_writing(), reason="this kernel has no Landlock")
def test_a_program_that_writes_outside_of_its_folder_fails(tmp_path: Path) -> None:
    """Nothing is written elsewhere, unless the job says that it may be."""
    other = tmp_path / "elsewhere.txt"
    assert "Permission denied" in failure_of(command("cp", "{content}", str(other)), {})
    found = failure_of(python("Awkward"), {"what": "outside", "file": str(other)})
    assert "PermissionError" in found and str(other) in found
    assert not other.exists()
    allowed = {**awkward("outside", other), "writable": [str(tmp_path)]}
    assert answer_of(allowed, {}).content["done"] == 1
    assert other.exists()


@pytest.mark.parametrize(
    ("stylizer", "reason"),
    [
        (python("Nothing"), "has no 'Nothing'"),
        (python("number"), "makes a int, expected an object with the method open"),
        ({"path": "/nowhere/x.py:A"}, "no such file /nowhere/x.py"),
        ({"python": "nowhere_at_all:A"}, "no module 'nowhere_at_all' is installed"),
        (command("no-such-program", "{content}", "{out}"), "no program 'no-such-program'"),
        ({**python("Tint"), "writable": ["/nowhere"]}, "no such folder /nowhere"),
    ],
)
def test_a_stylizer_that_cannot_be_loaded_says_why(stylizer: dict[str, Any], reason: str) -> None:
    """What is missing is named, before any trial."""
    assert reason in failure_of(stylizer, {})


def test_a_stylizer_sees_only_variables_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passwords in the environment stay there, unless the job names their variables."""
    monkeypatch.setenv("SECRET_ONE", "one")
    monkeypatch.setenv("SECRET_TWO", "two")
    shown = {**command("sh", "-c", "env; pwd; exit 1"), "env": ["SECRET_TWO"]}
    shown["command"] = ["sh", "-c", "echo $SECRET_ONE-$SECRET_TWO $PWD; exit 1"]
    found = failure_of(shown, {})
    assert "it printed: -two" in found and PREFIX in found


def test_no_shell_reads_a_value() -> None:
    """Text of a trial is one argument, whatever characters it has."""
    evil = "$(touch x); `id` && 'a' \"b\" *"
    stylizer = command("sh", "-c", 'echo "$1"; exit 1', "sh", "{word}")
    assert f"it printed: {evil}" in failure_of(stylizer, {"word": evil})


def test_nothing_is_left_when_the_engine_dies(tmp_path: Path) -> None:
    """If the engine's process is killed, its guard ends the worker's processes and their files."""
    code = """
import os, signal, sys, time
from tests.tuner.stylizers.helpers import *
worker = WorkerProcess(command("sh", AWKWARD, "hangs", "{content}", "{out}"), max_bytes=10**6)
worker.answer(60)
worker.request({"do": "open", "pair": 0, "size_px": 60, "device": "cpu"}, [CONTENT, CONTENT])
worker.answer(60)
worker.request({"do": "advance", "trial": 1, "pair": 0, "params": {}, "seed": 0, "fresh": True,
    "until": 1})
while not sleepers():
    time.sleep(0.1)
print(worker.folder, worker.guard, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder, guard = done.stdout.split()
    for _ in range(300):
        if not psutil.pid_exists(int(guard)) and not Path(folder).exists():
            break
        time.sleep(0.1)
    assert not Path(folder).exists() and sleepers() == 0


def test_folders_of_dead_guards_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power, the next worker removes what was left; living ones keep theirs."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead, new, old = (tmp_path / f"{PREFIX}{name}" for name in ("dead", "new", "old"))
    for folder in (dead, new, old):
        folder.mkdir()
    (dead / LOCK).touch()
    os.utime(old, (0, 0))
    worker = WorkerProcess(python("Tint"), max_bytes=CONTENT.size)
    try:
        worker.answer(60)
        remove_leftovers()
        assert {path.name for path in tmp_path.iterdir()} == {new.name, worker.folder.name}
    finally:
        worker.end()
