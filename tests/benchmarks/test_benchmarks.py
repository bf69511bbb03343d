"""Benchmarks: options and helpers. Measurements are too slow and too noisy for tests."""

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
def test_every_benchmark_has_the_common_options(name: str) -> None:
    """``--help`` of every benchmark works and lists ``--quick`` and ``--json``."""
    app = typer.Typer(add_completion=False)
    app.command()(importlib.import_module(f"benchmarks.{name}").main)
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert "--quick" in result.output and "--json" in result.output


def test_the_resolution_benchmark_states_its_extent() -> None:
    """Its text, also the committed one, has the numbers of pairs and of initial points."""
    assert resolution.extent(1, 1, 40, quick=True).startswith("The quick form")
    assert "3 pairs, 2 starts" in resolution.extent(3, 2, 40, quick=False)
    assert re.search(r" \d pairs?, \d starts? ", RESOLUTION.read_text())
    starts = CATALOGUE["gram"].initial_points
    tuned = {number: starts[number - 1]["tv"] for number in resolution.STARTS}
    assert set(tuned.values()) == {"off", "on"}
    assert all(tuned[number] == "on" for number in resolution.QUICK_STARTS)


def test_growth_does_not_count_startup() -> None:
    """Memory that a process takes at startup is not growth; memory that it takes later is."""
    assert growth([1, 50, *[100] * 20]) == 1.0
    assert growth([*[100] * 10, *[150] * 10]) == 1.5


def test_the_space_of_the_soak_test_has_diverging_trials() -> None:
    """Some learning rates of the space make trials diverge, and some do not."""
    lr = explosive_space().params["lr"]
    assert isinstance(lr, Float)
    assert lr.low < 0.1
    assert lr.high > 100
