"""The lock of a run directory: who works on it, and since when.

Nothing heavy is imported here: a command that is refused must not wait for torch or Ray.
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

#: Is locked by the command that works on a run; beside it stands whose it is.
LOCK_FILE, HOLDER_FILE = ".lock", "launch.json"

#: Seconds between two signs of life, and after which a launch without one is taken for dead. The
#: second is long: a suspended laptop or a storage that hangs for a minute is no dead launch.
SIGN_EVERY_S, DEAD_AFTER_S = 10.0, 120.0
#: Who only looks holds the lock for a moment, which must not refuse a launch.
LOOKED_AT_S = 0.3

NO_POSIX = (
    "nst-tuner runs on Linux and macOS, and this is neither; on Windows install it in WSL"
    " (https://learn.microsoft.com/windows/wsl)"
)

#: What `flock` answers where another process has the lock.
_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}


def require_posix() -> None:
    """Raise InputError on a system without file locks of POSIX."""
    if fcntl is None:
        raise InputError(NO_POSIX)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that works on a run directory.

    Attributes:
        pid: its process.
        host: the machine that it runs on.
        since: when it began, in UTC.
        command: of ours, such as ``launch``.
        token: tells it from every other.
    """

    pid: int = 0
    host: str = "an unknown host"
    since: str = "an unknown time"
    command: str = "launch"
    token: str = ""

    @classmethod
    def own(cls, command: str) -> Holder:
        """This process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            token=secrets.token_hex(8),
        )

    @classmethod
    def read(cls, folder: Path) -> Holder:
        """The process that holds a run directory, or did last; unknown where nothing says it."""
        try:
            found = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
            known = {key: type(default)(found[key]) for key, default in _UNKNOWN if key in found}
            return cls(**known)
        except (OSError, ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        who = f"process {self.pid} on {self.host}" if self.pid else "a process"
        return f"`nst-tuner {self.command}` ({who}, since {self.since})"


_UNKNOWN = tuple(asdict(Holder()).items())


def user_of(folder: Path) -> Holder | None:
    """The process that works on a run directory now, or None. Takes nothing and writes nothing."""
    try:
        file = (folder / LOCK_FILE).open("rb")  # somebody else's may not be written
    except OSError:
        return None
    with file:
        taken = _lock(file.fileno(), exclusive=False)
    if taken is None:
        return _living(folder)
    return None if taken else Holder.read(folder)


def check_unused(folder: Path) -> None:
    """Raise RunError if a process works on a run directory, before anything heavy is imported."""
    if holder := user_of(folder):
        raise in_use(folder, holder)


def in_use(folder: Path, holder: Holder) -> RunError:
    """What to say of a run directory that another process works on."""
    do = "wait for it to end, or stop it"
    if holder.host != socket.gethostname() or not holder.pid:
        # A lock of a machine that is gone stays on NFS until the server is told.
        lock = shlex.quote(str(folder / LOCK_FILE))
        do += f"; if it is dead for certain, delete its lock: rm {lock}"
    return RunError(f"{folder}: in use by {holder}; {do}")


@contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """Keep other commands out of a run directory; a process that is killed lets go of it.

    Raises:
        RunError: another process works on it, or it cannot be written.
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
            signs.join(LOOKED_AT_S)  # unless it hangs in a storage that is away
            _leave(folder, own)
    finally:
        os.close(file)  # which unlocks it


def _take(folder: Path, file: int, command: str) -> Holder:
    """Lock a run directory and write whose it is."""
    own, deadline_s = Holder.own(command), time.monotonic() + LOOKED_AT_S
    while (taken := _lock(file, exclusive=True)) is False:
        if time.monotonic() > deadline_s:
            raise in_use(folder, Holder.read(folder))
        time.sleep(LOOKED_AT_S / 10)
    if taken is None and (living := _living(folder)):
        raise in_use(folder, living)
    try:
        write_atomic(folder / HOLDER_FILE, json.dumps(asdict(own)).encode())
    except OSError as error:
        raise _unwritable(folder, error) from None
    if taken is None:
        log.info("%s: no file locks here; signs of life in %s instead", folder, HOLDER_FILE)
        time.sleep(LOOKED_AT_S)  # of two that began at once, the later one has written over it
        if (first := Holder.read(folder)) != own:
            raise in_use(folder, first)
    return own


def _lock(file: int, *, exclusive: bool) -> bool | None:
    """Whether a file could be locked; None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        # Any other: a file system without locks, such as some of SMB, of FUSE and of NFS.
        return False if error.errno in _TAKEN else None
    return True


def _living(folder: Path) -> Holder | None:
    """Without locks: the process that wrote itself down and still gives signs of life."""
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
    except OSError:  # somebody else's
        return True
    return True


def _sign(folder: Path, over: threading.Event) -> None:
    """Give signs of life, for those who look where there are no locks."""
    while not over.wait(SIGN_EVERY_S):
        with suppress(OSError):  # a disk that is full or away ends no run for its sake
            os.utime(folder / HOLDER_FILE)


def _leave(folder: Path, own: Holder) -> None:
    """Where there are no locks, nobody is to wait for the last sign of life to grow old."""
    with suppress(OSError):
        if Holder.read(folder) == own:
            (folder / HOLDER_FILE).unlink()


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"{folder}: cannot be written ({error.strerror}); expected a folder that this user may"
        " write to, with space left"
    )
