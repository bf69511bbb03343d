"""The benchmarks start; what they measure is too slow for here, and too noisy to be a test."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import benchmarks
from benchmarks import resolution
from benchmarks.soak import explosive_space, growth
from search_spaces import CATALOGUE, Float

RESOLUTION = Path(benchmarks.__file__).parent / "results" / "resolution.md"
COMMANDS = [
    name
    for _, name, _ in pkgutil.iter_modules(benchmarks.__path__)
    if hasattr(importlib.import_module(f"benchmarks.{name}"), "main")
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_benchmark_says_what_it_does(name: str) -> None:
    """``--help`` works, and each takes ``--quick`` and ``--json``."""
    app = typer.Typer(add_completion=False)
    app.command()(importlib.import_module(f"benchmarks.{name}").main)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    assert "--quick" in shown.output and "--json" in shown.output


def test_larger_than_tuned_says_how_much_it_measured() -> None:
    """Its text, the committed one too, names pairs and starts; the quick form says so, with TV."""
    assert resolution.extent(1, 1, 40, quick=True).startswith("The quick form")
    assert "3 pairs, 2 starts" in resolution.extent(3, 2, 40, quick=False)
    assert re.search(r" \d pairs?, \d starts? ", RESOLUTION.read_text())
    starts = CATALOGUE["gram"].initial_points
    tuned = {number: starts[number - 1]["tv"] for number in resolution.STARTS}
    assert set(tuned.values()) == {"off", "on"}
    assert all(tuned[number] == "on" for number in resolution.QUICK_STARTS)


def test_growth_leaves_the_start_out() -> None:
    """What a process takes while it starts is no growth; what it takes later is."""
    assert growth([1, 50, *[100] * 20]) == 1.0
    assert growth([*[100] * 10, *[150] * 10]) == 1.5


def test_the_soaks_space_explodes() -> None:
    """Some of its learning rates are beyond what a picture survives, some are not."""
    lr = explosive_space().params["lr"]
    assert isinstance(lr, Float)
    assert lr.low < 0.1
    assert lr.high > 100
