"""Terminals that are not UTF-8, names that are not, output that is closed, full or left."""

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
    """Exit code and standard error of a command of ours as a shell starts it."""
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
    ("script", "code", "words"),
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
def test_output_that_takes_nothing(
    arguments: tuple[str, ...], script: str, code: int, words: bytes
) -> None:
    """Closed, full or left output ends in no traceback; it is an error only if results are lost."""
    found, complained = shell(script, *arguments)
    assert found == code and words in complained, complained
    assert b"Traceback" not in complained and b"Exception ignored" not in complained


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
    """Tables and refusals that name any file are printed on any terminal."""
    name = os.path.join(os.fsencode(tmp_path), LATIN)  # noqa: PTH118  # bytes
    assert shell("", "presets", **environment) == (0, b"")
    code, complained = shell("", "status", name, **environment)
    assert code == 2 and b"Traceback" not in complained
    assert b"no" in complained


def test_what_an_encoding_lacks_is_shown_by_something_like_it() -> None:
    """Dashes and signs become ASCII, letters lose their accents, bytes are shown by number."""
    text = "5 ± 1 – 2×, é, 図, \udce9"
    assert text.encode("ascii", READABLE) == b"5 +/- 1 - 2x, e, ?, \\xe9"
    assert text.encode("latin-1", READABLE) == b"5 \xb1 1 - 2\xd7, \xe9, ?, \\xe9"
    assert text.encode("utf-8", READABLE).decode() == "5 ± 1 – 2×, é, 図, \\xe9"


def test_json_reads_back_the_same_on_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal's encoding lacks is escaped in JSON, not replaced."""
    content = {"name": "é 図 ±", "file": "caf\udce9"}
    for encoding in ("utf-8", "ascii", "latin-1", "ANSI_X3.4-1968"):
        with open(os.devnull, "w", encoding=encoding) as stream:  # noqa: PTH123
            monkeypatch.setattr("sys.stdout", stream)
            text = dump(content)
            monkeypatch.undo()
        assert json.loads(text.encode(encoding).decode(encoding)) == content


def test_a_log_takes_any_name(tmp_path: Path) -> None:
    """A line of the log that names a file that is not UTF-8 is kept, and is JSON in UTF-8."""
    with logged(tmp_path / "log.jsonl", lambda line: None):
        __import__("logging").getLogger("tuner").info("caf\udce9 é")
    line = (tmp_path / "log.jsonl").read_bytes().decode("utf-8")
    assert json.loads(line)["message"] == "caf\udce9 é"


def test_a_run_in_a_folder_with_an_odd_name(job_file: Path, tmp_path: Path) -> None:
    """Results of a run in a folder that is not UTF-8 are shown, written and taken home."""
    run = os.fsdecode(os.path.join(os.fsencode(tmp_path), LATIN))  # noqa: PTH118
    a_run(job_file, Path(run))
    (Path(run) / "inputs").mkdir()
    for arguments in (
        ("best", run, "--json"),
        ("export", run, "--out", f"{run}/p.json"),
        ("export", run, "--format", "script", "--out", f"{run}/s.py"),
    ):
        code, complained = shell("", *map(os.fsencode, arguments), PYTHONIOENCODING="ascii")
        assert code == 0, complained
    compile((Path(run) / "s.py").read_text(encoding="utf-8"), "s.py", "exec")
    json.loads((Path(run) / "p.json").read_text(encoding="utf-8"))


def test_a_run_is_not_begun_in_a_folder_with_an_odd_name(job_file: Path, tmp_path: Path) -> None:
    """A folder whose name cannot be written down is refused for a new run, before any work."""
    name = os.path.join(os.fsencode(tmp_path), LATIN)  # noqa: PTH118
    code, complained = shell("", "launch", os.fsencode(job_file), "--run-dir", name)
    assert code == 2 and b"is not UTF-8" in complained and b"Traceback" not in complained
    assert not os.path.exists(name)  # noqa: PTH110
