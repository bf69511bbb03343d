"""The command line: help, tables, JSON, exit codes, and every kind of bad input."""

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

from nst_core.metrics.registry import DEFAULT_METRICS, METRICS, ON_REQUEST
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
    *(
        "launch",
        "resume",
        "demo",
        "render",
        "status",
        "best",
        "export",
        "stylize",
        "reference",
        "score",
    ),
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
    """The help of every command has an example."""
    done = nst_tuner(*command.split(), "--help")
    assert done.returncode == 0
    assert f"nst-tuner {command}" in done.stdout
    assert "Example" in done.stdout


@pytest.mark.parametrize("command", ["status", "best"])
def test_showing_a_run_loads_nothing_heavy(run: Path, command: str) -> None:
    """status and best load neither torch nor Ray, and print nothing but JSON."""
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


def test_names_are_not_markup(run: Path) -> None:
    """A job's name with markup is printed as it is; the table has presets and baselines."""
    done = nst_tuner("best", run)
    assert done.returncode == 0
    assert "[red]x" in done.stdout
    for part in ("content", "blurred", "adam-1000", "vs"):
        assert part in done.stdout


@pytest.mark.parametrize("asked", ON_REQUEST)
def test_tables_fit_a_terminal(run: Path, asked: str) -> None:
    """A table with all default metrics and one more fits into 80 columns, no cell truncated."""
    results = load_results(run)
    for scores in results.baselines.values():
        scores[asked] = 0.12345  # type: ignore[index]
    shown = io.StringIO()
    Console(file=shown, width=80).print(best_table(results, 5))
    Console(file=shown, width=80).print(scores_table(results.baselines))
    assert "…" not in shown.getvalue()
    labels = [METRICS[metric].label for metric in (*DEFAULT_METRICS, asked)]
    assert all(shown.getvalue().count(label) >= 2 for label in labels)


@pytest.mark.parametrize("count", [1, 2])
def test_tables_with_costs_fit_a_terminal(run: Path, count: int) -> None:
    """Costs that a run asks for replace metrics that it does not ask for."""
    results = load_results(run)
    bounds = dict.fromkeys(list(COSTS)[:count], "<= 100")
    job = JobSpec.model_validate({**results.job.model_dump(), "constraints": bounds})
    shown = io.StringIO()
    Console(file=shown, width=80).print(best_table(replace(results, job=job), 12))
    assert "…" not in shown.getvalue()
    headings = shown.getvalue().splitlines()[1]
    assert "s per" in headings and "LPIPS" in headings and "Color" in headings


def test_an_exported_preset_has_the_score_of_its_trial(
    run: Path, pictures: Path, tmp_path: Path
) -> None:
    """An exported preset, applied with stylize, gives a picture with the score of its trial."""
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


def test_missing_weights_without_a_network(pictures: Path, tmp_path: Path) -> None:
    """A command that cannot fetch its weights says what to do, with exit code 2."""
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


def test_control_characters_are_not_printed() -> None:
    """Control characters in text are left out; rich's own colors and newlines are kept."""
    shown = io.StringIO()
    console = PlainConsole(file=shown, width=80, force_terminal=True, color_system="standard")
    console.print(
        "\x1b]0;title\x07 \x9b31m one\ntwo\x08", style="red", markup=False, highlight=False
    )
    assert shown.getvalue() == "\x1b[31m]0;title 31m one\x1b[0m\n\x1b[31mtwo\x1b[0m\n"


def test_divergence_is_exit_code_1(pictures: Path, tmp_path: Path) -> None:
    """A stylization that diverges ends with exit code 1 and writes no file."""
    done = nst_tuner(
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--out", tmp_path / "o.png", "--set", "lr=10000", "--set", "clamp=save"),
        *("--set", "steps=30", "--size-px", 64),
    )
    assert done.returncode == 1
    assert "smaller learning rate" in done.stderr
    assert not list(tmp_path.iterdir())


def test_doctor_checks_this_machine() -> None:
    """doctor does all its checks, and fails if no cluster answers at the address."""
    done = nst_tuner("doctor", "--json")
    names = [check["name"] for check in json.loads(done.stdout)["checks"]]
    assert names == ["platform", "python", "torch", "gpu", "ray", "weights", "disk"]
    assert done.returncode == 0
    assert nst_tuner("doctor", "--address", "127.0.0.1:9").returncode == 1


def test_a_spaces_json_is_a_space_file(tmp_path: Path) -> None:
    """The output of `spaces NAME --json` can be used as a space file."""
    done = nst_tuner("spaces", "optimizers", "--json")
    (tmp_path / "mine.yaml").write_text(done.stdout, encoding="utf-8")
    again = nst_tuner("spaces", tmp_path / "mine.yaml", "--json")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


def test_spaces_of_stylizers_are_shown(tmp_path: Path) -> None:
    """`spaces FILE` shows a space file of another stylizer, and its JSON can be used as one."""
    (tmp_path / "blur.yaml").write_text(
        "name: blur\nwhy: an example\ndefaults: {sigma: 1, rounds: 2}\n"
        "params: {sigma: {low: 0, high: 4}, rounds: {low: 1, high: 9, whole: true}}\n"
    )
    assert "sigma=1 rounds=2" in nst_tuner("spaces", tmp_path / "blur.yaml").stdout
    (tmp_path / "bad.yaml").write_text(
        "name: bad\nwhy: x\ndefaults: {a: 1}\nparams: {b: {low: 1}}\n"
    )
    assert "`params.b.high`" in nst_tuner("spaces", tmp_path / "bad.yaml").stderr
    (tmp_path / "empty.yaml").write_text("")
    assert "expected a space (name, why, params)" in (
        nst_tuner("spaces", tmp_path / "empty.yaml").stderr
    )
    done = nst_tuner("spaces", tmp_path / "blur.yaml", "--json")
    (tmp_path / "again.yaml").write_text(done.stdout)
    assert nst_tuner("spaces", tmp_path / "again.yaml", "--json").stdout == done.stdout != ""


@pytest.mark.parametrize("columns", [80, 120])
def test_spaces_fit_a_terminal(columns: int) -> None:
    """The table of every space fits the terminal and has all parameter names in full."""
    for name, space in CATALOGUE.items():
        drawn = io.StringIO()
        Console(file=drawn, width=columns).print(space_table(space))
        assert max(map(len, drawn.getvalue().splitlines())) <= columns, name
        assert all(parameter in drawn.getvalue() for parameter in space.params), name


def test_lists_have_all_names_and_details() -> None:
    """weights, spaces and presets list all names, and show the details of one."""
    for arguments, part in (
        (("weights",), "vgg16"),
        (("spaces",), "gram"),
        (("spaces",), "Which layers of VGG16 to use"),
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
