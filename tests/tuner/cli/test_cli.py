"""The command line as a person meets it: every class of bad input, and what pipes."""

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from nst_core.metrics.registry import METRICS
from search_spaces import CATALOGUE
from tests.tuner.helpers import Recorder, nst_tuner
from tuner.job.load import load_job
from tuner.job.objective import COSTS
from tuner.job.spec import JobSpec
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.terminal.console import PlainConsole
from tuner.terminal.metric_tables import scores_table
from tuner.terminal.run_tables import best_table
from tuner.terminal.tables import space_table

COMMANDS = (
    *("launch", "resume", "demo", "status", "best", "export", "stylize", "reference", "score"),
    *("metrics", "extractors", "weights", "weights fetch", "spaces", "presets", "doctor"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("cli")
    pair = {key: str(pictures / f"{key}.png") for key in ("content", "style", "reference")}
    settings = {"size_px": 64, "halving": {"min_steps": 2, "max_steps": 4}, "search": {"trials": 3}}
    (folder / "job.yaml").write_text(json.dumps({"name": "[red]x", "pairs": [pair], **settings}))
    job, space = load_job(folder / "job.yaml")
    run_job(job, space, folder / "run", InlineBackend(), callback=Recorder(), say=print)
    return folder / "run"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    """Every command explains itself with an example and exit code 0."""
    done = nst_tuner(*command.split(), "--help")
    assert done.returncode == 0
    assert f"nst-tuner {command}" in done.stdout
    assert "Example" in done.stdout


@pytest.mark.parametrize("command", ["status", "best"])
def test_looking_at_a_run_is_quick_and_light(run: Path, command: str) -> None:
    """status and best load neither torch nor Ray, and their JSON is all there is on stdout."""
    code = (
        "import sys; from tuner.cli import main as cli\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'torchvision', 'skimage'} & set(sys.modules)\n"
        "print(heavy or 'light', file=sys.stderr)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, command, str(run), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == "light"
    assert json.loads(done.stdout)["run"] == "[red]x"
    assert time.monotonic() - started < 20  # a bound against hanging, not a measurement


def test_tables_show_names_as_they_are(run: Path) -> None:
    """Markup in a job's name is text, not markup; presets and baselines are in the table."""
    done = nst_tuner("best", run)
    assert done.returncode == 0
    assert "[red]x" in done.stdout
    for part in ("content", "blurred", "adam-1000", "vs"):
        assert part in done.stdout


def test_tables_fit_a_terminal(run: Path) -> None:
    """80 columns are enough for every metric, dear ones too, and nothing is cut off."""
    results = load_results(run)
    for scores in results.baselines.values():
        scores["dists"] = 0.12345  # type: ignore[index]
    shown = io.StringIO()
    Console(file=shown, width=80).print(best_table(results, 5))
    Console(file=shown, width=80).print(scores_table(results.baselines))
    assert "…" not in shown.getvalue()
    assert all(shown.getvalue().count(metric) >= 2 for metric in METRICS)


@pytest.mark.parametrize("count", [1, 2])
def test_tables_with_costs_fit_a_terminal(run: Path, count: int) -> None:
    """Costs that a run asks for take the room of metrics that it does not ask for."""
    results = load_results(run)
    bounds = dict.fromkeys(list(COSTS)[:count], "<= 100")
    job = JobSpec.model_validate({**results.job.model_dump(), "constraints": bounds})
    shown = io.StringIO()
    Console(file=shown, width=80).print(best_table(replace(results, job=job), 12))
    assert "…" not in shown.getvalue()
    headings = shown.getvalue().splitlines()[1]
    assert "s per" in headings and "lpips" in headings and "color" in headings


def test_export_stylize_score(run: Path, pictures: Path, tmp_path: Path) -> None:
    """A preset goes out to a file and back onto a picture, whose score is the trial's."""
    assert nst_tuner("export", run, "--out", tmp_path / "p.json", "--trial", 2).returncode == 0
    done = nst_tuner(
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--preset", tmp_path / "p.json", "--out", tmp_path / "o.png"),
    )
    assert done.returncode == 0, done.stderr
    done = nst_tuner(
        "score", tmp_path / "o.png", "--reference", pictures / "reference.png", "--json"
    )
    scores = json.loads(done.stdout)["scores"]
    assert "scaled to 64x43" in done.stderr
    best = json.loads(nst_tuner("best", run, "--json").stdout)["trials"]
    (trial,) = [t for t in best if t["trial"] == 2]
    assert scores["lpips"] == pytest.approx(trial["scores"]["lpips"], rel=0.02)
    embedded = Image.open(tmp_path / "o.png").text["nst-tuner-preset"]  # type: ignore[attr-defined]
    assert json.loads(embedded)["provenance"]["trial"] == 2


def bad_inputs(run: Path, pictures: Path, folder: Path) -> dict[str, tuple[list[object], str]]:
    content, style = pictures / "content.png", pictures / "style.png"
    job = {
        "name": "x",
        "pairs": [{"content": str(content), "style": str(style), "reference": str(content)}],
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    (folder / "bad.yaml").write_text(json.dumps({**job, "halvin": 1}))
    (folder / "text.jpg").write_text("no picture")
    (folder / "future.json").write_text(json.dumps({"schema_version": 99, "config": {}}))
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "large.json").write_text(" " * 1_000_001)
    out = ["--out", folder / "o.png"]
    apply: list[object] = ["stylize", "--style", style, *out]
    launch: list[object] = ["launch", folder / "job.yaml", "--run-dir"]
    settings: list[object] = [*apply, "--content", content]
    reference: list[object] = ["reference", *settings[1:]]
    return {
        "missing file": ([*apply, "--content", "no.png", "--set", "lr=1"], "no such image"),
        "text as jpg": (
            [*apply, "--content", folder / "text.jpg", "--set", "lr=1"],
            "not a picture",
        ),
        "1x1": ([*apply, "--content", folder / "tiny.png", "--set", "lr=1"], "too small"),
        "20000x20000": ([*apply, "--content", folder / "huge.png", "--set", "lr=1"], "megapixels"),
        "animated": ([*apply, "--content", folder / "moving.gif", "--set", "lr=1"], "2 frames"),
        "no settings": (settings, "--preset"),
        "unknown setting": ([*settings, "--set", "lrr=1"], "did you mean `lr`"),
        "unknown layer": ([*settings, "--set", "style_layers.relu9_1=1"], "no such layer"),
        "unknown preset": ([*settings, "--preset", "adam-100"], "did you mean `adam-1000`"),
        "future preset": ([*settings, "--preset", folder / "future.json"], "newer than"),
        "bad weight": ([*settings, "--style", f"{style}:-1", "--set", "lr=1"], "above 0"),
        "bad weights file": (
            [*settings, "--set", "lr=1", "--weights", f"vgg16={style}"],
            "neither a safetensors",
        ),
        "unknown suffix": (
            ["stylize", "--content", content, "--style", style, "--out", "o.xyz", "--set", "lr=1"],
            "cannot save as",
        ),
        "missing folder": (
            ["score", content, "--reference", folder / "none" / "r.png"],
            "no such image",
        ),
        "unknown metric": (
            ["score", content, "--reference", content, "--metric", "lpip"],
            "did you mean `lpips`",
        ),
        "no content": (
            ["score", content, "--reference", content, "--metric", "edges"],
            "give --content",
        ),
        "half a pair": (["metrics", "--content", content, "--style", style], "--reference"),
        "two kinds of pairs": (["metrics", folder / "job.yaml", "--style", style], "either"),
        "other frame": (
            ["metrics", "--content", content, "--style", style, "--reference", style],
            "another shape",
        ),
        "no objective": ([*launch, folder / "r", "--set", "objective=edges"], "doing nothing"),
        "unknown key": (["launch", folder / "bad.yaml", "--run-dir", folder / "r"], "halving"),
        "negative trials": ([*launch, folder / "r", "--set", "search.trials=-4"], "got -4"),
        "no job": (["launch", "no.yaml", "--run-dir", folder / "r"], "no such file"),
        "run exists": ([*launch, run], "resume"),
        "unwritable": ([*launch, "/proc/nowhere/run"], "cannot be written"),
        "no run": (["status", folder], "not a run directory"),
        "no folder": (["best", folder / "none"], "no such run"),
        "no trial": (["export", run, "--out", folder / "p.json", "--trial", 99], "trial 99"),
        "unwritable image": (
            [*apply[:3], "--out", "/proc/o.png", "--content", content, "--set", "lr=1"],
            "cannot be written",
        ),
        "unwritable preset": (["export", run, "--out", "/proc/p.json"], "cannot be written"),
        "unknown command": (["bets"], "best"),
        "unknown option": (["best", run, "--tpo", 3], "--top"),
        "too few styles": ([*launch, folder / "r", "--set", "space=blend"], "`pairs.0.style`"),
        "unknown space": (["spaces", "grm"], "did you mean `gram`"),
        "unknown weights": (["weights", "fetch", "vgg-16"], "did you mean `vgg16`"),
        "unknown network": (["extractors", "vg16"], "did you mean `vgg16`"),
        "unknown source": ([*reference, "--from", "long-rn"], "no such source"),
        "adain without files": ([*reference, "--from", "adain"], "encoder and decoder"),
        "odd bits": ([*settings, "--set", "lr=1", "--bits", 12], "8 or 16"),
        "deep jpeg": (
            [*apply[:3], "--out", folder / "o.jpg", *settings[5:], "--set", "lr=1", "--bits", 16],
            "8 bits a channel",
        ),
        "animation as png": (
            [*settings, "--set", "lr=1", "--gif", folder / "a.png"],
            "cannot save an animation",
        ),
        "graph as text": ([*settings, "--set", "lr=1", "--plot", folder / "l.txt"], "cannot plot"),
        "ray client": (
            [*launch, folder / "r", "--address", "ray://127.0.0.1:10001"],
            "expected HOST:PORT",
        ),
        "long space": ([*launch, folder / "r", "--set", f"space={'x' * 300}"], "nor a file"),
        "long weights": (
            [*settings, "--set", "lr=1", "--weights", f"vgg16={'x' * 300}"],
            "no such weights",
        ),
        "long run": (["status", "x" * 300], "no such run"),
        "long new run": ([*launch, folder / ("x" * 300)], "File name too long"),
        "long storage": ([*launch, folder / "r", "--set", f"storage={'x' * 300}"], "storage"),
        "large preset": ([*settings, "--preset", folder / "large.json"], "1,000,000 bytes"),
        "large job": (["launch", folder / "large.json", "--run-dir", "r"], "1,000,000 bytes"),
        "no mask": ([*settings, "--style", f"{style}@no.png", "--set", "lr=1"], "no such image"),
        "aspect": (
            [*launch, folder / "r", "--set", f"pairs.0.reference={style}"],
            "another shape",
        ),
    }


def test_bad_input_gets_one_clear_error(run: Path, pictures: Path, tmp_path: Path) -> None:
    """Exit code 2, what is wrong on stderr, no traceback, nothing written, for each class."""
    cases = bad_inputs(run, pictures, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for name, (arguments, expected) in cases.items():
        done = nst_tuner(*arguments)
        assert done.returncode == 2, (name, done.stderr)
        assert expected in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr, name
        assert done.stdout == "", name
    assert sorted(tmp_path.rglob("*")) == before


def test_no_weights_and_no_network(pictures: Path, tmp_path: Path) -> None:
    """Without weights and network a command says what was tried and what to do, exit code 2."""
    done = nst_tuner(
        *("score", pictures / "content.png", "--reference", pictures / "reference.png"),
        NST_TUNER_CACHE=str(tmp_path),
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_CONFIG_FILE=os.devnull,
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert done.returncode == 2
    assert "What to do" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_commands_a_terminal() -> None:
    """Control characters in what others wrote are left out; colours and lines of ours stay."""
    shown = io.StringIO()
    console = PlainConsole(file=shown, width=80, force_terminal=True, color_system="standard")
    console.print(
        "\x1b]0;title\x07 \x9b31m one\ntwo\x08", style="red", markup=False, highlight=False
    )
    assert shown.getvalue() == "\x1b[31m]0;title 31m one\x1b[0m\n\x1b[31mtwo\x1b[0m\n"


def test_divergence_is_exit_code_1(pictures: Path, tmp_path: Path) -> None:
    """A stylization that explodes is failed work: exit code 1, and no file."""
    done = nst_tuner(
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--out", tmp_path / "o.png", "--set", "lr=10000", "--set", "clamp=save"),
        *("--set", "steps=30", "--size-px", 64),
    )
    assert done.returncode == 1
    assert "smaller learning rate" in done.stderr
    assert not list(tmp_path.iterdir())


def test_doctor() -> None:
    """doctor checks every part and says so in JSON too; a dead address is a failed check."""
    done = nst_tuner("doctor", "--json")
    names = [check["name"] for check in json.loads(done.stdout)["checks"]]
    assert names == ["platform", "python", "torch", "gpu", "ray", "weights", "disk"]
    assert done.returncode == 0
    assert nst_tuner("doctor", "--address", "127.0.0.1:9").returncode == 1


def test_a_spaces_json_is_a_space_file(tmp_path: Path) -> None:
    """What `spaces NAME --json` prints can be changed and used as a space of one's own."""
    done = nst_tuner("spaces", "optimizers", "--json")
    (tmp_path / "mine.yaml").write_text(done.stdout, encoding="utf-8")
    again = nst_tuner("spaces", tmp_path / "mine.yaml", "--json")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_spaces_fit_a_terminal(columns: int) -> None:
    """Tables of spaces fit the terminal, with every parameter's name in full."""
    for name, space in CATALOGUE.items():
        drawn = io.StringIO()
        Console(file=drawn, width=columns).print(space_table(space))
        assert max(map(len, drawn.getvalue().splitlines())) <= columns, name
        assert all(parameter in drawn.getvalue() for parameter in space.params), name


def test_lists_of_what_there_is() -> None:
    """weights, spaces and presets list what there is and show one of it."""
    for arguments, part in (
        (("weights",), "vgg16"),
        (("spaces",), "gram"),
        (("spaces",), "Which layers of VGG16 to read"),
        (("spaces", "gram"), "log10_style_content"),
        (("spaces", "layers"), "style_scheme is explicit and style_set is not relu1_1-2_1"),
        (("spaces", "gram"), "initial point 3"),
        (("spaces", "report-tv-amp"), "content_layers=(conv4_2:1)"),
        (("spaces", "--json"), '"gram-wide": {'),
        (("presets",), "tv-amp"),
        (("presets", "--json"), '"tv-amp": "'),
        (("presets", "tv-amp"), "0-255"),
        (("presets", "tv-amp", "--json"), '"schema_version": 1'),
    ):
        done = nst_tuner(*arguments)
        assert done.returncode == 0, done.stderr
        assert part in done.stdout
