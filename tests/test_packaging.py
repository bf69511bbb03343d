"""Packaging: the wheel holds everything, works outside the repository, and states its terms."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nst_core", "search_spaces", "tuner")
DATA_FILES = (
    *(f"{package}/py.typed" for package in PACKAGES),
    "tuner/job/job.schema.json",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of the repository's files."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(
        [*build, "--outdir", str(target), str(source)], check=True, stdout=subprocess.PIPE
    )
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    torch = importlib.util.find_spec("torch")
    assert torch is not None and torch.origin is not None
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(f"{Path(torch.origin).parents[1]}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    options = ["--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*pip, *options, str(wheel)], check=True)
    return folder


def run_in(environment: Path, cwd: Path, program: str, *arguments: str) -> str:
    """Return what a program of the environment prints; nothing of the repository is importable."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(environment / "bin" / program), *arguments],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_every_data_file(wheel: Path) -> None:
    """Schema, templates, page scripts, type markers and licenses are in the wheel."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = set(DATA_FILES)
    for pattern in ("*.py", "*.j2", "*.js", "*.css", "*.html"):
        for package in PACKAGES:
            found = (ROOT / package).rglob(pattern)
            expected |= {path.relative_to(ROOT).as_posix() for path in found}
    assert expected <= packed, expected - packed
    assert {name.rsplit("/", 1)[-1] for name in packed} >= {"LICENSE", "NOTICE"}
    top_level = {name.split("/")[0] for name in packed if ".dist-info/" not in name}
    assert top_level == set(PACKAGES)


def test_wheel_metadata_names_no_addresses(wheel: Path) -> None:
    """The metadata names license, supported Python versions and no project address."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
    headers = archive.read(name).decode().split("\n\n")[0]
    assert "License-Expression: MIT" in headers
    for version in ("3.11", "3.12", "3.13", "3.14"):
        assert f"Classifier: Programming Language :: Python :: {version}" in headers
    assert "Project-URL" not in headers and "Home-page" not in headers


def test_wheel_works_outside_the_repository(environment: Path, tmp_path: Path) -> None:
    """The installed commands and the public Python names work in a folder of their own."""
    version = run_in(environment, tmp_path, "nst-tuner", "--version")
    assert re.fullmatch(r"nst-tuner \d+\.\d+\.\d+\n", version)
    assert "gram-wide" in run_in(environment, tmp_path, "nst-tuner", "spaces")
    code = "from nst_core import StyleConfig; from tuner import load_run; print(StyleConfig().lr)"
    assert float(run_in(environment, tmp_path, "python", "-c", code)) > 0
    where = run_in(environment, tmp_path, "python", "-c", "import tuner; print(tuner.__file__)")
    assert Path(where.strip()).is_relative_to(environment)


def test_newest_version_is_in_the_changelog(wheel: Path) -> None:
    """The version of the package is the newest dated entry of the changelog."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)\]? - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert wheel.name.split("-")[1] == versions[0]


def test_bounds_of_private_names_are_explained() -> None:
    """Each upper bound of a dependency has a comment above it: what to check before raising it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = tomllib.loads(text)["project"]["dependencies"]
    bounded = [requirement for requirement in core if "<" in requirement]
    assert [re.split(r"[\[<>=]", requirement)[0] for requirement in bounded] == ["ray", "optuna"]
    lines = [line.strip() for line in text.splitlines()]
    for requirement in bounded:
        above = lines[lines.index(f'"{requirement}",') - 1]
        named = re.search(r"tuner/\S+_private\.py", above)
        assert named is not None and (ROOT / named[0]).is_file()
