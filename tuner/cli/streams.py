"""Standard output and standard error that take any text, on any terminal, or none.

A command must not end in a traceback because of where its words go: a terminal that is not UTF-8, a
file name that is not, a pipe whose reader left, a full disk, a stream that is closed.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from typing import TextIO

from nst_core.errors import WorkError

#: Name of the error handler by which `readable` is told to Python's encoders.
READABLE = "nst-tuner-readable"

#: What we print beside letters, where an encoding does not have it.
_PLAIN = {"–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x", "→": "->", "≤": "<=", "≥": ">="}
_PLAIN |= {"‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "·": "-", "█": "#", "━": "-", "╸": "-"}


class OutputError(WorkError):
    """Standard output takes no more."""


class OutputLeftError(OutputError):
    """The reader of standard output left, as `head` does, which is no failure."""

    exit_code = 0


def readable(error: UnicodeError) -> tuple[str, int]:
    """For `codecs.register_error`: something like what cannot be encoded.

    Bytes of a file name that are no UTF-8 are shown by their number, as ``ls`` shows them.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = []
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":
            shown.append(f"\\x{ord(character) - 0xDC00:02x}")
            continue
        plain = _PLAIN.get(character) or unicodedata.normalize("NFKD", character)
        kept = "".join(c for c in plain if c.isascii())
        shown.append(kept or "?")
    return "".join(shown), error.end


codecs.register_error(READABLE, readable)


class _Results(io.FileIO):
    """Standard output: what it does not take is an error with words of its own."""

    def write(self, content: object) -> int:
        """See `io.RawIOBase`."""
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise OutputLeftError("standard output was closed by its reader") from None
        except OSError as error:
            raise OutputError(
                f"standard output cannot be written ({error.strerror}); expected a terminal, a pipe"
                " or a file on a disk with space left"
            ) from None


class _Messages(io.FileIO):
    """Standard error: work goes on where nobody can be told of it."""

    def write(self, content: object) -> int:
        """See `io.RawIOBase`."""
        try:
            return super().write(content)  # type: ignore[arg-type]
        except OSError:
            return len(content)  # type: ignore[arg-type]


def open_streams() -> None:
    """Make this process's standard streams take any text; a closed one leads nowhere.

    Streams that are not those of the system, as in a test or a notebook, stay as they are.
    """
    _fill_closed()
    sys.stdout = _opened(sys.stdout, 1, _Results)
    sys.stderr = _opened(sys.stderr, 2, _Messages)


def _fill_closed() -> None:
    """Take the numbers of closed streams, which the next file that is opened would get."""
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)


def _opened(stream: TextIO | None, number: int, kind: type[io.FileIO]) -> TextIO:
    if stream is None:
        encoding, errors, is_terminal = "utf-8", READABLE, False
    else:
        try:
            if stream.fileno() != number:
                return stream
        except (OSError, ValueError, AttributeError):  # none of the system's
            return stream
        encoding, is_terminal = stream.encoding, stream.isatty()
        # A user's own choice, such as PYTHONIOENCODING=utf-8:ignore, stays; `strict` is none.
        errors = stream.errors or "strict"
        errors = READABLE if errors in ("strict", "surrogateescape", "backslashreplace") else errors
        stream.flush()
    raw = kind(number, "w", closefd=False)
    buffered = io.BufferedWriter(raw)
    by_line = number == 2 or is_terminal
    return io.TextIOWrapper(buffered, encoding, errors, line_buffering=by_line)


def close_output() -> None:
    """Write what is left, before Python does so itself and prints a traceback if it cannot.

    Raises:
        OutputError: standard output takes no more.
    """
    sys.stdout.flush()


def forget_output() -> None:
    """Let what nobody reads lead nowhere, also when Python writes the rest of it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
