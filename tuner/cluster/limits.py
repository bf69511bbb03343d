"""Limits: what Ray needs from this machine, checked before Ray starts.

Ray needs enough open files, and a folder with a short path for its sockets.
"""

from __future__ import annotations

import logging
import os
import resource
from pathlib import Path

from nst_core.errors import WorkError

#: Begin of the message if Ray's own processes do not start.
RAY_DID_NOT_START = "Ray could not start on this machine"

#: A launch with two engines works with 256 open files per process, and hangs with 64.
MIN_OPEN_FILES = 256

#: Limit -> option of ``ulimit`` that sets it, its name, and its unit in bytes. With any of these
#: limits, Ray may fail with an unclear error: its processes map far more memory than they use.
_RISKY_LIMITS = {
    resource.RLIMIT_AS: ("-v", "address space", 1024),
    resource.RLIMIT_FSIZE: ("-f", "file size", 1024),
}

#: Ray puts sockets below its temporary folder, and the path of a socket has at most 107 bytes. What
#: Ray appends (``/ray/session_…/sockets/plasma_store``) leaves this many.
MAX_SCRATCH_CHARACTERS = 36
#: Environment variables that may name the scratch folder, in order; None means `/tmp`.
_SCRATCH_VARIABLES = ("RAY_TMPDIR", "TMPDIR", None)

log = logging.getLogger(__name__)


def check_limits() -> None:
    """Raise the limit of open files if that is allowed, and warn of limits that may break Ray.

    Raises:
        WorkError: too few open files are allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < MIN_OPEN_FILES:
        if 0 <= hard < MIN_OPEN_FILES:
            raise WorkError(
                f"this shell allows {hard} open files per process, and Ray needs at least"
                f" {MIN_OPEN_FILES}; raise the limit with `ulimit -n 4096`"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (MIN_OPEN_FILES, hard))
    for limit, (option, name, unit) in _RISKY_LIMITS.items():
        bound, _ = resource.getrlimit(limit)
        if bound != resource.RLIM_INFINITY:
            log.warning(
                "this shell limits the %s of a process (ulimit %s %d); if Ray fails, try again"
                " after `ulimit %s unlimited`",
                *(name, option, bound // unit, option),
            )


def scratch_folder() -> Path:
    """Return the folder below which Ray may put its temporary files and sockets.

    Raises:
        WorkError: neither RAY_TMPDIR nor TMPDIR nor /tmp can be used; the message says why not.
    """
    unusable: list[str] = []
    for variable in _SCRATCH_VARIABLES:
        folder = os.environ.get(variable, "") if variable else "/tmp"
        problem = _scratch_problem(folder)
        if problem is None:
            if unusable:
                log.warning("%s; Ray's temporary files go to %s", "; ".join(unusable), folder)
            return Path(folder)
        if folder:
            unusable.append(f"{f'{variable}={folder}' if variable else folder}: {problem}")
    raise WorkError(
        f"{RAY_DID_NOT_START}: it needs a folder for temporary files"
        f" ({'; '.join(unusable)}); set RAY_TMPDIR to a writable folder whose path has at most"
        f" {MAX_SCRATCH_CHARACTERS} ASCII characters"
    )


def _scratch_problem(folder: str) -> str | None:
    """Return why Ray cannot put its sockets below a folder; None if it can."""
    tests = {
        "is empty": folder,
        "is not an absolute path": folder.startswith("/"),
        "has characters that are not ASCII": folder.isascii(),
        f"has more than {MAX_SCRATCH_CHARACTERS} characters, too long for Ray's sockets": (
            len(folder) <= MAX_SCRATCH_CHARACTERS
        ),
        "is not a folder": Path(folder).is_dir(),
        "cannot be written": os.access(folder, os.W_OK | os.X_OK),
    }
    return next((problem for problem, passed in tests.items() if not passed), None)
