"""Real runs on a real Ray cluster, from the job file to the export."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import pytest
import torch
from PIL import Image

from nst_core.errors import InputError
from nst_core.images.tensors import load_image, resize, to_uint8
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights, cached_path
from nst_core.presets.built_in import load_preset
from nst_core.stylization import stylize
from tests.tuner.helpers import Recorder, launch_run
from tuner.cluster.connection import ray_backend
from tuner.cluster.tune_plugins import RungScheduler
from tuner.doctor.run_checks import check_run
from tuner.results.as_json import best_json
from tuner.results.results import load_results


@pytest.fixture(scope="module")
def ray_run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> tuple[Path, Recorder]:
    """Directory and callback of one real run on a Ray cluster on this machine."""
    folder = tmp_path_factory.mktemp("ray")
    job_file = folder / "job.yaml"
    pair = {key: str(pictures / f"{key}.png") for key in ("content", "style", "reference")}
    job = {
        "name": "ray",
        "pairs": [pair],
        "size_px": 64,
        "search": {"trials": 10},
        "halving": {"min_steps": 3, "max_steps": 9},
        "holdout": [pair],
        "finals": {"count": 1, "seeds": 2},
    }
    job_file.write_text(json.dumps(job))
    return folder / "run", launch_run(job_file, folder / "run", ray_backend())


def test_a_run_on_ray_accounts_for_every_trial(ray_run: tuple[Path, Recorder]) -> None:
    """On Ray every trial ends and has its image; presets come first and finals last."""
    folder, callback = ray_run
    assert [check.found for check in check_run(folder) if check.ok is False] == []
    results = load_results(folder)
    (finalist,) = (result for result in results.ranked() if result.finals)
    seeds = 2
    assert list(finalist.finals) == [1, 2]
    assert len(results.records) == 10 + seeds
    assert [bool(r.preset) for r in results.records] == [True] * 5 + [False] * (5 + seeds)
    assert [r.final_of is not None for r in results.records] == [False] * 10 + [True] * seeds
    assert {r.state for r in results.records} <= {"complete", "pruned"}
    for record in results.records:
        with Image.open(folder / results.run.image(record.trial, 0)) as image:
            assert image.size == (64, 43)
    ends = [event for event in callback.events if event[0] == "ended"]
    assert len(ends) == 10 + seeds
    assert all(0 < stats.busy <= 1 for stats in results.engines)
    lanes_of = {record.trial: 1 + (record.final_of is not None) for record in results.records}
    reported = sum(max(record.rungs) * lanes_of[record.trial] for record in results.records)
    lost = sum(stats.lane_steps_lost for stats in results.engines)
    assert sum(stats.lane_steps for stats in results.engines) == reported + lost
    held_out = results.held_out(finalist)  # the held-out pair is the same pair, so is its score
    assert held_out == pytest.approx(results.score(finalist), rel=2e-2)
    substituted = any("presets run on vgg16" in line for line in callback.lines)
    assert substituted != cached_path("vgg19").is_file()


def test_best_json_has_the_documented_keys(ray_run: tuple[Path, Recorder]) -> None:
    """`best --json` has run, objective, direction, baselines and trials, the best trial first."""
    best = best_json(load_results(ray_run[0]))
    assert set(best) >= {"run", "objective", "direction", "baselines", "trials"}
    assert best["direction"] == "minimize"
    assert set(best["baselines"]) == {"content", "style", "blurred_reference", "grey_reference"}
    keys = {"trial", "state", "objective", "scores", "config", "steps", "seconds", "preset"}
    assert all(set(trial) >= {*keys, "image"} for trial in best["trials"])
    finalist, *others = best["trials"]
    assert finalist["objective"] == pytest.approx(mean(finalist["finals"]))
    objectives = [trial["objective"] for trial in others]
    assert objectives == sorted(objectives)
    assert json.loads(json.dumps(best, allow_nan=False)) == best


def test_an_exported_preset_reproduces_its_trial(
    ray_run: tuple[Path, Recorder], weights: Mapping[str, Weights], tmp_path: Path
) -> None:
    """An exported preset that is applied again has the LPIPS of its trial, within 2 %."""
    results = load_results(ray_run[0])
    results.preset().save(tmp_path / "p.json")
    preset = load_preset(str(tmp_path / "p.json"))
    pair = results.job.pairs[0]
    content, style = (load_image(results.run.path / p) for p in (pair.content, pair.style[0].image))
    *_, last = stylize(preset.config, content, [(style, 1.0)], weights=weights.__getitem__)
    goal = resize(load_image(results.run.path / pair.reference_file), *last.image_3HW.shape[1:])
    suite = MetricSuite.load(weights.__getitem__, metrics=["lpips"])
    score = suite.score(to_uint8(last.image_3HW), to_uint8(goal))["lpips"]
    assert score == pytest.approx(preset.provenance["scores"]["lpips"], rel=0.02)


def test_trials_reuse_their_processes(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run starts no more trial processes than trials that run at the same time."""
    processes = set()
    decide = RungScheduler.on_trial_result

    def watched(self, controller, trial, result):  # type: ignore[no-untyped-def]
        processes.add(result["pid"])
        return decide(self, controller, trial, result)

    monkeypatch.setattr(RungScheduler, "on_trial_result", watched)
    overrides = ("search.trials=10", "search.presets=false", "resources.lanes=2")
    launch_run(job_file, tmp_path / "a", ray_backend(), *overrides)
    assert len(load_results(tmp_path / "a").records) == 10
    assert 1 <= len(processes) <= 2 * (os.cpu_count() or 1)


@pytest.mark.slow
def test_a_diverging_trial_fails_with_its_reason(job_file: Path, tmp_path: Path) -> None:
    """On Ray a trial that diverges fails with its reason, and the run continues."""
    space = tmp_path / "wild.yaml"
    space.write_text(
        "name: wild\nwhy: half of it explodes\nfixed: {clamp: save}\n"
        "params:\n  lr: {low: 0.01, high: 10000, log: true}\n"
        "starts: [{lr: 10000}, {lr: 0.02}]\n"
    )
    overrides = (f"space={space}", "search.trials=2", "search.presets=false")
    launch_run(job_file, tmp_path / "a", ray_backend(), *overrides)
    failed, fine = load_results(tmp_path / "a").records
    assert (failed.state, fine.state) == ("failed", "complete")
    assert "smaller learning rate" in str(failed.reason)


def test_no_cluster_at_an_address(job_file: Path, tmp_path: Path) -> None:
    """An address where no cluster answers is bad input."""
    with pytest.raises(InputError, match="no Ray cluster answers"):
        launch_run(job_file, tmp_path / "a", ray_backend("127.0.0.1:9"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU may have TF32")
def test_a_precision_that_no_engine_has_is_refused(job_file: Path, tmp_path: Path) -> None:
    """A job in TF32 on a machine without a GPU is bad input, said once, and leaves no run."""
    overrides = ("resources.precision=tf32", "search.trials=1", "search.presets=false")
    with pytest.raises(InputError, match=r"^resources\.precision: tf32 needs an NVIDIA GPU"):
        launch_run(job_file, tmp_path / "a", ray_backend(), *overrides)
    assert not (tmp_path / "a").exists()
