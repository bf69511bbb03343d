"""The lock of a run directory, which names the process that works on it.

This module must be fast to import: a command that is refused must not wait for torch or Ray.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from nst_core.errors import InputError, RunError
from nst_core.files import write_atomic

log = logging.getLogger(__name__)

#: The file that is locked by the command that works on a run, and the file that names its process.
LOCK_FILE, HOLDER_FILE = ".lock", "launch.json"

#: Seconds between two signs of life, and after which a silent launch counts as dead. The second is
#: long, because a laptop may be suspended, or a storage may hang for a minute.
SIGN_EVERY_S, DEAD_AFTER_S = 10.0, 120.0
#: Seconds that a launch waits for the lock, since commands that only check it hold it for a moment.
LOCK_WITHIN_S = 0.3

NO_POSIX = (
    "nst-tuner runs only on Linux and macOS; on Windows install it in WSL"
    " (https://learn.microsoft.com/windows/wsl)"
)

#: Errors of `flock` if another process has the lock.
_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}


def require_posix() -> None:
    """Raise InputError on a system without POSIX file locks, such as Windows."""
    if fcntl is None:
        raise InputError(NO_POSIX)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that works on a run directory.

    Attributes:
        pid: process number; 0 if unknown.
        host: name of the machine that it runs on.
        since: when it began, in UTC.
        command: the command of nst-tuner, such as ``launch``.
        token: random text that no other process has.
    """

    pid: int = 0
    host: str = "an unknown host"
    since: str = "an unknown time"
    command: str = "launch"
    token: str = ""

    @classmethod
    def own(cls, command: str) -> Holder:
        """Return the description of this process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            token=secrets.token_hex(8),
        )

    @classmethod
    def read(cls, folder: Path) -> Holder:
        """Return the process that used a run directory last, with defaults where it is unknown."""
        try:
            content = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
            return cls(
                **{key: type(default)(content[key]) for key, default in _UNKNOWN if key in content}
            )
        except (OSError, ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        who = f"process {self.pid} on {self.host}" if self.pid else "a process"
        return f"`nst-tuner {self.command}` ({who}, since {self.since})"


_UNKNOWN = tuple(asdict(Holder()).items())


def user_of(folder: Path) -> Holder | None:
    """Return the process that works on a run directory now, or None. Nothing is written."""
    try:
        file = (folder / LOCK_FILE).open("rb")  # another user's file may be read-only
    except OSError:
        return None
    with file:
        locked = _lock(file.fileno(), exclusive=False)
    if locked is None:
        return _living_holder(folder)
    return None if locked else Holder.read(folder)


def check_unused(folder: Path) -> None:
    """Raise RunError if a process works on the run directory."""
    if holder := user_of(folder):
        raise in_use(folder, holder)


def in_use(folder: Path, holder: Holder) -> RunError:
    """Return the error for a run directory that another process uses."""
    advice = "wait for it to end, or stop it"
    if holder.host != socket.gethostname() or not holder.pid:
        # On NFS the lock of a machine that crashed may stay.
        lock = shlex.quote(str(folder / LOCK_FILE))
        advice += f"; if you are sure that it is dead, delete its lock: rm {lock}"
    return RunError(f"{folder}: in use by {holder}; {advice}")


@contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """Lock a run directory, so that no other command can use it. Killing the process unlocks it.

    Args:
        folder: the run directory.
        command: name of the running command, for the error that other commands show.

    Raises:
        RunError: another process works on the run, or the folder cannot be written.
    """
    require_posix()
    try:
        file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        own = _take(folder, file, command)
        over = threading.Event()
        signs = threading.Thread(target=_sign, args=(folder, over), daemon=True)
        signs.start()
        try:
            yield
        finally:
            over.set()
            signs.join(LOCK_WITHIN_S)  # no longer, since the thread may hang in a dead storage
            _remove_holder(folder, own)
    finally:
        os.close(file)  # which unlocks it


def _take(folder: Path, file: int, command: str) -> Holder:
    """Lock a run directory and write the name of this process to it."""
    own, deadline_s = Holder.own(command), time.monotonic() + LOCK_WITHIN_S
    while (locked := _lock(file, exclusive=True)) is False:
        if time.monotonic() > deadline_s:
            raise in_use(folder, Holder.read(folder))
        time.sleep(LOCK_WITHIN_S / 10)
    if locked is None and (living := _living_holder(folder)):
        raise in_use(folder, living)
    try:
        write_atomic(folder / HOLDER_FILE, json.dumps(asdict(own)).encode())
    except OSError as error:
        raise _unwritable(folder, error) from None
    if locked is None:
        log.info("%s: file locks are not supported here; using %s instead", folder, HOLDER_FILE)
        time.sleep(LOCK_WITHIN_S)  # of two that start together, the later one overwrites the file
        if (first := Holder.read(folder)) != own:
            raise in_use(folder, first)
    return own


def _lock(file: int, *, exclusive: bool) -> bool | None:
    """Return whether the file could be locked, or None if the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        # Other errors mean that locks are not supported, as on some SMB, FUSE and NFS mounts.
        return False if error.errno in _TAKEN else None
    return True


def _living_holder(folder: Path) -> Holder | None:
    """Return the process named in the folder if it still gives signs of life (without locks)."""
    try:
        silent_s = time.time() - (folder / HOLDER_FILE).stat().st_mtime
    except OSError:
        return None
    holder = Holder.read(folder)
    if not holder.pid or silent_s > DEAD_AFTER_S:
        return None
    if holder.host == socket.gethostname() and not _is_alive(holder.pid):
        return None
    return holder


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


def _sign(folder: Path, over: threading.Event) -> None:
    """Write signs of life, which replace the lock on file systems without locks."""
    while not over.wait(SIGN_EVERY_S):
        with suppress(OSError):  # a full disk must not end the run here
            os.utime(folder / HOLDER_FILE)


def _remove_holder(folder: Path, own: Holder) -> None:
    """Delete the name of this process, so that without locks nobody waits for it to expire."""
    with suppress(OSError):
        if Holder.read(folder) == own:
            (folder / HOLDER_FILE).unlink()


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"{folder}: cannot be written ({error.strerror}); expected a folder with free space that"
        " this user may write to"
    )
