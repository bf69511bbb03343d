"""Limits of this process (``ulimit``) that are too low for Ray, said before Ray fails by them."""

from __future__ import annotations

import logging
import resource

from nst_core.errors import WorkError

#: A launch with two engines works with 256 open files in a process, and hangs with 64.
LEAST_OPEN_FILES = 256

#: Limit -> the option of ``ulimit`` that sets it, and what it bounds. With any of them set, Ray may
#: fail in ways that do not name it: its processes map far more memory than they use.
_RISKY = {
    resource.RLIMIT_AS: ("-v", "address space", 1024),
    resource.RLIMIT_FSIZE: ("-f", "file size", 1024),
}

log = logging.getLogger(__name__)


def check_limits() -> None:
    """Raise the limit of open files as far as allowed, and name limits that may break Ray.

    Raises:
        WorkError: too few open files are allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < LEAST_OPEN_FILES:
        if 0 <= hard < LEAST_OPEN_FILES:
            raise WorkError(
                f"this shell allows {hard} open files for a process, and Ray needs at least"
                f" {LEAST_OPEN_FILES}; raise the limit with `ulimit -n 4096`"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_OPEN_FILES, hard))
    for limit, (option, what, unit) in _RISKY.items():
        bound, _ = resource.getrlimit(limit)
        if bound != resource.RLIM_INFINITY:
            log.warning(
                "this shell bounds the %s of a process (ulimit %s %d); if Ray fails, try again"
                " after `ulimit %s unlimited`",
                *(what, option, bound // unit, option),
            )
