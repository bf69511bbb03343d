"""A run for Python: tables, pictures and the study."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

import tuner
from benchmarks.support.made_run import made_run
from nst_core.errors import ImageError, RunError

NOTEBOOK = Path(__file__).parents[3] / "examples" / "inspect_a_run.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run."""
    return made_run(tmp_path_factory.mktemp("frame") / "run", pictures, trials=16)


def test_a_run_is_a_table(folder: Path) -> None:
    """`trials` has one row per trial, the best first, with scores, parameters and states."""
    run = tuner.load_run(folder)
    table = run.trials
    assert len(table) == 16
    best = run.results.ranked()[0]
    first = table.iloc[0]
    assert (first["trial"], first["rank"]) == (best.record.trial, 1)
    assert first["objective"] == run.results.score(best)
    assert first["param_lr"] == best.record.params["lr"]
    assert set(table["state"]) == {"complete", "pruned", "failed"}
    failed = table[table["state"] == "failed"]
    assert failed["objective"].isna().all() and failed["reason"].notna().all()
    assert list(table["rank"].dropna()) == sorted(table["rank"].dropna())


def test_the_table_works_with_pandas(folder: Path) -> None:
    """The table can be sorted, grouped and merged by `trial`, which is also its index."""
    run = tuner.load_run(folder)
    table = run.trials
    numbers = sorted(table["trial"])
    assert list(table.sort_values("trial")["trial"]) == numbers
    assert list(table.groupby("trial")["objective"].first().index) == numbers
    merged = table.merge(run.curves, on="trial", suffixes=("", "_then"))
    assert set(merged["trial"]) == set(run.curves["trial"]) & set(numbers)
    assert list(table.reset_index()["trial"]) == list(table["trial"])
    best = run.results.ranked()[0].record.trial
    assert table.loc[best, "rank"] == 1


def test_curves_have_one_row_per_report(folder: Path) -> None:
    """`curves` has one row per report, those of the finals included."""
    run = tuner.load_run(folder)
    reports = sum(len(record.rungs) for record in run.results.records)
    assert len(run.curves) == reports
    assert {"trial", "steps", "objective", "score_lpips"} <= set(run.curves)


def test_best_configuration_and_pictures(folder: Path) -> None:
    """A run returns its best configuration, and result and inputs as PIL pictures."""
    run = tuner.load_run(folder)
    assert run.best == run.preset().config
    assert run.image().mode == "RGB" and run.image().size == (96, 64)
    assert set(run.inputs()) == {"content", "style", "reference"}
    failed = int(run.trials.query("state == 'failed'")["trial"].iloc[0])
    with pytest.raises(RunError, match=f"trial {failed} failed and has no result"):
        run.image(failed)
    with pytest.raises(RunError, match=r"no pair 7; this run has pair 0"):
        run.image(pair=7)


def test_inputs_include_every_style_image(tmp_path: Path, pictures: Path) -> None:
    """The first style image is `style`, the others are numbered in the order of the job."""
    names = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    styles = [{"image": str(pictures / f"{name}.png")} for name in ("style", "content")]
    made = made_run(tmp_path / "run", pictures, trials=4, pairs_=[{**names, "style": styles}])
    inputs = tuner.load_run(made).inputs()
    assert list(inputs) == ["content", "style", "style2", "reference"]
    assert inputs["style"].size == (64, 64) and inputs["style2"].size == (96, 64)


def test_a_damaged_picture_is_an_image_error(tmp_path: Path, pictures: Path) -> None:
    """The error for a truncated or wrong picture file names the file."""
    run = tuner.load_run(made_run(tmp_path / "run", pictures, trials=4))
    path = run.path / run.results.run.image(0, 0)
    for content in (path.read_bytes()[:200], b"no picture"):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=re.escape(str(path))):
            run.image(0)


def test_the_study_is_an_optuna_study(folder: Path) -> None:
    """`study` is the Optuna study of the run, with all trials."""
    study = tuner.load_run(folder).study
    assert len(study.trials) == len(tuner.load_run(folder).results.records)


def test_a_run_without_reports_has_empty_tables(tmp_path: Path, pictures: Path) -> None:
    """Before the first report the tables are empty, and `best` raises an error."""
    run = tuner.load_run(made_run(tmp_path / "run", pictures, trials=1, over=False))
    assert run.trials.empty and run.curves.empty
    with pytest.raises(RunError):
        _ = run.best


def test_pandas_is_loaded_only_when_needed() -> None:
    """`import tuner` does not load pandas, `tuner.load_run` does."""
    code = "import sys, tuner; before = 'pandas' in sys.modules; tuner.load_run;"
    code += " print(before, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_notebook_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example notebook runs unchanged, and is stored without outputs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    monkeypatch.setenv("NST_RUN", str(folder))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    assert os.environ["NST_RUN"]
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 3
