"""Runs and presets of every released format still load, resume and export.

`make_golden` writes a new folder for a new format; existing folders never change.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nst_core.errors import RunError
from nst_core.lanes.checkpoints import load_lanes
from nst_core.presets.built_in import load_preset
from tests.tuner.helpers import Recorder
from tuner.doctor.run_checks import check_run
from tuner.results.as_json import best_json
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run
from tuner.study.study import FORMAT, FORMAT_NOTE, RunStudy

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(path.name for path in GOLDEN.iterdir())


@pytest.fixture(params=FORMATS)
def old_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run of an old format: two of its six trials are over, four were interrupted at a rung."""
    return Path(shutil.copytree(GOLDEN / request.param / "run", tmp_path / "run"))


@pytest.mark.parametrize("name", FORMATS)
def test_presets_of_every_format_load(name: str) -> None:
    """A preset of every format loads as a configuration."""
    assert load_preset(str(GOLDEN / name / "preset.json")).config.steps > 0


def test_runs_of_every_format_load(old_run: Path) -> None:
    """A run of every format has its trials, baselines and best trial, and passes the doctor."""
    results = load_results(old_run)
    assert results.counts() == {"complete": 0, "pruned": 2, "failed": 0, "running": 4}
    assert best_json(results)["trials"][0]["objective"] > 0
    assert {"content"} <= results.baselines.keys()
    assert all(check.ok is not False for check in check_run(old_run))


def test_runs_of_every_format_resume(old_run: Path) -> None:
    """A run of every format continues from its saved lanes to its end."""
    saved = next((old_run / "trials").glob("*/lanes.safetensors"))
    lanes, _ = load_lanes(saved.read_bytes())
    assert lanes[0].step > 0
    callback = Recorder()
    resume_run(old_run, InlineBackend(), callback=callback, say=callback.say)
    results = load_results(old_run)
    assert results.counts()["running"] == 0 and len(results.records) == 6
    assert all(not record.note for record in results.records)


def test_newer_formats_are_refused(old_run: Path) -> None:
    """A run of a newer version is refused with a message that says so."""
    results = load_results(old_run)
    study = RunStudy.open(old_run, goals=results.goals)
    study.note(FORMAT_NOTE, FORMAT + 1)
    with pytest.raises(RunError, match="newer version"):
        load_results(old_run)
