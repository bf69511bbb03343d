"""The supported platforms, and the answer of every command on native Windows."""

import platform
import subprocess
import sys

import pytest

from tuner.doctor.platforms import check_platform, check_python

#: Modules of the standard library that Windows does not have.
POSIX_ONLY = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")

#: Runs the command line as on Windows. ``sys.platform`` changes after the imports, because typer
#: and the standard library would ask this system for functions of Windows.
ON_WINDOWS = f"""
import sys
sys.modules.update(dict.fromkeys({POSIX_ONLY}))
from tuner.cli.main import main
sys.platform = "win32"
main()
"""


@pytest.mark.parametrize("command", ["--version", "presets", "status run", "launch --help"])
def test_windows_gets_one_line_that_names_wsl(command: str) -> None:
    """On native Windows every command ends with one line about WSL and with exit code 2."""
    done = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS, *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "on Windows install it in WSL" in line


@pytest.mark.parametrize(
    ("system", "machine", "ok", "found"),
    [
        ("Linux", "x86_64", True, "Linux on x86-64"),
        ("Linux", "aarch64", True, "Linux on arm64"),
        ("Darwin", "arm64", True, "macOS on arm64: trials run on the CPU"),
        ("Linux", "riscv64", None, "Linux on riscv64 is not tested"),
        ("FreeBSD", "amd64", None, "FreeBSD on x86-64 is not tested"),
    ],
)
def test_platforms(
    system: str, machine: str, ok: bool | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux and macOS pass; any other platform is a note, not a failure."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "release", lambda: "6.1")
    check = check_platform()
    assert check.ok is ok and check.found.startswith(found)


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 14), True), ((3, 15), None)]
)
def test_python_versions(
    version: tuple[int, int], ok: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 to 3.14 pass, an older one fails, and a newer one is a note."""
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    assert check_python().ok is ok


def test_wsl_is_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """In WSL the platform passes, and its line says WSL."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: "5.15.90.1-microsoft-standard-WSL2")
    assert check_platform().found == "Linux on x86-64, in WSL"
