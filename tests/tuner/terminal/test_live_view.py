"""The live view in a terminal that changes its size."""

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


def test_the_view_goes_up_by_the_rows_that_it_takes_now() -> None:
    """A view of lines that a narrower terminal breaks is erased whole, and not more than that."""
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


#: Draws for as long as the terminal lives.
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


def until(there: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Whether something becomes true in time."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if there():
            return True
        time.sleep(0.2)
    return there()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_resizing_leaves_no_lines_behind(tmp_path: Path) -> None:
    """Narrower and wider again, the terminal shows the view once."""
    server = ["tmux", "-S", str(tmp_path / "tmux")]

    def tmux(*words: str) -> str:
        done = subprocess.run([*server, *words], check=True, capture_output=True, text=True)
        return done.stdout

    (tmp_path / "draws.py").write_text(DRAWS)
    program = f"{sys.executable} {tmp_path / 'draws.py'}"
    command = f"cd {ROOT} && env -u COLUMNS -u LINES PYTHONPATH=. {program}"
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "20", command)

    def shown() -> str:
        return tmux("capture-pane", "-p", "-S", "-")  # with what has left the screen

    def once() -> bool:
        return [shown().count(word) for word in ("message", "first", "second")] == [6, 1, 1]

    try:
        assert until(once), shown()
        for width in ("40", "100", "30", "70"):
            tmux("resize-window", "-x", width, "-y", "20")
            time.sleep(1.0)  # several pictures, each of which may leave something behind
            assert until(once), f"{width} columns:\n{shown()}"
    finally:
        tmux("kill-server")
