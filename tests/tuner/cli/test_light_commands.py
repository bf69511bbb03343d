"""Commands that only list, show or refuse something are fast: they import nothing heavy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run

ROOT = Path(__file__).parents[3]

#: Libraries that take a second or more to import, or that only a few commands need.
HEAVY = {
    *("torch", "torchvision", "ray", "scipy", "skimage", "cv2", "pandas", "matplotlib"),
    *("plotly", "pyarrow", "sqlalchemy", "optuna", "onnxruntime", "tifffile"),
}
#: Runs a JSON list of commands in one process. Prints, for each command, the exit code, standard
#: error and the heavy libraries that it was the first to import.
PROGRAM = """
import contextlib, io, json, sys
from tuner.cli import main as cli
heavy, before, results = set(sys.argv[1].split()), set(), []
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["nst-tuner", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
    new = sorted((heavy & set(sys.modules)) - before)
    before |= set(new)
    results.append([code, err.getvalue(), new])
print(json.dumps(results))
"""


def run_commands(
    commands: list[list[object]], heavy: set[str] = HEAVY
) -> list[tuple[int, str, list[str]]]:
    """Return (exit code, standard error, newly imported heavy libraries) of each command."""
    commands_json = json.dumps(
        [[str(argument) for argument in arguments] for arguments in commands]
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(heavy)],
        input=commands_json,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return [(code, err, new) for code, err, new in json.loads(done.stdout)]


def test_lists_import_nothing_heavy() -> None:
    """Commands that list built-in things import no heavy library."""
    commands: list[list[object]] = [
        ["--version"],
        ["--help"],
        ["launch", "--help"],
        ["weights"],
        ["weights", "--json"],
        ["extractors"],
        ["extractors", "mobilenet_v2", "--json"],
        ["spaces"],
        ["spaces", "gram"],
        ["presets"],
        ["presets", "adam-1000"],
        ["metrics"],
        ["metrics", "--json"],
    ]
    for arguments, (code, err, new) in zip(commands, run_commands(commands), strict=True):
        assert (code, new) == (0, []), (arguments, err)


@pytest.fixture
def refused(tmp_path: Path, pictures: Path, job_file: Path) -> list[list[object]]:
    """Commands that are refused, each for one reason."""
    empty, taken = tmp_path / "empty", tmp_path / "taken"
    for folder in (empty, taken):
        folder.mkdir()
    (taken / "file").touch()
    text = job_file.read_text()
    (tmp_path / "space.yaml").write_text(f"{text}space: nosuchspace\n")
    (tmp_path / "picture.yaml").write_text(text.replace("style.png", "no.png"))
    (tmp_path / "value.yaml").write_text(text.replace("min_steps: 2", "min_steps: two"))
    (tmp_path / "weights.yaml").write_text(f"{text}weights: {{vgg: w.pth}}\n")
    (tmp_path / "warm.yaml").write_text(text.replace("seed: 3", "seed: 3\n  warm_start: no-run"))
    (tmp_path / "no.jpg").write_text("no picture")
    new, out = tmp_path / "new", tmp_path / "o.png"
    content, style = pictures / "content.png", pictures / "style.png"
    on = ["--content", content, "--style", style]
    jobs = ("space", "picture", "value", "weights", "warm", "missing")
    return [
        *([command, empty] for command in ("status", "best", "report", "dashboard", "prefer")),
        *([command, tmp_path / "no"] for command in ("resume", "doctor", "export")),
        *(["launch", tmp_path / f"{name}.yaml", "--run-dir", new] for name in jobs),
        ["launch", job_file, "--run-dir", taken],
        ["launch", job_file, "--run-dir", new, "--set", "size_px=big"],
        ["launch", job_file, "--run-dir", new, "--address", "nowhere"],
        ["demo", "--out", taken],
        ["stylize", *on, "--out", out],
        ["stylize", *on, "--out", out, "--preset", "nosuch"],
        ["stylize", *on, "--out", out, "--set", "lr=fast"],
        ["stylize", *on, "--out", out, "--set", "lr=0.1", "--size-px", "many"],
        ["stylize", *on, "--out", tmp_path / "o.xyz", "--set", "lr=0.1"],
        ["stylize", *on, "--out", tmp_path / "no" / "o.png", "--set", "lr=0.1"],
        ["stylize", "--content", empty, "--style", style, "--out", out, "-p", "adam-1000"],
        ["stylize", "--content", tmp_path / "no.mp4", "--style", style, "--out", out, "-p", "x"],
        ["stylize", "--content", tmp_path / "no.jpg", "--style", style, "--out", out, "-p", "x"],
        ["stylize", "--content", content, "--style", "no.png:2@m.png", "--out", out, "-p", "x"],
        ["reference", "--content", "no.png", "--style", style, "--out", out],
        ["reference", *on, "--out", tmp_path / "o.xyz"],
        ["score", "no.png", "--reference", content],
        ["score", content, "--reference", content, "--metric", "lpip"],
        ["metrics", tmp_path / "space.yaml"],
        ["metrics", "--content", content],
        ["metrics", "--content", content, "--style", style, "--reference", "no.png"],
        ["weights", "fetch", "vgg"],
        ["extractors", "vgg"],
        ["spaces", "nosuch"],
        ["presets", "nosuch"],
        ["status", "--bogus"],
        ["nosuch"],
    ]


def test_refusals_import_nothing_heavy(refused: list[list[object]]) -> None:
    """A command with a bad option, path, picture or job is refused before torch is loaded."""
    for arguments, (code, err, new) in zip(refused, run_commands(refused), strict=True):
        assert (code, new) == (2, []), (arguments, err)
        assert err.startswith("error: "), (arguments, err)
        assert "╭" not in err and "Traceback" not in err


def test_showing_a_run_imports_neither_torch_nor_pandas(tmp_path: Path, pictures: Path) -> None:
    """Commands that show a run, or refuse to change it, import Optuna but no torch or pandas."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    commands: list[list[object]] = [
        ["status", run],
        ["best", run, "--json"],
        ["prefer", run, "--result"],
        ["export", run, "--out", tmp_path / "p.json"],
        ["resume", run, "--set", "size_px=128"],
        ["resume", run, "--address", "nowhere"],
    ]
    results = run_commands(commands, HEAVY - {"optuna", "scipy", "sqlalchemy"})
    for arguments, (code, err, new) in zip(commands, results, strict=True):
        assert (code, new) == (2 if arguments[0] == "resume" else 0, []), (arguments, err)
