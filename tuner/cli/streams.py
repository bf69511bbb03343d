"""Standard output and standard error that accept any text, whatever they are connected to.

A command must not end in a traceback because of its output: a terminal or a file name that is not
UTF-8, a pipe whose reader has ended, a full disk, a closed stream.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from typing import TextIO

from nst_core.errors import WorkError

#: Name under which `readable` is registered as an error handler for encoding.
READABLE = "nst-tuner-readable"

#: Replacements for the characters that our messages use, for encodings that lack them.
_PLAIN = {"–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x", "→": "->", "≤": "<=", "≥": ">="}
_PLAIN |= {"‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "·": "-", "█": "#", "━": "-", "╸": "-"}


class OutputError(WorkError):
    """Standard output cannot be written."""


class OutputLeftError(OutputError):
    """The reader of standard output has ended, as `head` does; this is not a failure."""

    exit_code = 0


def readable(error: UnicodeError) -> tuple[str, int]:
    """Return a readable replacement for characters that cannot be encoded, and where they end.

    Accents are removed, typographic characters become ASCII, other characters become ``?``. Bytes
    of a file name that is not UTF-8 become their hexadecimal number, as ``ls`` shows them.

    Args:
        error: as `codecs.register_error` defines it.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    replacements = []
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":
            replacements.append(f"\\x{ord(character) - 0xDC00:02x}")
            continue
        plain = _PLAIN.get(character) or unicodedata.normalize("NFKD", character)
        replacements.append("".join(c for c in plain if c.isascii()) or "?")
    return "".join(replacements), error.end


codecs.register_error(READABLE, readable)


class _Output(io.FileIO):
    """Standard output: if it cannot be written, the command fails with a clear message."""

    def write(self, content: object) -> int:
        """See `io.RawIOBase`."""
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise OutputLeftError("standard output was closed by its reader") from None
        except OSError as error:
            raise OutputError(
                f"standard output cannot be written ({error.strerror}); expected a terminal, a pipe"
                " or a file on a disk with free space"
            ) from None


class _Messages(io.FileIO):
    """Standard error: if it cannot be written, the command continues without messages."""

    def write(self, content: object) -> int:
        """See `io.RawIOBase`."""
        try:
            return super().write(content)  # type: ignore[arg-type]
        except OSError:
            return len(content)  # type: ignore[arg-type]


def open_streams() -> None:
    """Let this process's standard streams accept any text; connect closed ones to /dev/null.

    Streams that something has replaced, such as a test or a notebook, stay as they are.
    """
    _fill_closed()
    sys.stdout = _opened(sys.stdout, 1, _Output)
    sys.stderr = _opened(sys.stderr, 2, _Messages)


def _fill_closed() -> None:
    """Open /dev/null for closed streams, because the next opened file would get their number."""
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)


def _opened(stream: TextIO | None, number: int, kind: type[io.FileIO]) -> TextIO:
    """Return a stream on a file descriptor that accepts any text.

    Args:
        stream: the present one; None if it was closed when Python started.
        number: the file descriptor, 1 or 2.
        kind: what writes the bytes.
    """
    if stream is None:
        encoding, errors, is_terminal = "utf-8", READABLE, False
    else:
        try:
            if stream.fileno() != number:
                return stream
        except (OSError, ValueError, AttributeError):  # a replaced stream without a descriptor
            return stream
        encoding, is_terminal = stream.encoding, stream.isatty()
        # The user's own choice, such as PYTHONIOENCODING=utf-8:ignore, is kept; the error handlers
        # below are those that Python chooses.
        errors = stream.errors or "strict"
        errors = READABLE if errors in ("strict", "surrogateescape", "backslashreplace") else errors
        stream.flush()
    raw = kind(number, "w", closefd=False)
    by_line = number == 2 or is_terminal
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=by_line)


def close_output() -> None:
    """Write what is buffered now; at exit Python would print a traceback if that fails.

    Raises:
        OutputError: standard output cannot be written.
    """
    sys.stdout.flush()


def forget_output() -> None:
    """Connect standard output to /dev/null, so that writing the buffer at exit cannot fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
