"""WorkerProcess: a worker as its engine sees it, with its guard."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from tuner.stylizers.confinement import environment, writable_folders
from tuner.stylizers.guard import PREFIX, remove_leftovers
from tuner.stylizers.messages import Message, MessageError, receive, send
from tuner.stylizers.tail import Tail, signal_name

#: Seconds for a guard to end everything that its worker has started.
END_TIMEOUT_S = 30.0
#: Seconds for a worker to exit after it has closed its connection.
EXIT_TIMEOUT_S = 2.0


class WorkerProcess:
    """A running worker.

    Args:
        stylizer: `StylizerSpec.to_plain`; the worker begins to load it at once.
        max_bytes: most bytes of a picture that the worker may send.
        threads: threads of numerical libraries; None for their defaults.

    Attributes:
        folder: its temporary folder, which its guard removes.
    """

    def __init__(self, stylizer: Mapping[str, Any], *, max_bytes: int, threads: int | None = None):
        remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        ours, theirs = socket.socketpair()
        status, of_guard = os.pipe()
        with theirs, os.fdopen(of_guard, "wb"):
            numbers = [theirs.fileno(), of_guard]
            words = ["-P", "-m", "tuner.stylizers.guard", str(self.folder), *map(str, numbers)]
            guard = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=numbers,
                env=environment(self.folder, threads=threads, more=stylizer.get("env", ())),
                start_new_session=True,
            )
        #: The guard lives as long as this is open; it closes if this process ends in any way.
        self._lifeline = cast("BinaryIO", guard.stdin)
        self._status = os.fdopen(status, "rb", buffering=0)
        self._guard_says = b""
        self._tail = Tail(cast("BinaryIO", guard.stdout))
        guard.wait()  # the guard itself is a child of this one
        self._connection, self._max_bytes = ours, max_bytes
        self._answers: queue.SimpleQueue[Message | str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        writable = writable_folders(self.folder, stylizer.get("writable", ()))
        self.request({"do": "load", "stylizer": dict(stylizer), "writable": writable})

    @property
    def guard(self) -> int:
        """Process id of the guard."""
        while b"\n" not in self._guard_says and (said := self._status.read(100)):
            self._guard_says += said
        return int(self._guard_says.split()[0])

    def request(self, content: Mapping[str, Any], pictures: Sequence[np.ndarray] = ()) -> None:
        """Send a request; `answer` returns what the worker says to it."""
        with contextlib.suppress(OSError):  # `answer` says that the worker is gone
            send(self._connection, content, pictures)

    def answer(self, timeout_s: float) -> Message | None:
        """Return the next message of the worker; None if there is none within the time.

        A worker that has ended, or sends no messages, says so in the key ``failure``.
        """
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(answer, Message):
            return answer
        return Message({"failure": answer or self._why_ended()}, ())

    def end(self) -> None:
        """End the worker and everything that it has started, and remove its folder."""
        with contextlib.suppress(OSError):
            self._lifeline.close()
        self._wait_for_guard(END_TIMEOUT_S)
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _wait_for_guard(self, timeout_s: float) -> int | None:
        """Wait until the guard has ended; return the worker's exit code if the guard told it."""
        ends_at = time.monotonic() + timeout_s
        while not self._status.closed and (left_s := ends_at - time.monotonic()) > 0:
            if select.select([self._status], [], [], left_s)[0]:
                said = self._status.read(100)
                self._guard_says += said
                if not said:
                    self._status.close()
        lines = self._guard_says.split()
        return int(lines[1]) if len(lines) > 1 else None

    def _read(self) -> None:
        source: Any = self._connection.makefile("rb")
        with contextlib.suppress(OSError, ValueError):  # the connection was closed here
            while True:
                try:
                    message = receive(source, self._max_bytes)
                except MessageError as error:
                    self._answers.put(f"its process sent {error}")
                    return
                self._answers.put(message)
                if message is None:
                    return

    def _why_ended(self) -> str:
        self._wait_for_guard(EXIT_TIMEOUT_S)  # `end` would kill a worker that is about to exit
        self.end()
        code = self._wait_for_guard(0)
        how = f"with exit code {code}"
        if code is None:
            how = "together with its guard"
        elif code < 0:
            how = f"by {signal_name(-code)}"
        printed = self._tail.lines()
        return f"its process ended {how}" + (f"; it printed: {printed}" if printed else "")
