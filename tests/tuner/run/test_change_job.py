"""Changes to the job of a run that has begun."""

from pathlib import Path

import pytest

from nst_core.errors import ConfigError, RunError
from tests.tuner.helpers import Recorder, nst_tuner
from tuner.job.load import load_job
from tuner.results.as_json import status_json
from tuner.results.results import load_results
from tuner.run.change_job import change_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job


@pytest.fixture
def run(job_file: Path, tmp_path: Path) -> Path:
    """A finished run of three trials."""
    job, space = load_job(job_file, ["search.trials=3", "search.presets=false"])
    folder = tmp_path / "run"
    run_job(job, space, folder, InlineBackend(), callback=Recorder(), say=lambda _: None)
    return folder


def test_a_finished_run_continues_with_more_trials(run: Path) -> None:
    """A finished run that gets more trials and finals keeps its trials and runs the new ones."""
    before = load_results(run)
    assert status_json(before)["finished"]
    change_job(run, ["search.trials=5", "finals.count=1", "finals.seeds=1"])
    callback = Recorder()
    resume_run(run, InlineBackend(), callback=callback, say=callback.say)
    after = load_results(run)
    assert after.records[:3] == before.records
    assert [r.final_of is None for r in after.records] == [True] * 5 + [False]
    assert status_json(after)["target"] == 5
    assert status_json(after)["finished"]
    ended = [event for event in callback.events if event[0] == "ended"]
    assert len(ended) == 3


def test_resume_shows_the_new_target(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`resume --trials` shows the progress of the whole run and its best score."""
    monkeypatch.setattr("tuner.cluster.connection.ray_backend", lambda address: InlineBackend())
    done = nst_tuner("resume", run, "--trials", 5)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "/5 trials, best LPIPS" in line]
    assert [line.partition("/")[0] for line in lines] == ["4", "5"]
    best = min(result.rung.objective for result in load_results(run).ranked())
    assert f"best LPIPS {best:.4f}" in lines[-1]


def test_trials_must_stay_comparable(run: Path) -> None:
    """Keys on which results depend cannot change; then the job file is not written at all."""
    content = (run / "job.yaml").read_bytes()
    with pytest.raises(ConfigError, match="cannot change") as caught:
        change_job(run, ["search.trials=5", "size_px=128", "objective=rmse"])
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match=r"search\.trials"):
        change_job(run, ["search.trials=none"])
    assert (run / "job.yaml").read_bytes() == content


def test_keys_of_a_machine_may_change(run: Path, tmp_path: Path) -> None:
    """Resources, storage, trackers and paths of weights may change when a run is resumed."""
    weights = tmp_path / "vgg16.safetensors"
    weights.touch()
    changes = [
        *("resources.gpus=2", "resources.engine_deadline_s=60", "watch=[tensorboard]"),
        *(
            "resources.engines_per_gpu=3",
            f"storage={tmp_path / 'copy'}",
            f"weights.vgg16={weights}",
        ),
    ]
    change_job(run, changes)
    job, _ = load_job(run / "job.yaml")
    assert (job.resources.gpus, job.resources.engine_deadline_s) == (2, 60)
    assert job.resources.engines_per_gpu == 3
    assert (job.watch, job.storage) == (["tensorboard"], str(tmp_path / "copy"))
    assert job.weights == {"vgg16": str(weights)}
    change_job(run, ["storage=null"])
    assert load_job(run / "job.yaml")[0].storage is None


def test_only_runs_can_be_changed(tmp_path: Path) -> None:
    """A folder without a run is refused."""
    with pytest.raises(RunError, match="no such run directory"):
        change_job(tmp_path / "x", ["search.trials=5"])
