"""The lock of a run directory: its holder, refused processes, and what a dead process leaves."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nst_core.errors import InputError, RunError
from tests.tuner.processes import CLI
from tuner.study import lock
from tuner.study.lock import DEAD_AFTER_S, HOLDER_FILE, LOCK_FILE, check_unused, held, user_of

HOLDS = "import sys; from pathlib import Path; from tuner.study.lock import held\n"
HOLDS += "with held(Path(sys.argv[1]), 'launch'): print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that has locked the folder ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refused(file: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refused)


def left_by(folder: Path, *, pid: int, host: str, silent_s: float = 0) -> None:
    """Write the file that a killed process leaves."""
    (folder / LOCK_FILE).touch()
    content = {"pid": pid, "host": host, "since": "2026-01-01T00:00:00+00:00"}
    (folder / HOLDER_FILE).write_text(json.dumps(content))
    at_s = time.time() - silent_s
    os.utime(folder / HOLDER_FILE, (at_s, at_s))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_holder_is_named_until_it_is_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """A refusal names pid, host and start of the holder; killing the holder frees the lock."""
    found = user_of(tmp_path)
    assert found and found.pid == holder.pid
    expected = rf"`nst-tuner launch` \(process {holder.pid} on {os.uname().nodename}, since 20"
    with pytest.raises(RunError, match=expected):
        check_unused(tmp_path)
    with pytest.raises(RunError, match=expected), held(tmp_path, "resume"):
        pass
    holder.kill()
    holder.wait()
    check_unused(tmp_path)
    with held(tmp_path, "resume"):
        pass


@pytest.mark.parametrize("command", ["resume", "prefer", "launch"])
def test_a_refusal_imports_nothing_slow(
    command: str, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Refusing a run directory in use, with exit code 2, imports neither torch, Ray nor Optuna."""
    for name in ("job.yaml", "study.journal"):  # what makes a folder a run
        (tmp_path / name).touch()
    ends = "import os, sys; heavy = {'torch', 'ray', 'optuna'} & {*sys.modules}; "
    ends += "os.write(1, b'heavy: %d' % len(heavy))"
    code = f"import atexit; atexit.register(lambda: exec({ends!r})); {CLI[2]}"
    options = ["job.yaml", "--run-dir", tmp_path] if command == "launch" else [tmp_path]
    done = subprocess.Popen(
        [sys.executable, "-c", code, command, *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed, complained = done.communicate()
    assert done.returncode == 2 and f"process {holder.pid} on" in complained
    assert printed == "heavy: 0"


def test_a_reused_process_number_does_not_lock(tmp_path: Path) -> None:
    """Only the lock counts: the file of a killed launch refuses nobody if its pid is reused."""
    left_by(tmp_path, pid=os.getpid(), host=os.uname().nodename)
    assert user_of(tmp_path) is None
    with held(tmp_path, "resume"):
        pass


def test_a_lock_of_another_machine_may_be_deleted(tmp_path: Path) -> None:
    """The refusal names the lock file of another machine, and deleting the file helps."""
    with held(tmp_path, "launch"):
        left_by(tmp_path, pid=1, host="elsewhere")
        with pytest.raises(RunError, match=r"on elsewhere.*rm .*\.lock"):
            check_unused(tmp_path)
        (tmp_path / LOCK_FILE).unlink()
        with held(tmp_path, "resume"):
            pass


@pytest.mark.usefixtures("without_locks")
def test_without_locks_signs_of_life_refuse_others(tmp_path: Path) -> None:
    """Without file locks a living process refuses others, and leaves no file at its end."""
    with held(tmp_path, "launch"):
        assert user_of(tmp_path)
        with pytest.raises(RunError, match="in use by"), held(tmp_path, "resume"):
            pass
        assert user_of(tmp_path)
    assert user_of(tmp_path) is None
    with held(tmp_path, "resume"):
        pass


@pytest.mark.usefixtures("without_locks")
def test_without_locks_dead_processes_refuse_nobody(tmp_path: Path) -> None:
    """A killed process, a reused pid and a silent machine refuse nobody."""
    here = os.uname().nodename
    left_by(tmp_path, pid=dead_pid(), host=here)
    assert user_of(tmp_path) is None
    for host in (here, "elsewhere"):
        left_by(tmp_path, pid=psutil.Process().ppid(), host=host, silent_s=1)
        assert user_of(tmp_path)
        left_by(tmp_path, pid=psutil.Process().ppid(), host=host, silent_s=DEAD_AFTER_S + 5)
        assert user_of(tmp_path) is None


def test_signs_of_life_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that holds a folder regularly touches the file that names it."""
    monkeypatch.setattr(lock, "SIGN_EVERY_S", 0.05)
    with held(tmp_path, "launch"):
        os.utime(tmp_path / HOLDER_FILE, (0, 0))
        for _ in range(200):
            if (tmp_path / HOLDER_FILE).stat().st_mtime:
                break
            time.sleep(0.05)
        assert (tmp_path / HOLDER_FILE).stat().st_mtime


def test_a_system_without_posix_gets_an_explanation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without `fcntl`, as on Windows, the error is one sentence, not an ImportError."""
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.raises(InputError, match=r"Linux and macOS.*WSL"), held(tmp_path, "launch"):
        pass
    hidden = "import sys; sys.modules['fcntl'] = None; from tuner.cli.main import main; main()"
    for command in (["status", "run"], ["presets"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", hidden, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and "on Windows install it in WSL" in done.stderr
        assert "Traceback" not in done.stderr and not done.stdout
