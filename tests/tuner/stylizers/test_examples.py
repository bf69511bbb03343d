"""The examples of stylizers run as they are, and the guide shows what works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from search_spaces import stylizer_space_from_dict
from tests.tuner.helpers import launch_run
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "stylizers"
GUIDE = (ROOT / "docs" / "guide" / "stylizers.md").read_text(encoding="utf-8")


def on(pictures: Path) -> list[str]:
    """Return the overrides that give an example the test pictures, small and quick."""
    roles = ("content", "style", "reference")
    files = [f"pairs.0.{role}={pictures / f'{role}.png'}" for role in roles]
    return [*files, "size_px=64", "finals.count=0"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("blur_recolor", []),
        ("magenta", []),
        pytest.param(
            "pystiche_loop",
            ["halving.min_steps=5", "halving.max_steps=10"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_example_tunes(name: str, more: list[str], pictures: Path, tmp_path: Path) -> None:
    """Each example makes its defaults and another trial, and both are scored."""
    job = EXAMPLES / f"{name}.job.yaml"
    overrides = [*on(pictures), "search.trials=2", *more]
    launch_run(job, tmp_path / "run", InlineBackend(), *overrides)
    records = load_results(tmp_path / "run").records
    assert records[0].note and all(record.rungs for record in records)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_guide_shows_a_job_and_a_space_that_work(tmp_path: Path, pictures: Path) -> None:
    """The job, the space and the class of the guide are accepted as they are."""
    space, job, section = blocks("yaml")
    stylizer_space_from_dict(yaml.safe_load(space), "space.yaml")
    (tmp_path / "job.yaml").write_text(job)
    (tmp_path / "blur_recolor.space.yaml").write_text(space)
    loaded, _ = load_job(tmp_path / "job.yaml", on(pictures))
    assert loaded.stylizer is not None and loaded.stylizer.name == "blur_recolor.py"
    tint, diffusion = blocks("python")
    names: dict[str, object] = {}
    exec(compile(tint, "guide", "exec"), names)
    assert "Tint" in names
    assert diffusion.strip() in (EXAMPLES / "diffusion_pipeline.py").read_text()
    assert set(yaml.safe_load(section)) == {"stylizer", "resources"}


@pytest.mark.slow
def test_examples_fit_the_protocol() -> None:
    """A type checker accepts the examples, with the diffusion pipeline that is not run."""
    files = [str(path) for path in sorted(EXAMPLES.glob("*.py"))]
    check = "import sys; sys.argv = ['mypy', '--no-incremental', *sys.argv[1:]]; "
    code = f"{check}from mypy.__main__ import console_entry; console_entry()"
    done = subprocess.run(
        [sys.executable, "-c", code, *files], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
