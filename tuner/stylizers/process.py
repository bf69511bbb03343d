"""WorkerProcess: a worker as its engine sees it, with its guard."""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading
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
#: Exit codes above this one mean that a signal ended the worker.
_SIGNALS = 128


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
        with theirs:
            number = theirs.fileno()
            self._guard = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "tuner.stylizers.guard",
                    str(self.folder),
                    str(number),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[number],
                env=environment(self.folder, threads=threads, more=stylizer.get("env", ())),
                start_new_session=True,
            )
        self._tail = Tail(cast("BinaryIO", self._guard.stdout))
        self._connection, self._max_bytes = ours, max_bytes
        self._answers: queue.SimpleQueue[Message | str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        writable = writable_folders(self.folder, stylizer.get("writable", ()))
        self.request({"do": "load", "stylizer": dict(stylizer), "writable": writable})

    @property
    def pid(self) -> int:
        """Process id of the guard."""
        return self._guard.pid

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
            cast("BinaryIO", self._guard.stdin).close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(END_TIMEOUT_S)
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

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
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(EXIT_TIMEOUT_S)  # `end` would kill a worker that is about to exit
        self.end()
        code = self._guard.returncode
        how = f"with exit code {code}"
        if code is not None and code > _SIGNALS:
            how = f"by {signal_name(code - _SIGNALS)}"
        printed = self._tail.lines()
        return f"its process ended {how}" + (f"; it printed: {printed}" if printed else "")
