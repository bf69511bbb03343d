"""How a process ended: the last lines that it printed, and the name of a signal."""

from __future__ import annotations

import signal
import threading
from typing import BinaryIO

#: Bytes that are kept of the output of a process.
MAX_BYTES = 2**16
#: Lines and characters of a message about a failure.
MAX_LINES, MAX_CHARACTERS = 5, 600


class Tail:
    """Reads a pipe to its end in a thread, and keeps the last `MAX_BYTES`."""

    def __init__(self, pipe: BinaryIO):
        self._pipe, self._kept = pipe, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := self._pipe.read1(MAX_BYTES):  # type: ignore[attr-defined]
                self._kept = (self._kept + chunk)[-MAX_BYTES:]

    def lines(self, timeout_s: float = 1.0) -> str:
        """Return the last lines, joined by `` / ``; waits a moment for the end of the pipe."""
        self._thread.join(timeout_s)
        text = self._kept.decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        printable = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
        return " / ".join(printable[-MAX_LINES:])[-MAX_CHARACTERS:]


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
