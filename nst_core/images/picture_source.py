"""Content of picture files, read from a file or from a pipe such as ``<(command)``."""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path

from nst_core.errors import ImageError
from nst_core.files import foreign_path

#: Seconds to wait for the first byte of a pipe; a pipe without a writer never sends one.
PIPE_WAIT_S = 60.0


def read_picture(path: Path, most: int) -> bytes:
    """Return the content of a picture file; a pipe is read to its end.

    Raises:
        ImageError: the file does not exist, cannot be read, or has more than ``most`` bytes.
    """
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            raise ImageError(_not_a_file(path, status.st_mode))
        if status.st_size > most:
            raise ImageError(f"{path}: {status.st_size:,} bytes, expected at most {most:,}")
        with open(path, "rb", opener=_open_at_once) as file:
            if stat.S_ISFIFO(status.st_mode):
                _await(path, file.fileno())
            content = file.read(most + 1)
    except ValueError:
        raise ImageError(
            f"{str(path)!r}: contains a NUL character, which no file name may; name an image file"
        ) from None
    except OSError as error:
        raise ImageError(f"{_shortened(path)}: {_reason(path, error)}") from None
    if len(content) > most:
        raise ImageError(f"{path}: more than {most:,} bytes, expected at most that many")
    return content


def is_pipe(path: Path) -> bool:
    """Return whether a path is a pipe, whose content can be read only once."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False  # `read_picture` raises the error


def check_is_file(path: Path) -> None:
    """Raise ImageError if a path is a pipe."""
    if is_pipe(path):
        raise ImageError(
            f"{path}: is a pipe, which can be read only once, but this picture is needed several"
            " times; save it as a file first"
        )


def _open_at_once(name: str, flags: int) -> int:
    """Open a file or pipe without waiting for a process that writes to the pipe."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _await(path: Path, number: int) -> None:
    """Wait for the first byte or the end of a pipe; after that, reading blocks as usual."""
    readable, _, _ = select.select([number], [], [], PIPE_WAIT_S)
    if not readable:
        raise ImageError(
            f"{path}: is a pipe that nobody wrote to for {PIPE_WAIT_S:.0f} s; expected a picture"
            " from it"
        )
    os.set_blocking(number, True)


def _not_a_file(path: Path, mode: int) -> str:
    if stat.S_ISDIR(mode):
        return f"{path}: is a folder, expected an image file"
    kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
    return f"{path}: is {kind}, expected an image file"


def _reason(path: Path, error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "the name is longer than a file's name can be; name an image file that exists"
    if error.errno == errno.ENOENT and os.path.islink(path):  # noqa: PTH114
        target = os.readlink(path)  # noqa: PTH115
        remedy = "run `git annex get`" if "annex" in target else "name the file itself"
        return f"is a symbolic link to {target}, which does not exist; {remedy}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        why = foreign_path(path)
        return f"no such image file{f'; it {why}' if why else ''}"
    if error.errno == errno.EACCES:
        return "may not be read; check its permissions"
    if error.errno == errno.ENXIO:
        return "is a socket or device, expected an image file"
    return f"cannot be read ({error.strerror or error}); expected an image file"


def _shortened(path: Path) -> str:
    """Return the path, shortened if it is very long."""
    text = str(path)
    return text if len(text) <= 500 else f"{text[:60]}…{text[-20:]}"
