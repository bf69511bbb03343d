"""Limits: shells and temporary folders that Ray cannot use."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nst_core.errors import WorkError
from tuner.cluster.limits import scratch_folder

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


@pytest.fixture
def no_scratch_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment without variables that name a temporary folder."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", None),
        ("relative", "absolute"),
        ("/tmp/tü", "ASCII"),
        ("/scratch/users/somebody/slurm_jobdir/1234567", "36 characters"),
        ("/no/such/folder", "not a folder"),
    ],
)
def test_unusable_tmpdir_is_named_and_replaced(
    value: str,
    problem: str | None,
    no_scratch_variables: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If TMPDIR cannot hold Ray's sockets, a warning names it and /tmp is used."""
    monkeypatch.setenv("TMPDIR", value)
    assert scratch_folder() == Path("/tmp")
    warnings = "\n".join(caplog.messages)
    if problem:
        assert f"TMPDIR={value}: " in warnings and problem in warnings
    else:
        assert not warnings


def test_ray_tmpdir_comes_before_tmpdir(
    no_scratch_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RAY_TMPDIR is used before TMPDIR, and TMPDIR before /tmp."""
    with TemporaryDirectory(dir="/tmp") as folder, TemporaryDirectory(dir="/tmp") as ray_folder:
        monkeypatch.setenv("TMPDIR", folder)
        assert scratch_folder() == Path(folder)
        monkeypatch.setenv("RAY_TMPDIR", ray_folder)
        assert scratch_folder() == Path(ray_folder)


def test_no_usable_temporary_folder_is_an_error(
    no_scratch_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no folder is writable, one error names every folder that was tried and what to do."""
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WorkError, match=r"TMPDIR=/no/such/folder: .*/tmp: cannot be.*RAY_TMPDIR"):
        scratch_folder()
