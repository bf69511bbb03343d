"""The live view in a terminal that is resized."""

import io
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tuner.terminal.live_view import LiveView

ROOT = Path(__file__).parents[3]


def test_wrapped_lines_are_erased_too() -> None:
    """If a narrower terminal wraps lines of the view, all its rows are erased, and no others."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, color_system=None)
    view = LiveView(console, lambda: f"{'x' * 60}\nshort")
    view.start()
    view.refresh()
    console.width = 25  # 60 cells are three rows now
    written.truncate(0)
    view.refresh()
    assert written.getvalue().count("\x1b[1A") == 3
    console.width = 80
    written.truncate(0)
    view.refresh()
    view.stop()
    assert written.getvalue().count("\x1b[1A") >= 1


#: A program that draws a view until its terminal is closed.
DRAWS = """
import time
from rich.console import Console
from tuner.terminal.live_view import LiveView
console = Console()
view = LiveView(console, lambda: "first " + "=" * 60 + "\\nsecond")
for number in range(6):
    print("message", number)
view.start(refresh=True)
time.sleep(120)
"""


def becomes_true(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Return whether a condition becomes true in time."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_resizing_leaves_no_lines_behind(tmp_path: Path) -> None:
    """After a terminal was made narrower and wider, it shows the view exactly once."""
    server = ["tmux", "-S", str(tmp_path / "tmux")]

    def tmux(*words: str) -> str:
        done = subprocess.run([*server, *words], check=True, capture_output=True, text=True)
        return done.stdout

    (tmp_path / "draws.py").write_text(DRAWS)
    program = f"{sys.executable} {tmp_path / 'draws.py'}"
    command = f"cd {ROOT} && env -u COLUMNS -u LINES PYTHONPATH=. {program}"
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "20", command)

    def screen() -> str:
        return tmux("capture-pane", "-p", "-S", "-")  # including the scrollback

    def shows_view_once() -> bool:
        return [screen().count(word) for word in ("message", "first", "second")] == [6, 1, 1]

    try:
        assert becomes_true(shows_view_once), screen()
        for width in ("40", "100", "30", "70"):
            tmux("resize-window", "-x", width, "-y", "20")
            time.sleep(1.0)  # several redraws, each of which could leave lines behind
            assert becomes_true(shows_view_once), f"{width} columns:\n{screen()}"
    finally:
        tmux("kill-server")
