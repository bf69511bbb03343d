"""Bad input of every kind: exit code 2, one clear message, and nothing written."""

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import nst_tuner

#: Kind of input -> arguments of a command, and a part of its message.
Cases = dict[str, tuple[list[object], str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A small finished run."""
    return made_run(tmp_path_factory.mktemp("bad-input") / "run", pictures, trials=3, presets=0)


@pytest.fixture
def stylize(pictures: Path, tmp_path: Path) -> list[object]:
    """A stylize command without settings."""
    inputs = ["--content", pictures / "content.png", "--style", pictures / "style.png"]
    return ["stylize", *inputs, "--out", tmp_path / "o.png"]


def check_refused(cases: Cases, folder: Path) -> None:
    """Assert that every command is refused with its message and writes nothing."""
    before = sorted(folder.rglob("*"))
    for kind, (arguments, message) in cases.items():
        done = nst_tuner(*arguments)
        assert done.returncode == 2, (kind, done.stderr)
        assert message in done.stderr, (kind, done.stderr)
        assert "Traceback" not in done.stderr, kind
        assert done.stdout == "", kind
    assert sorted(folder.rglob("*")) == before


def test_bad_pictures_are_refused(pictures: Path, tmp_path: Path, stylize: list[object]) -> None:
    """Contents, masks and pairs that cannot be used are refused."""
    content, style = pictures / "content.png", pictures / "style.png"
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    settings = [*stylize[3:], "--set", "lr=1"]
    missing, score = tmp_path / "none" / "r.png", ["score", content, "--reference", content]
    pair = ["metrics", "--content", content, "--style", style]
    cases: Cases = {
        "missing file": (["stylize", "--content", "no.png", *settings], "no such image"),
        "missing folder": ([*score[:3], missing], "no such image"),
        "missing mask": ([*stylize, "--style", f"{style}@no.png", *settings[-2:]], "no such image"),
        "two kinds of pairs": (["metrics", "job.yaml", "--style", style], "either"),
        "half a pair": (pair, "--reference"),
        "other shape": ([*pair, "--reference", style], "another shape"),
        "unknown metric": ([*score, "--metric", "lpip"], "did you mean `lpips`"),
        "no content": ([*score, "--metric", "edges"], "give --content"),
    }
    for file, message in (
        ("text.jpg", "not a picture"),
        ("tiny.png", "too small"),
        ("huge.png", "megapixels"),
        ("moving.gif", "2 frames"),
    ):
        cases[file] = (["stylize", "--content", tmp_path / file, *settings], message)
    check_refused(cases, tmp_path)


def test_bad_settings_are_refused(pictures: Path, tmp_path: Path, stylize: list[object]) -> None:
    """Presets, settings, weights and references that cannot be used are refused."""
    style = pictures / "style.png"
    (tmp_path / "future.json").write_text(json.dumps({"schema_version": 99, "config": {}}))
    (tmp_path / "large.json").write_text(" " * 1_000_001)
    reference, weights = ["reference", *stylize[1:]], [*stylize, "--set", "lr=1", "--weights"]
    cases: Cases = {
        "no settings": (stylize, "--preset"),
        "unknown setting": ([*stylize, "--set", "lrr=1"], "did you mean `lr`"),
        "unknown layer": ([*stylize, "--set", "style_layers.relu9_1=1"], "no such layer"),
        "unknown preset": ([*stylize, "--preset", "adam-100"], "did you mean `adam-1000`"),
        "newer preset": ([*stylize, "--preset", tmp_path / "future.json"], "newer than"),
        "large preset": ([*stylize, "--preset", tmp_path / "large.json"], "1,000,000 bytes"),
        "bad weight": ([*stylize, "--style", f"{style}:-1", "--set", "lr=1"], "above 0"),
        "bad weights file": ([*weights, f"vgg16={style}"], "neither a safetensors"),
        "long weights": ([*weights, f"vgg16={'x' * 300}"], "no such weights"),
        "unknown source": ([*reference, "--from", "long-rn"], "no such source"),
        "adain without files": ([*reference, "--from", "adain"], "an encoder and a decoder"),
    }
    check_refused(cases, tmp_path)


def test_bad_outputs_are_refused(run: Path, tmp_path: Path, stylize: list[object]) -> None:
    """Outputs of a wrong format, or in a folder that cannot be written, are refused."""
    inputs = [*stylize[:5], "--set", "lr=1"]
    settings = [*stylize, "--set", "lr=1"]
    cases: Cases = {
        "unknown suffix": ([*inputs, "--out", "o.xyz"], "cannot save as"),
        "unwritable image": ([*inputs, "--out", "/proc/o.png"], "cannot be written"),
        "unwritable preset": (["export", run, "--out", "/proc/p.json"], "cannot be written"),
        "odd bits": ([*settings, "--bits", 12], "8 or 16"),
        "16-bit jpeg": ([*inputs, "--out", tmp_path / "o.jpg", "--bits", 16], "8 bits a channel"),
        "animation as png": ([*settings, "--gif", tmp_path / "a.png"], "cannot save an animation"),
        "plot as text": ([*settings, "--plot", tmp_path / "l.txt"], "cannot plot"),
    }
    check_refused(cases, tmp_path)


def test_bad_jobs_are_refused(run: Path, pictures: Path, tmp_path: Path) -> None:
    """Jobs and run directories that cannot be used are refused."""
    content, style = pictures / "content.png", pictures / "style.png"
    pair = {"content": str(content), "style": str(style), "reference": str(content)}
    job = {"name": "x", "pairs": [pair]}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    (tmp_path / "bad.yaml").write_text(json.dumps({**job, "halvin": 1}))
    (tmp_path / "large.json").write_text(" " * 1_000_001)
    launch = ["launch", tmp_path / "job.yaml", "--run-dir"]
    set_ = [*launch, tmp_path / "r", "--set"]
    run_dir = ["--run-dir", tmp_path / "r"]
    cases: Cases = {
        "no objective": ([*set_, "objective=edges"], "doing nothing"),
        "negative trials": ([*set_, "search.trials=-4"], "got -4"),
        "too few styles": ([*set_, "space=blend"], "`pairs.0.style`"),
        "long space": ([*set_, f"space={'x' * 300}"], "nor a file"),
        "long storage": ([*set_, f"storage={'x' * 300}"], "storage"),
        "other shape": ([*set_, f"pairs.0.reference={style}"], "another shape"),
        "unknown key": (["launch", tmp_path / "bad.yaml", *run_dir], "halving"),
        "no job": (["launch", "no.yaml", *run_dir], "no such file"),
        "large job": (["launch", tmp_path / "large.json", *run_dir], "1,000,000 bytes"),
        "ray client": (
            [*launch, tmp_path / "r", "--address", "ray://127.0.0.1:10001"],
            "HOST:PORT",
        ),
        "run exists": ([*launch, run], "resume"),
        "unwritable": ([*launch, "/proc/nowhere/run"], "cannot be written"),
        "long new run": ([*launch, tmp_path / ("x" * 300)], "File name too long"),
        "no run": (["status", tmp_path], "not a run directory"),
        "no folder": (["best", tmp_path / "none"], "no such run"),
        "long run": (["status", "x" * 300], "no such run"),
        "no trial": (["export", run, "--out", tmp_path / "p.json", "--trial", 99], "trial 99"),
    }
    check_refused(cases, tmp_path)


def test_bad_names_are_refused(run: Path, tmp_path: Path) -> None:
    """An unknown command, option or name is refused with the nearest known one."""
    cases: Cases = {
        "unknown command": (["bets"], "best"),
        "unknown option": (["best", run, "--tpo", 3], "--top"),
        "unknown space": (["spaces", "grm"], "did you mean `gram`"),
        "unknown weights": (["weights", "fetch", "vgg-16"], "did you mean `vgg16`"),
        "unknown network": (["extractors", "vg16"], "did you mean `vgg16`"),
    }
    check_refused(cases, tmp_path)


def test_a_wrong_switch_of_cuda_graphs_is_refused(
    job_file: Path, run: Path, tmp_path: Path, stylize: list[object]
) -> None:
    """An unknown value of NST_TUNER_CUDA_GRAPHS ends a command before any work, on CPUs too."""
    commands: list[list[object]] = [
        ["launch", job_file, "--run-dir", tmp_path / "new"],
        ["resume", run],
        [*stylize, "--set", "steps=1", "--size-px", 48],
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments in commands:
        done = nst_tuner(*arguments, NST_TUNER_CUDA_GRAPHS="on")
        assert done.returncode == 2, (arguments, done.stderr)
        assert "NST_TUNER_CUDA_GRAPHS is 'on'; expected 1" in done.stderr, arguments
    assert sorted(tmp_path.rglob("*")) == before
