"""Files: reading with a size limit, atomic writing, checks before long work."""

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

#: `check_can_write` reserves at most this much: on file systems that cannot reserve space, the C
#: library writes every block.
_RESERVED_BYTES = 2**26

_WINDOWS_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


def is_file(path: str | Path) -> bool:
    """Return whether a file exists; unlike `Path.is_file`, no name is too long."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Return whether a folder exists; unlike `Path.is_dir`, no name is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def is_utf8(path: str | Path) -> bool:
    """Return whether a name is valid Unicode: on Linux a file name may hold any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_limited(path: Path, most: int) -> bytes:
    """Return the content of a file that may come from strangers.

    Raises:
        OSError: the file cannot be read, or has more than ``most`` bytes.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= most:
            content = file.read(most + 1)
            if len(content) <= most:
                return content
    raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))


def text_of(content: bytes) -> str:
    """Return the text of a file's content, without a byte order mark.

    Raises:
        ValueError: the content is not UTF-8; the message says what to do.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("UTF-16 text, expected UTF-8; save it again with the encoding UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not a text file in UTF-8; save it with the encoding UTF-8") from None


def foreign_path(path: str | Path) -> str | None:
    """Return why a Windows path does not work on this system; None if the path is none."""
    text = str(path)
    if os.name == "nt" or ("\\" not in text and not _WINDOWS_DRIVE.match(text)):
        return None
    if os.path.lexists(text):  # such names are allowed here
        return None
    plain = text.replace("\\", "/")
    if _WINDOWS_DRIVE.match(text):
        drive, rest = plain[0].lower(), plain[3:]
        return (
            f"is a Windows path, but this is no Windows system; under WSL use /mnt/{drive}/{rest}"
        )
    return f"contains a backslash, which does not separate folders here; write {plain}"


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be created in ``folder``; call it before long work.

    A file is created and removed, because permissions alone do not decide it.
    """
    probe = temporary_beside(folder / "probe")
    probe.touch(exist_ok=False)
    probe.unlink()


def check_can_write(path: Path, size: int = 0) -> None:
    """Raise OSError if no file of about ``size`` bytes can be written as ``path``.

    A file is created and removed, because only the file system knows the names that it accepts
    and the quota of the user.
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
    except OSError as error:  # other errors mean that this file system cannot reserve space
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """Return a new short name in the folder of ``path``, whose own name may have maximum length."""
    return path.with_name(f".{secrets.token_hex(8)}{suffix}.tmp")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: after a crash ``path`` has either the old or the new content.

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
    """Turn an OSError of the ``with`` block into an InputError that names the file.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
