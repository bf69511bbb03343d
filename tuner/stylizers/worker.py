"""Worker: the process that holds a stylizer, and advances one trial at a time.

It answers each request of its engine with one message, except that it also tells the step of each
further picture. An exception of the stylizer is a message, too; the engine then ends this process.
"""

from __future__ import annotations

import math
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuner.stylizers.confinement import adopt_orphans, restrict_writing
from tuner.stylizers.loading import load_stylizer
from tuner.stylizers.messages import Message, receive, send
from tuner.stylizers.protocol import Picture, Session, StylizerError

#: Most bytes of a pair's pictures.
MAX_BYTES = 2**34
#: Characters of an exception's message.
MAX_CHARACTERS = 300


class Run:
    """One trial on one pair: its iterator and its last picture."""

    def __init__(self, iterator: Iterator[Any], shape: tuple[int, ...]):
        self._iterator, self._shape = iterator, shape
        self.step = 0
        self.cost: float | None = None
        self.picture: Picture | None = None
        self.ended = False

    def next(self) -> None:
        """Take the next picture, or note that there is none.

        Raises:
            StylizerError: the stylizer yielded something else, or ended without any picture.
        """
        item = next(self._iterator, None)
        if item is None:
            self.ended = True
            if self.picture is None:
                raise StylizerError("it ended without a picture")
            return
        if not isinstance(item, tuple) or len(item) not in (2, 3):
            raise StylizerError(
                f"it yielded a {type(item).__name__}, expected (step, picture) or (step, picture,"
                " cost)"
            )
        step, picture = item[0], np.asarray(item[1])
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or step <= self.step:
            raise StylizerError(f"it yielded step {step!r}, expected a whole number > {self.step}")
        if picture.dtype != np.uint8 or picture.shape != self._shape:
            raise StylizerError(
                f"its picture is {picture.dtype} of shape {list(picture.shape)}, expected uint8 of"
                f" shape {list(self._shape)}, as the content"
            )
        if len(item) == 3:
            self.cost = _checked_cost(item[2])
        self.step, self.picture = int(step), picture.copy()


def _checked_cost(cost: Any) -> float:
    number = isinstance(cost, int | float) and not isinstance(cost, bool)
    if not number or not math.isfinite(cost):
        raise StylizerError(f"it yielded the cost {cost!r}, expected a finite number")
    return float(cost)


class Worker:
    """A stylizer, its sessions and its trials.

    Args:
        connection: socket to the engine.
        folder: temporary folder of this process.
    """

    def __init__(self, connection: socket.socket, folder: Path):
        self._connection, self._folder = connection, folder
        self._sessions: dict[int, tuple[Session, tuple[int, ...]]] = {}
        self._runs: dict[tuple[int, int], Run] = {}
        self._stylizer: Any = None

    def serve(self) -> None:
        """Answer requests until the engine closes the connection or a request fails."""
        source: Any = self._connection.makefile("rb")
        while request := receive(source, MAX_BYTES):
            try:
                answer = self._answer(request)
            except StylizerError as error:
                answer = Message({"failure": str(error)}, ())
            except BaseException as error:  # SystemExit of the stylizer as well
                answer = Message({"failure": _describe(error)}, ())
            send(self._connection, *answer)
            if "failure" in answer.content:
                return

    def _answer(self, request: Message) -> Message:
        content = request.content
        if content["do"] == "load":
            for named in content["stylizer"].get("writable", ()):
                if not Path(named).is_dir():
                    raise StylizerError(f"`writable`: no such folder {named}; make it")
            restrict_writing(content["writable"])
            self._stylizer = load_stylizer(content["stylizer"], self._folder)
            return Message({"ready": True}, ())
        if content["do"] == "open":
            picture, *styles = request.pictures
            session = self._stylizer.open(picture, styles, content["size_px"], content["device"])
            self._sessions[content["pair"]] = session, picture.shape
            return Message({"ready": True}, ())
        return self._advance(content)

    def _advance(self, content: Mapping[str, Any]) -> Message:
        """Bring a trial on one pair to the first picture at or after a step, or to its end."""
        key = (content["trial"], content["pair"])
        if content["fresh"]:  # only one trial at a time keeps its state
            self._runs = {k: run for k, run in self._runs.items() if k[0] == key[0] and k != key}
            session, shape = self._sessions[key[1]]
            self._runs[key] = Run(iter(session.start(content["params"], content["seed"])), shape)
        run = self._runs[key]
        while run.step < content["until"] and not run.ended:
            run.next()
            if run.step < content["until"] and not run.ended:
                send(self._connection, {"step": run.step})
        assert run.picture is not None
        return Message({"done": run.step, "cost": run.cost}, [run.picture])


def _describe(error: BaseException) -> str:
    """Return an exception as one line, with the place in the stylizer where it was raised."""
    text = " ".join(str(error).split())[:MAX_CHARACTERS]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).parent != Path(__file__).parent
    ]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def main() -> None:
    """Serve the engine at the other end of the socket whose number is the first argument."""
    adopt_orphans()
    connection = socket.socket(fileno=int(sys.argv[1]))
    Worker(connection, Path.cwd()).serve()


if __name__ == "__main__":
    main()
