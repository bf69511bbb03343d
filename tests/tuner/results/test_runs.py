"""The runs of a folder: `nst-tuner ls`."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import nst_tuner
from tuner.results.results import load_results


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A folder with a finished run, one that was interrupted, in a folder, and a damaged one."""
    folder = tmp_path_factory.mktemp("runs")
    made_run(folder / "cafe", pictures, trials=8)
    (folder / "older").mkdir()
    made_run(folder / "older" / "bridge", pictures, trials=8, over=False)
    shutil.copytree(folder / "cafe", folder / "broken")
    (folder / "broken" / "study.journal").write_text("no study\n")
    (folder / "pictures").mkdir()
    return folder


def test_ls_lists_every_run(runs: Path) -> None:
    """Each run has a row with its state, its best score and what that is better than."""
    done = nst_tuner("ls", runs, "--json")
    listed = {Path(run["path"]).name: run for run in json.loads(done.stdout)["runs"]}
    assert done.returncode == 0
    assert {name: run["state"] for name, run in listed.items()} == {
        "broken": "damaged",
        "cafe": "finished",
        "bridge": "stopped",
    }
    results = load_results(runs / "cafe")
    best = results.score(results.ranked()[0])
    assert (listed["cafe"]["best"], listed["cafe"]["done"]) == (best, results.done)
    assert listed["cafe"]["vs_content"] == results.gain(best)
    assert "study.journal" in listed["broken"]["problem"]
    table = nst_tuner("ls", runs).stdout
    for part in ("cafe", "older/bridge", "damaged", f"{best:.4f}", "8/8"):
        assert part in table


def test_ls_of_one_run_or_of_none(runs: Path, tmp_path: Path) -> None:
    """A run directory is listed itself; a folder without runs is refused with what to do."""
    assert "finished" in nst_tuner("ls", runs / "cafe").stdout
    for folder, message in ((tmp_path, "holds no run"), (tmp_path / "none", "no such folder")):
        done = nst_tuner("ls", folder)
        assert (done.returncode, message in done.stderr) == (2, True)
