"""What the documents say is what the code does."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import nst_core
from benchmarks.support.made_run import made_run
from nst_core.config import StyleConfig
from nst_core.presets.public_engines import ENGINES, WITHOUT_CONVERSION
from nst_core.stylization import Step, stylize
from search_spaces import CATALOGUE
from search_spaces.derived import DERIVED
from tests.tuner.helpers import nst_tuner
from tuner.job.load import find_space, load_job
from tuner.job.yaml_file import parse_yaml, read_yaml

ROOT = Path(__file__).parents[1]


def test_the_table_of_conversions_is_up_to_date() -> None:
    """docs/conversions.md is what docs/conversions.py writes, and names every engine."""
    text = (ROOT / "docs" / "conversions.md").read_text(encoding="utf-8")
    assert text == runpy.run_path(str(ROOT / "docs" / "conversions.py"))["to_markdown"]()
    assert all(f"| {name} |" in text for name in ENGINES)
    assert all(name in text for name in WITHOUT_CONVERSION)


def test_every_module_is_on_the_map() -> None:
    """docs/design.md says of each module of the tuner what it belongs to, and of no other."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = text[text.index("Who looks for something") : text.index("## Decisions")]
    named = set(re.findall(r"`(\w+)`", table))
    there = {path.stem for path in (ROOT / "tuner").glob("*.py")} - {"__init__"}
    assert {name for name in there if not name.startswith("cli_")} == named


def blocks(language: str, document: str = "README.md") -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readmes_job_is_valid(tmp_path: Path) -> None:
    """The job file of the README is accepted as it stands, and with all that it may ask for."""
    names = ("bridge.jpg", "cafe.jpg", "bridge-as-i-like-it.png")
    for name in (*names, "harbour.jpg", "harbour-as-i-like-it.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    text, more = blocks("yaml")
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    job, space = load_job(tmp_path / "job.yaml")
    assert (job.name, space.name) == ("cafe-terrace", "gram")
    content = {**read_yaml(tmp_path / "job.yaml").data, **parse_yaml(more, "README.md").data}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    job, _ = load_job(tmp_path / "more.yaml")
    assert (job.halving.rule, job.budget.patience, len(job.holdout)) == ("hyperband", 30, 1)


def test_the_documented_space_is_valid(tmp_path: Path) -> None:
    """The space of docs/spaces.md is accepted as it stands, and its starts mean what it says."""
    (text,) = blocks("yaml", "docs/spaces.md")
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    space = find_space(str(tmp_path / "space.yaml"))
    assert {"optimizer": "adam", "tv": "on"}.items() <= space.initial_points[1].items()
    document = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"`(\w+)`", document))
    assert {name for name in DERIVED if not re.fullmatch(r"log10_\w+_[3-7]", name)} <= shown


def test_the_readme_names_every_space() -> None:
    """The README's list of spaces is complete."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in CATALOGUE)


def test_the_readmes_commands_exist() -> None:
    """Every command that the README's shell lines call takes the options that they give it."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    calls = [line.split("#")[0].split() for line in lines if line.startswith("nst-tuner")]
    assert len(calls) > 5
    for _, command, *arguments in calls:
        done = nst_tuner(command, "--help", COLUMNS="200")
        for option in arguments:
            if option.startswith("--"):
                assert option in done.stdout, (command, option)


def cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """stylize() as it is, but small and for two steps."""

    def short(config: StyleConfig, *arguments: Any, **options: Any) -> Iterator[Step]:
        few = config.replace(size_px=min(config.size_px, 128), scales=1).stopped_at(2)
        return stylize(few, *arguments, **options)

    monkeypatch.setattr(nst_core, "stylize", short)


def test_the_readmes_python_runs(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the README shows of the Python interface runs."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    made_run(Path("runs/cafe"), pictures, trials=6)
    cut_short(monkeypatch)
    for name in ("photo.jpg", "cafe.jpg"):
        Image.new("RGB", (64, 48), "teal").save(name)
    for text in blocks("python"):
        exec(compile(text, "README.md", "exec"), {})
    assert Path("photo-cafe.png").is_file() and Path("best.png").is_file()


@pytest.mark.parametrize(
    "script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem
)
def test_every_example_runs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example runs to its end, cut to two steps, and leaves what it promises."""
    monkeypatch.chdir(tmp_path)
    cut_short(monkeypatch)
    runpy.run_path(str(script), run_name="__main__")
    assert list(tmp_path.iterdir())
