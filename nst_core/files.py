"""Reading files of a limited size; writing files so that a crash leaves the old or the new."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; no name is too long to ask, as it is for `Path.is_file`."""
    return os.path.isfile(path)  # noqa: PTH113


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


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be made in ``folder``; permissions alone do not tell.

    Call it before long work whose result goes there.
    """
    probe = folder / f".{secrets.token_hex(8)}.tmp"
    probe.touch(exist_ok=False)
    probe.unlink()


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, flushed to disk first.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; ``path`` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
