"""Guard: starts a worker, and leaves nothing of it behind, whoever dies first.

It runs no code of a stylizer, so nothing can keep it from its work: when the worker ends, or the
engine does (then the pipe that is the guard's standard input closes), it kills every process that
the worker has started and removes the temporary folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tuner.stylizers.confinement import adopt_orphans

#: Beginning of the names of workers' folders, and the file in each that its guard locks.
PREFIX, LOCK = "nst-tuner-stylizer-", ".guarded"
#: Seconds between two looks at the worker.
INTERVAL_S = 0.1
#: Seconds between two looks for dead orphans.
BURY_INTERVAL_S = 10.0
#: Seconds to kill processes that fork faster than they are found.
KILL_TIMEOUT_S = 20.0
#: A folder without a guard is removed after so many seconds: its guard may not have begun.
LEFT_AFTER_S = 600.0


def main() -> None:
    """Run a worker in a folder.

    The arguments are the folder, the number of the worker's socket, and that of a pipe to which the
    guard writes its process id and, at the end, the worker's exit code.
    """
    folder, number, status = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if os.fork():  # Ray kills the children of an engine that it ends; this is no child of it
        os._exit(0)
    os.write(status, f"{os.getpid()}\n".encode())
    for received in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(received, signal.SIG_IGN)  # the engine decides when to end
    adopt_orphans()
    begun = folder / f"{LOCK}.new"
    with begun.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun.rename(folder / LOCK)  # under its name it is locked from the beginning
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "tuner.stylizers.worker", str(number)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            pass_fds=[number],
            restore_signals=True,
            start_new_session=True,
        )
        os.close(number)  # so that the engine learns of the worker's end
        try:
            buried_at = time.monotonic()
            while worker.poll() is None and not _engine_is_gone():
                if time.monotonic() - buried_at > BURY_INTERVAL_S:  # it looks at every process
                    _bury_orphans(worker.pid)
                    buried_at = time.monotonic()
        finally:
            _kill_children()
            code = worker.wait()
            shutil.rmtree(folder, ignore_errors=True)
    os.write(status, f"{code}\n".encode())


def _engine_is_gone() -> bool:
    readable, _, _ = select.select([0], [], [], INTERVAL_S)
    return bool(readable) and not os.read(0, 1)


def _bury_orphans(worker: int) -> None:
    """Take note of the end of adopted processes; the worker's is left to its `Popen`."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid != worker and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _kill_children() -> None:
    ends_at = time.monotonic() + KILL_TIMEOUT_S
    while time.monotonic() < ends_at:
        alive = [child for child in psutil.Process().children(recursive=True) if _is_alive(child)]
        if not alive:
            return
        for child in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def remove_leftovers() -> None:
    """Remove folders of workers whose guard is gone, as after a loss of power."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if not (folder / LOCK).exists():
                if time.time() - folder.stat().st_mtime > LEFT_AFTER_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
