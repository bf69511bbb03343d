"""A finished run for all tests that only read one."""

from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import noisy_space
from tuner.pages.report.page import write_report
from tuner.results.results import load_results


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run on two pairs and a held-out one."""
    folder = tmp_path_factory.mktemp("finished")
    space = noisy_space(folder)
    return made_run(folder / "run", pictures, space, trials=24, pairs=2, holdout=1)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> str:
    """The report of a finished run, as an address."""
    run = tmp_path_factory.mktemp("page") / "run"
    made_run(run, pictures, trials=30, pairs=2, holdout=1)
    write_report(load_results(run), run / "report.html")
    return (run / "report.html").as_uri()
