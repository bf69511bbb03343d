"""Limits of a shell that Ray cannot live with."""

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


def checked(limit: int, soft: int, hard: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        preexec_fn=lambda: resource.setrlimit(limit, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_too_few_open_files() -> None:
    """A limit that may be raised is raised; one that may not is refused with what to do."""
    assert checked(resource.RLIMIT_NOFILE, 100, 1000) == "open files: 256\n"
    said = checked(resource.RLIMIT_NOFILE, 100, 100)
    assert said.startswith("refused: this shell allows 100 open files") and "ulimit -n" in said


def test_a_bounded_file_size_is_named() -> None:
    """A bound that Ray's own messages do not name is named before Ray starts."""
    said = checked(resource.RLIMIT_FSIZE, 2**20, 2**20)
    assert "ulimit -f 1024" in said and "unlimited" in said
