"""Confinement of a stylizer's processes: where they may write, and which variables they see.

Writing is restricted by Landlock, which needs no privileges: Linux has it since 5.13, with
truncation since 6.2. Where it is missing, nothing is restricted. It does not restrict reading and
the network, and is no protection against malicious code: it finds mistakes, such as results that
are written beside the wrong file.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Environment variables that a stylizer gets: those that programs need to start, and folders of
#: caches. Others, such as passwords, have to be named in the job.
VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"),
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME"),
    *("CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
    *("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "NST_TUNER_CACHE"),
    *("SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy"),
    "no_proxy",
)
#: Variables that limit the threads of numerical libraries.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
#: Folders of caches in the home folder, and variables that name other ones.
_CACHES = (".cache", ".nv", ".triton")
_CACHE_VARIABLES = ("XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME", "NST_TUNER_CACHE")

#: Numbers of the system calls, equal on x86-64 and arm64.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH, _VERSION_FLAG = 1, 1
_SET_NO_NEW_PRIVILEGES, _SET_CHILD_SUBREAPER = 38, 36
#: Rights: write a file (bit 1), remove a folder (4) or a file (5), make anything (6 to 12).
_WRITE_FILE = 1 << 1
_RIGHTS = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
#: Move between folders (since version 2), truncate (since version 3).
_REFER, _TRUNCATE = 1 << 13, 1 << 14


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def environment(folder: Path, *, threads: int | None, more: Iterable[str]) -> dict[str, str]:
    """Return the environment of a stylizer's processes.

    Args:
        folder: its temporary folder.
        threads: threads that numerical libraries should use; None for their defaults.
        more: names of further variables that it gets.
    """
    names = [*VARIABLES, *more]
    passed = {name: os.environ[name] for name in names if name in os.environ}
    limits = dict.fromkeys(THREADS, str(threads)) if threads else {}
    return {**passed, **limits, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def writable_folders(folder: Path, more: Sequence[str]) -> list[str]:
    """Return the folders that a stylizer may write into: its own, caches, devices, and more."""
    home = os.path.expanduser("~")  # noqa: PTH111  # unlike Path.home, it always returns something
    caches = [os.path.join(home, name) for name in _CACHES]  # noqa: PTH118
    caches += [os.environ[name] for name in _CACHE_VARIABLES if os.environ.get(name)]
    return [str(folder), "/dev", "/proc", *caches, *more]


def restrict_writing(folders: Sequence[str]) -> bool:
    """Restrict writing by this process and its children to folders; return whether that worked.

    It cannot be undone. Folders that do not exist are left out.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return False
    rights = _RIGHTS | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = ctypes.c_uint64(rights)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            _allow(libc, ruleset, rights, folder)
        if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            return False
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, rights: int, folder: str) -> None:
    try:
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _PathBeneath(rights, handle)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(handle)


def adopt_orphans() -> None:
    """Make this process the parent of all processes below it whose own parent ends (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def can_restrict_writing() -> bool:
    """Return whether this system has Landlock."""
    if not sys.platform.startswith("linux"):
        return False
    version = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return bool(version >= 1)
