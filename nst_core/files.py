"""Writing files so that a crash leaves the old content or the new, never a part."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


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
