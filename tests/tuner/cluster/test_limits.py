"""Limits of a shell that are too low for Ray."""

import resource
import subprocess
import sys

CODE = """
import logging, resource
from tuner.cluster.limits import check_limits
from nst_core.errors import WorkError
logging.basicConfig(format="%(message)s")
try:
    check_limits()
    print("open files:", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except WorkError as error:
    print("refused:", error)
"""


def output_of_check(limit: int, soft: int, hard: int) -> str:
    """Return what `check_limits` prints in a process with this limit."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        preexec_fn=lambda: resource.setrlimit(limit, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_limit_of_open_files_is_raised_or_named() -> None:
    """A low soft limit is raised; a low hard limit is an error that says what to do."""
    assert output_of_check(resource.RLIMIT_NOFILE, 100, 1000) == "open files: 256\n"
    output = output_of_check(resource.RLIMIT_NOFILE, 100, 100)
    assert output.startswith("refused: this shell allows 100 open files")
    assert "ulimit -n" in output


def test_limited_file_size_is_named() -> None:
    """A warning names a limit that Ray's own error messages would not name."""
    output = output_of_check(resource.RLIMIT_FSIZE, 2**20, 2**20)
    assert "ulimit -f 1024" in output and "unlimited" in output
