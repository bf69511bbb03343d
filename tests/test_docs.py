"""The documents say what the code does: generated pages, commands, job files, Python, examples."""

from __future__ import annotations

import functools
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
from docs.generate import PAGES, package_layers
from nst_core.config import StyleConfig
from nst_core.presets.public_engines import ENGINES, WITHOUT_CONVERSION
from nst_core.stylization import Step, stylize
from search_spaces import CATALOGUE
from search_spaces.derived_parameters import DERIVED
from tests.tuner.helpers import nst_tuner
from tuner.job.find_space import find_space
from tuner.job.load import load_job
from tuner.job.yaml_file import parse_yaml

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Pictures that the job files in the documents name.
PICTURES = (
    *("bridge.jpg", "cafe.jpg", "bridge-as-i-like-it.png", "harbor.jpg"),
    *("harbor-as-i-like-it.png", "photo.jpg", "waves.jpg", "wish.png"),
)


def read(document: str) -> str:
    """Return the text of a document; names are relative to the repository."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(language: str, document: str) -> list[str]:
    """Return the code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(document), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_up_to_date(page: str) -> None:
    """A generated page is what the code says; `python -m docs.generate` writes it."""
    assert read(page) == PAGES[page](), "run `python -m docs.generate`"


def test_conversions_name_every_engine() -> None:
    """The page of conversions has every engine, also those without a conversion."""
    text = read("docs/reference/conversions.md")
    assert all(f"| {name} |" in text for name in ENGINES)
    assert all(name in text for name in WITHOUT_CONVERSION)


@pytest.mark.parametrize("package", ["tuner", "nst_core"])
def test_design_describes_every_wing(package: str) -> None:
    """docs/design.md has one line for each wing of the import contract, in its order."""
    text = read("docs/design.md")
    section = text[text.index(f"### Wings of {package}") :]
    table = section[section.index("| wing |") :].split("\n\n")[0]
    described = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert described == [wing for layer in package_layers.layers(package) for wing in layer]
    existing = {path.stem for path in (ROOT / package).iterdir() if path.suffix in ("", ".py")}
    assert existing - {"__init__", "__pycache__"} == set(described)


def is_valid_job(folder: Path, text: str) -> None:
    """Check that a job file is accepted, next to pictures of every name in the documents."""
    for name in PICTURES:
        Image.new("RGB", (64, 48)).save(folder / name)
    (folder / "job.yaml").write_text(text, encoding="utf-8")
    load_job(folder / "job.yaml")


@pytest.mark.parametrize("document", ["README.md", "docs/guide/job-file.md"])
def test_documented_jobs_are_valid(document: str, tmp_path: Path) -> None:
    """Each whole job file in the documents is accepted as it is."""
    jobs = blocks("yaml", document)
    assert jobs
    for text in jobs:
        is_valid_job(tmp_path, text)


@pytest.mark.parametrize(
    "document",
    ["docs/guide/search.md", *(f"docs/how-to/{p.name}" for p in ROOT.glob("docs/how-to/*"))],
)
def test_documented_job_keys_are_valid(document: str, tmp_path: Path) -> None:
    """Each part of a job file in the documents is accepted as a part of the README's job."""
    for run in ("runs/cafe", "runs/harbor"):
        (tmp_path / run).mkdir(parents=True)
    whole = parse_yaml(blocks("yaml", "README.md")[0], "README.md").data
    for text in blocks("yaml", document):
        part = {**whole, **parse_yaml(text, document).data}
        if "blend-styles" in document:
            part["space"] = "blend"
        if "vram_gb" in part.get("constraints", {}):  # refused where there is no GPU
            part["constraints"].pop("vram_gb")
        is_valid_job(tmp_path, yaml.safe_dump(part))


def test_documented_space_is_valid(tmp_path: Path) -> None:
    """The space file in the guide is accepted, its initial points mean what the guide says."""
    text, *_ = blocks("yaml", "docs/guide/spaces.md")
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    space = find_space(str(tmp_path / "space.yaml"))
    assert {"optimizer": "adam", "tv": "on"}.items() <= space.initial_points[1].items()


def test_guide_names_every_space_and_parameter() -> None:
    """The guide lists every named space and every parameter that is not a setting."""
    names = set(re.findall(r"`([\w-]+)`", read("docs/guide/spaces.md")))
    assert set(CATALOGUE) <= names
    assert {name for name in DERIVED if not re.fullmatch(r"log10_\w+_[3-7]", name)} <= names


@functools.cache
def help_of(*command: str) -> str:
    """Return the help of a command, wide enough that no option is cut."""
    return nst_tuner(*command, "--help", COLUMNS="200").stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_exist(document: Path) -> None:
    """Every command in a shell block takes the options that the block gives it."""
    name = str(document.relative_to(ROOT))
    for line in (line for block in blocks("sh", name) for line in block.splitlines()):
        words = line.split(" # ")[0].split()
        if not words or words[0] != "nst-tuner":
            continue
        command = words[1:3] if words[1:2] == ["weights"] and len(words) > 2 else words[1:2]
        options = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        for option in options:
            own = help_of(*command) if command != options[:1] else help_of()
            assert option in own, line


def cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stylize() small, and stop it after two steps."""

    def short(config: StyleConfig, *arguments: Any, **options: Any) -> Iterator[Step]:
        few = config.replace(size_px=min(config.size_px, 128), scales=1).stopped_at(2)
        return stylize(few, *arguments, **options)

    monkeypatch.setattr(nst_core, "stylize", short)


def test_documented_python_runs(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every Python block of README, guide and how-to pages runs and writes what it names."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    made_run(Path("runs/cafe"), pictures, trials=6)
    cut_short(monkeypatch)
    for name in ("photo.jpg", "cafe.jpg"):
        Image.new("RGB", (64, 48), "teal").save(name)
    for document in ("README.md", "docs/guide/results.md", "docs/how-to/python.md"):
        for text in blocks("python", document):
            exec(compile(text, document, "exec"), {})
    for name in ("photo-cafe.png", "best.png", "python-cafe.png", "mine.json"):
        assert Path(name).is_file(), name


@pytest.mark.parametrize(
    "script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem
)
def test_every_example_runs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example runs to its end, cut to two steps, and writes a file."""
    monkeypatch.chdir(tmp_path)
    cut_short(monkeypatch)
    runpy.run_path(str(script), run_name="__main__")
    assert list(tmp_path.iterdir())
