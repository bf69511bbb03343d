"""Ctrl-C: once to end a launch well, twice to end it now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from nst_core.errors import Say


@dataclass
class Interrupt:
    """How a launch is to end before its run does.

    Attributes:
        winding_up: begin nothing more, and let every trial end with the rung under way.
        now: at the next `check`.
    """

    winding_up: bool = False
    now: bool = False

    def check(self) -> None:
        """For backends, often: raise KeyboardInterrupt where nothing is half done."""
        if self.now:
            raise KeyboardInterrupt


@contextmanager
def interruptible(interrupt: Interrupt, say: Say) -> Iterator[None]:
    """Let the first Ctrl-C end the launch after the rungs under way, the second one at once.

    Raises:
        KeyboardInterrupt: at the second, as soon as the backend asks.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears of signals
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if interrupt.winding_up:
            interrupt.now = True
            return
        interrupt.winding_up = True
        say("finishing the rungs under way, then stopping; press Ctrl-C once more to stop now")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
