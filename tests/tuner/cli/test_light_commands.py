"""Commands that only list, look or refuse answer at once: they import nothing heavy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run

ROOT = Path(__file__).parents[3]

#: What takes a second or more to import, or is needed by a few commands only.
HEAVY = {
    *("torch", "torchvision", "ray", "scipy", "skimage", "cv2", "pandas", "matplotlib"),
    *("plotly", "pyarrow", "sqlalchemy", "optuna", "onnxruntime", "tifffile"),
}
#: Runs the commands of a JSON list one after the other; gives exit code, errors and what each
#: imported first.
PROGRAM = """
import contextlib, io, json, sys
from tuner.cli import main as cli
heavy, known, found = set(sys.argv[1].split()), set(), []
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["nst-tuner", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as leaving:
            code = leaving.code or 0
    new = sorted((heavy & set(sys.modules)) - known)
    known |= set(new)
    found.append([code, err.getvalue(), new])
print(json.dumps(found))
"""


def carried_out(
    commands: list[list[object]], heavy: set[str] = HEAVY
) -> list[tuple[int, str, list[str]]]:
    """(exit code, standard error, heavy modules that came with it) of each command."""
    asked = json.dumps([[str(word) for word in words] for words in commands])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(heavy)],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return [(code, err, new) for code, err, new in json.loads(done.stdout)]


def test_lists_import_nothing_heavy() -> None:
    """Lists of weights, networks, layers, spaces, presets and metrics load no torch or Optuna."""
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
    for words, (code, err, new) in zip(commands, carried_out(commands), strict=True):
        assert (code, new) == (0, []), (words, err)


@pytest.fixture
def refused(tmp_path: Path, pictures: Path, job_file: Path) -> list[list[object]]:
    """Commands that are wrong in one thing each."""
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
        ["launch", job_file],
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
        ["suggest", "--content", "no.png", "--style", style],
        ["suggest", *on, "--run", empty],
        ["weights", "fetch", "vgg"],
        ["extractors", "vgg"],
        ["spaces", "nosuch"],
        ["presets", "nosuch"],
        ["status", "--bogus"],
        ["nosuch"],
    ]


def test_refusals_import_nothing_heavy(refused: list[list[object]]) -> None:
    """Whatever is refused for its options, paths, pictures or job is refused before torch loads."""
    for words, (code, err, new) in zip(refused, carried_out(refused), strict=True):
        assert (code, new) == (2, []), (words, err)
        assert err.startswith("error: "), (words, err)
        assert "╭" not in err and "Traceback" not in err


def test_a_run_is_looked_at_without_torch(tmp_path: Path, pictures: Path) -> None:
    """Looking at a run, and refusing to change it, loads Optuna but neither torch nor pandas."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    commands: list[list[object]] = [
        ["status", run],
        ["best", run, "--json"],
        ["prefer", run, "--result"],
        ["export", run, "--out", tmp_path / "p.json"],
        ["resume", run, "--set", "size_px=128"],
        ["resume", run, "--address", "nowhere"],
    ]
    left = carried_out(commands, HEAVY - {"optuna", "scipy", "sqlalchemy"})
    for words, (code, err, new) in zip(commands, left, strict=True):
        assert (code, new) == (2 if words[0] == "resume" else 0, []), (words, err)
