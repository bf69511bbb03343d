"""Reading files of a limited size; writing files so that a crash leaves the old or the new."""

from __future__ import annotations

import codecs
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nst_core.errors import InputError

#: Of a large file only so much is reserved to try it: where the file system cannot reserve, the C
#: library writes every block.
_RESERVED_BYTES = 2**26

_WINDOWS_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; no name is too long to ask, as it is for `Path.is_file`."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder, likewise."""
    return os.path.isdir(path)  # noqa: PTH112


def is_utf8(path: str | Path) -> bool:
    """Whether a name can be written down: Linux takes any bytes for a file's name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_limited(path: Path, most: int) -> bytes:
    """The content of a file that others may have made.

    Raises:
        OSError: it cannot be read, or has more than ``most`` bytes.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= most:
            content = file.read(most + 1)
            if len(content) <= most:
                return content
    raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))


def text_of(content: bytes) -> str:
    """The text of a file that a person may have edited; a byte order mark is no part of it.

    Raises:
        ValueError: it is not UTF-8; the message says what it is and what to do.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("UTF-16 text, expected UTF-8; save it again with the encoding UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not a text file in UTF-8; save it with the encoding UTF-8") from None


def foreign_path(path: str | Path) -> str | None:
    """Why a path is one of Windows, which this system does not have; None if it is not."""
    text = str(path)
    if os.name == "nt" or ("\\" not in text and not _WINDOWS_DRIVE.match(text)):
        return None
    if os.path.lexists(text):  # such names are allowed here
        return None
    plain = text.replace("\\", "/")
    if _WINDOWS_DRIVE.match(text):
        drive, rest = plain[0].lower(), plain[3:]
        return f"is a path of Windows, and this system is not; under WSL it is /mnt/{drive}/{rest}"
    return f"holds a backslash, which does not separate folders here; write {plain}"


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be made in ``folder``; permissions alone do not tell.

    Call it before long work whose result goes there.
    """
    probe = temporary_beside(folder / "probe")
    probe.touch(exist_ok=False)
    probe.unlink()


def check_can_write(path: Path, size: int = 0) -> None:
    """Raise OSError if no file of about ``size`` bytes can be written as ``path``.

    Only the file system knows which names it takes, how long they may be, and how much the quota
    of this user leaves, so it is tried; nothing stays.
    """
    probe = temporary_beside(path)
    try:
        with probe.open("xb") as file:
            _reserve(file.fileno(), min(size, _RESERVED_BYTES))
    finally:
        probe.unlink(missing_ok=True)
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if not os.path.lexists(path):
        path.open("xb").close()
        path.unlink()


def _reserve(file: int, size: int) -> None:
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:  # others say that this file system cannot reserve
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """A new name beside ``path``: short whatever the length of its own, which may be the limit."""
    return path.with_name(f".{secrets.token_hex(8)}{suffix}.tmp")


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, flushed to disk first.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; ``path`` is unchanged.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line that a file could not be written.

    Raises:
        InputError: it could not.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
