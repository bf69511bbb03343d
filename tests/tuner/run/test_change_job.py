from pathlib import Path

import pytest

from nst_core.errors import ConfigError, RunError
from tests.tuner.helpers import Recorder, nst_tuner
from tuner.job.load import load_job
from tuner.results.as_json import status_json
from tuner.results.results import load_results
from tuner.run.change_job import extend
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job


@pytest.fixture
def run(job_file: Path, tmp_path: Path) -> Path:
    job, space = load_job(job_file, ["search.trials=3", "search.presets=false"])
    folder = tmp_path / "run"
    run_job(job, space, folder, InlineBackend(), callback=Recorder(), say=lambda _: None)
    return folder


def test_a_finished_run_goes_on_to_a_new_target(run: Path) -> None:
    """With more trials a run that is over goes on, keeps what it found, and is over again."""
    before = load_results(run)
    assert status_json(before)["finished"]
    extend(run, ["search.trials=5", "finals.count=1", "finals.seeds=1"])
    callback = Recorder()
    resume_run(run, InlineBackend(), callback=callback, say=callback.say)
    after = load_results(run)
    assert after.records[:3] == before.records
    assert [r.final_of is None for r in after.records] == [True] * 5 + [False]
    assert status_json(after)["target"] == 5
    assert status_json(after)["finished"]
    images = [event for event in callback.events if event[0] == "ended"]
    assert len(images) == 3


def test_resume_shows_the_new_target(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`resume --trials` counts to the new target from where the run was, with its best."""
    monkeypatch.setattr("tuner.cluster.connection.ray_backend", lambda address: InlineBackend())
    done = nst_tuner("resume", run, "--trials", 5)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "/5 trials, best lpips" in line]
    assert [line.partition("/")[0] for line in lines] == ["4", "5"]
    best = min(found.rung.objective for found in load_results(run).ranked())
    assert f"best lpips {best:.4f}" in lines[-1]


def test_what_was_found_must_stay_comparable(run: Path) -> None:
    """Keys that would make trials incomparable cannot change; the file stays as it is."""
    content = (run / "job.yaml").read_bytes()
    with pytest.raises(ConfigError, match="cannot change") as caught:
        extend(run, ["search.trials=5", "size_px=128", "objective=rmse"])
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match=r"search\.trials"):
        extend(run, ["search.trials=none"])
    assert (run / "job.yaml").read_bytes() == content


def test_what_a_machine_has_may_change(run: Path, tmp_path: Path) -> None:
    """Where a run goes on, engines, storage, callbacks and files of weights may be others."""
    weights = tmp_path / "vgg16.safetensors"
    weights.touch()
    changes = [
        *("resources.gpus=2", "resources.engine_deadline_s=60", "watch=[tensorboard]"),
        *(f"storage={tmp_path / 'copy'}", f"weights.vgg16={weights}"),
    ]
    extend(run, changes)
    job, _ = load_job(run / "job.yaml")
    assert (job.resources.gpus, job.resources.engine_deadline_s) == (2, 60)
    assert (job.watch, job.storage) == (["tensorboard"], str(tmp_path / "copy"))
    assert job.weights == {"vgg16": str(weights)}
    extend(run, ["storage=null"])
    assert load_job(run / "job.yaml")[0].storage is None


def test_only_runs_are_extended(tmp_path: Path) -> None:
    """A folder that is no run is refused."""
    with pytest.raises(RunError, match="no such run directory"):
        extend(tmp_path / "x", ["search.trials=5"])
