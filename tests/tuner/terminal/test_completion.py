"""Help, usage errors and shell completion of the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import nst_tuner
from tuner.terminal import completion

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "command", ["", "launch", "best", "stylize", "weights", "weights fetch", "doctor"]
)
def test_flags_have_no_value_in_help(command: str) -> None:
    """Help shows no value for a flag."""
    done = nst_tuner(*command.split(), "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout and "bool" not in done.stdout


def test_names_are_completed() -> None:
    """The names of presets, spaces, networks, weights and metrics are completed."""
    assert "adam-1000" in completion.presets("adam")
    assert completion.spaces("gram")[0] == "gram"
    assert completion.networks("vgg") == ["vgg16", "vgg19"]
    assert completion.weights("lp") == ["lpips-alex"]
    assert completion.metrics("") and completion.metrics("zzz") == []


def test_run_directories_are_completed(tmp_path: Path, pictures: Path) -> None:
    """Completion offers run directories; if a folder has none, its subfolders."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    assert completion.runs(f"{tmp_path}/ru") == [f"{tmp_path}/runs/"]
    run = made_run(tmp_path / "runs" / "cafe", pictures, trials=2)
    assert completion.runs(f"{tmp_path}/runs/") == [str(run)]
    assert completion.runs(f"{tmp_path}/nowhere/x") == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [("presets adam-1", "adam-1000"), ("launch --addr", "--address"), ("stat", "status")],
)
def test_bash_completion_loads_nothing_heavy(command: str, expected: str) -> None:
    """Completion in bash offers names and options, and its process imports nothing heavy."""
    line = f"nst-tuner {command}"
    variables = {
        "_NST_TUNER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    code = (
        "import sys; from tuner.cli import main as cli; sys.argv = ['nst-tuner']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "sys.exit('heavy' if {'torch', 'optuna', 'ray'} & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert expected in done.stdout.split()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("status --bogus", "error: no such option: --bogus"),
        ("nosuch", "error: no such command 'nosuch'"),
        ("status", "error: missing argument 'DIR'"),
        ("best . --top 0", "error: invalid value for '--top': expected at least 1"),
    ],
)
def test_wrong_usage_is_a_plain_error(command: str, message: str) -> None:
    """A wrong option gives three lines: the error, the usage, and how to get help."""
    done = nst_tuner(*command.split())
    assert done.returncode == 2 and done.stdout == ""
    first, usage, hint = done.stderr.strip().splitlines()
    assert first.startswith(message)
    assert usage.startswith("Usage: nst-tuner") and "--help` explains" in hint


def test_no_command_shows_the_help() -> None:
    """Without a command, nst-tuner prints its help and ends with exit code 2."""
    done = nst_tuner()
    assert done.returncode == 2 and "launch" in done.stdout
