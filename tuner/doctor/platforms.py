"""The supported platforms: systems, processors and Python versions."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

from nst_core.errors import InputError
from tuner.doctor.check import Check

#: Python versions that the tests run on: the first and the last.
PYTHON_VERSIONS = (3, 11), (3, 14)

SUPPORTED = "Linux on x86-64 or arm64, and macOS (CPU only)"
NOT_SUPPORTED = (
    "nst-tuner does not run on this system. It runs on Linux and macOS; on Windows install it in"
    " WSL (https://learn.microsoft.com/windows/wsl)"
)

#: Names of the same two processors: Linux says x86_64 and aarch64, macOS says arm64.
_PROCESSORS = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "arm64", "arm64": "arm64"}


def require_platform() -> None:
    """Raise InputError on native Windows, and where Python has no POSIX file locks."""
    if sys.platform == "win32" or find_spec("fcntl") is None:
        raise InputError(NOT_SUPPORTED)


def check_platform() -> Check:
    """Return whether the operating system and the processor are supported."""
    system, machine = platform.system(), platform.machine()
    processor = _PROCESSORS.get(machine.lower(), machine)
    found = f"{system} on {processor}"
    if system == "Linux" and processor in _PROCESSORS.values():
        in_wsl = "microsoft" in platform.release().lower()
        return Check(name="platform", ok=True, found=f"{found}, in WSL" if in_wsl else found)
    if system == "Darwin":
        return Check(name="platform", ok=True, found=f"macOS on {processor}: trials run on the CPU")
    return Check(name="platform", ok=None, found=f"{found} is not tested; supported: {SUPPORTED}")


def check_python() -> Check:
    """Return whether the Python version is supported: False if too old, None if untested."""
    oldest, newest = PYTHON_VERSIONS
    version = sys.version_info[:2]
    found = platform.python_version()
    if oldest <= version <= newest:
        return Check(name="python", ok=True, found=found)
    tested = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    found += f"; supported: {tested}"
    return Check(name="python", ok=None if version > newest else False, found=found)
