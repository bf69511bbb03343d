"""Output to any terminal: not UTF-8, closed, full, or a pipe whose reader has ended."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tuner.processes import CLI
from tests.tuner.study.test_run_dir import a_run
from tuner.cli.streams import READABLE
from tuner.results.as_json import dump
from tuner.run.run_log import logged

LATIN = b"caf\xe9"


def shell(script: str, *arguments: str | bytes, **environment: str) -> tuple[int, bytes]:
    """Run ``nst-tuner`` in a shell and return its exit code and standard error.

    Args:
        script: redirections or a pipe, after the command.
        arguments: of the command.
        environment: variables to set.
    """
    command = ["bash", "-c", f'set -o pipefail; "$0" -c "$1" "${{@:2}}" {script}']
    done = subprocess.run(
        [*command, CLI[0], CLI[2], *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        (">&-", 0, b""),
        ("2>&-", 0, b""),
        (">&- 2>&- <&-", 0, b""),
        ("| head -c 1", 0, b""),
        (">/dev/full", 1, b"standard output cannot be written (No space left on device)"),
        ("2>/dev/full", 0, b""),
    ],
)
@pytest.mark.parametrize("arguments", [("presets",), ("presets", "--json"), ("--help",)])
def test_output_that_cannot_be_written(
    arguments: tuple[str, ...], script: str, code: int, message: bytes
) -> None:
    """Output that cannot be written gives no traceback, and exit code 1 only on a full disk."""
    result, stderr = shell(script, *arguments)
    assert result == code and message in stderr, stderr
    assert b"Traceback" not in stderr and b"Exception ignored" not in stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp437:strict"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"COLUMNS": "1"},
    ],
)
def test_terminals_that_are_not_utf8(environment: dict[str, str], tmp_path: Path) -> None:
    """Tables and messages are printed on a terminal with any encoding, whatever a file's name."""
    name = os.path.join(os.fsencode(tmp_path), LATIN)  # noqa: PTH118  # bytes
    assert shell("", "presets", **environment) == (0, b"")
    code, stderr = shell("", "status", name, **environment)
    assert code == 2 and b"Traceback" not in stderr
    assert b"no" in stderr


def test_characters_that_an_encoding_lacks_are_replaced() -> None:
    """Dashes and signs become ASCII, letters lose their accents, bytes become their numbers."""
    text = "5 ± 1 – 2×, é, 図, \udce9"
    assert text.encode("ascii", READABLE) == b"5 +/- 1 - 2x, e, ?, \\xe9"
    assert text.encode("latin-1", READABLE) == b"5 \xb1 1 - 2\xd7, \xe9, ?, \\xe9"
    assert text.encode("utf-8", READABLE).decode() == "5 ± 1 – 2×, é, 図, \\xe9"


def test_json_is_the_same_on_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In JSON, characters that the terminal's encoding lacks are escaped, not replaced."""
    content = {"name": "é 図 ±", "file": "caf\udce9"}
    for encoding in ("utf-8", "ascii", "latin-1", "ANSI_X3.4-1968"):
        with open(os.devnull, "w", encoding=encoding) as stream:  # noqa: PTH123
            monkeypatch.setattr("sys.stdout", stream)
            text = dump(content)
            monkeypatch.undo()
        assert json.loads(text.encode(encoding).decode(encoding)) == content


def test_a_log_accepts_any_file_name(tmp_path: Path) -> None:
    """A log line with a file name that is not valid UTF-8 is written, as JSON in UTF-8."""
    with logged(tmp_path / "log.jsonl", lambda line: None):
        __import__("logging").getLogger("tuner").info("caf\udce9 é")
    line = (tmp_path / "log.jsonl").read_bytes().decode("utf-8")
    assert json.loads(line)["message"] == "caf\udce9 é"


def test_a_run_in_a_folder_that_is_not_utf8_can_be_used(job_file: Path, tmp_path: Path) -> None:
    """Results of a run in a folder whose name is not valid UTF-8 can be shown and exported."""
    run = os.fsdecode(os.path.join(os.fsencode(tmp_path), LATIN))  # noqa: PTH118
    a_run(job_file, Path(run))
    (Path(run) / "inputs").mkdir()
    for arguments in (
        ("best", run, "--json"),
        ("export", run, "--out", f"{run}/p.json"),
        ("export", run, "--format", "script", "--out", f"{run}/s.py"),
    ):
        code, stderr = shell("", *map(os.fsencode, arguments), PYTHONIOENCODING="ascii")
        assert code == 0, stderr
    compile((Path(run) / "s.py").read_text(encoding="utf-8"), "s.py", "exec")
    json.loads((Path(run) / "p.json").read_text(encoding="utf-8"))


def test_a_new_run_needs_a_folder_name_in_utf8(job_file: Path, tmp_path: Path) -> None:
    """A new run in a folder whose name is not valid UTF-8 is refused before any work."""
    name = os.path.join(os.fsencode(tmp_path), LATIN)  # noqa: PTH118
    code, stderr = shell("", "launch", os.fsencode(job_file), "--run-dir", name)
    assert code == 2 and b"is not valid UTF-8" in stderr and b"Traceback" not in stderr
    assert not os.path.exists(name)  # noqa: PTH110
