"""Real runs on the inline backend, from the job file to the results."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from nst_core.errors import RunError, WorkError
from nst_core.metrics.registry import with_default
from nst_core.networks.weights import Weights, tensor_digest
from tests.tuner.helpers import launch_run, trial_summaries
from tuner.engine.pairs import with_references
from tuner.job.find_space import find_space
from tuner.job.load import load_job
from tuner.job.objective import COST, COSTS
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.prepare import _presets_of, _without_effect


@pytest.mark.parametrize("source", ["feed-forward", "long-run"])
def test_a_job_can_have_its_reference_made(
    source: str, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch makes ``reference: {from: …}`` once, keeps it in the run and scores against it."""
    monkeypatch.setattr("tuner.engine.reference_process.STEPS", 6)
    pair = load_job(job_file)[0].pairs[0]
    made = (
        f"{{content: {pair.content}, style: {pair.style[0].image}, reference: {{from: {source}}}}}"
    )
    overrides = ("search.trials=1", "search.presets=false", f"pairs.0={made}", f"holdout=[{made}]")
    launch_run(job_file, tmp_path / "a", InlineBackend(), *overrides)
    job, _ = load_job(tmp_path / "a" / "job.yaml")
    for each in (*job.pairs, *job.holdout):
        with Image.open(each.reference_file) as image:
            assert image.size == (64, 43)
        assert Path(each.reference_file).is_relative_to(tmp_path / "a" / "inputs")
    assert load_results(tmp_path / "a").records[0].state == "complete"


def test_a_long_run_uses_the_masks_of_a_job(
    job_file: Path, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the mask of a style is black, the style does not change the reference."""
    monkeypatch.setattr("tuner.engine.reference_process.STEPS", 6)
    references = []
    for name, left_half in (("masked", 0), ("whole", 255)):
        mask = Image.new("L", Image.open(pictures / "content.png").size, 255)
        mask.paste(left_half, (0, 0, mask.width // 2, mask.height))
        mask.save(tmp_path / f"{name}.png")
        pair = load_job(job_file)[0].pairs[0]
        style = f"[{{image: {pair.style[0].image}, region: {tmp_path / name}.png}}]"
        made = f"{{content: {pair.content}, style: {style}, reference: {{from: long-run}}}}"
        job, _ = load_job(job_file, [f"pairs.0={made}"])
        folder = tmp_path / f"of-{name}"
        folder.mkdir()
        references.append(with_references(job, folder, print).pairs[0].reference_file)
    masked, whole = (np.asarray(Image.open(path), dtype=float) for path in references)
    difference = np.abs(masked - whole).mean((0, 2))  # per column
    quarter = len(difference) // 4
    assert difference[:quarter].mean() > 2 * difference[3 * quarter :].mean()


def test_a_preset_records_the_weights_file_of_its_run(
    job_file: Path, tmp_path: Path, weights: Mapping[str, Weights]
) -> None:
    """A preset of a run with its own weights file has the path and the digest of the weights."""
    file = tmp_path / "own.safetensors"
    safetensors.torch.save_file(dict(weights["vgg16"]), file)
    changes = (f"weights.vgg16={file}", "search.trials=1", "search.presets=false")
    launch_run(job_file, tmp_path / "run", InlineBackend(), *changes)
    recorded = load_results(tmp_path / "run").preset().provenance["weights"]
    assert recorded == {"vgg16": {"file": str(file), "digest": tensor_digest(weights["vgg16"])}}


def test_the_widest_space_runs(job_file: Path, tmp_path: Path) -> None:
    """Different optimizers, losses, sizes and schedules run in one job without a failure."""
    overrides = ("space=wide", "search.trials=12", "search.presets=false", "halving.max_steps=4")
    launch_run(job_file, tmp_path / "a", InlineBackend(), *overrides)
    records = load_results(tmp_path / "a").records
    assert len({record.params["optimizer"] for record in records}) > 1
    assert len({record.params["style_loss"] for record in records}) > 1
    assert [record.reason for record in records if record.state == "failed"] == []


def test_a_slow_metric_is_computed_only_for_an_objective(job_file: Path, tmp_path: Path) -> None:
    """A job that optimizes ST-LPIPS or DISTS scores trials and baselines by it; others do not."""
    few = ("search.trials=2", "search.presets=false")
    for objective in ("stlpips", "dists", "rmse"):
        metrics = with_default([objective])
        launch_run(job_file, tmp_path / objective, InlineBackend(), f"objective={objective}", *few)
        results = load_results(tmp_path / objective)
        assert set(results.baselines["content"]) == set(metrics)
        assert results.baselines["content"]["edges"] == pytest.approx(1)
        for result in results.ranked():
            assert list(result.rung.scores) == [*metrics, *(cost for cost in COSTS if cost != COST)]
            assert result.rung.objective == result.rung.scores[objective]


def test_same_seed_and_one_lane_give_identical_trials(job_file: Path, tmp_path: Path) -> None:
    """With one lane, the same job run twice has the same parameters and the same scores."""
    for name in ("a", "b"):
        launch_run(job_file, tmp_path / name, InlineBackend(), "resources.lanes=1")
    assert trial_summaries(tmp_path / "a") == trial_summaries(tmp_path / "b")
    assert len(trial_summaries(tmp_path / "a")) == 8


def test_a_run_directory_is_self_contained(job_file: Path, tmp_path: Path) -> None:
    """The job file of a run names only pictures inside the run directory."""
    launch_run(job_file, tmp_path / "a", InlineBackend(), "search.trials=2", "search.presets=false")
    job, _ = load_job(tmp_path / "a" / "job.yaml")
    pair = job.pairs[0]
    files = (pair.content, pair.style[0].image, pair.reference_file)
    assert all(str(tmp_path / "a") in file for file in files)


def test_several_pairs_are_averaged(job_file: Path, tmp_path: Path, pictures: Path) -> None:
    """With two pairs the objective is the mean, and a trial has an image for each pair."""
    content = json.dumps(
        {
            "content": str(pictures / "style.png"),
            "style": str(pictures / "content.png"),
            "reference": str(pictures / "style.png"),
        }
    )
    both = f"pairs=[{content}, {content.replace('style.png', 'content.png')}]"
    launch_run(job_file, tmp_path / "a", InlineBackend(), both, "search.trials=2")
    results = load_results(tmp_path / "a")
    rung = results.ranked()[0].rung
    assert rung.objective == pytest.approx(sum(s["lpips"] for s in rung.pair_scores) / 2)
    sizes = []
    for image in results.images(0):
        with Image.open(tmp_path / "a" / image) as picture:
            sizes.append(picture.size)
    assert sizes == [(64, 64), (64, 43)]


def test_a_folder_that_is_not_empty_is_refused(job_file: Path, tmp_path: Path) -> None:
    """A launch into a folder with files, or onto a file, is refused and changes nothing."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    for folder, expected in ((tmp_path / "full", "not empty"), (job_file, "is a file")):
        with pytest.raises(RunError, match=expected):
            launch_run(job_file, folder, InlineBackend())
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["x"]


def test_a_run_whose_trials_all_fail_fails(job_file: Path, tmp_path: Path) -> None:
    """If every trial fails, the launch fails with the reason of the first."""
    space = tmp_path / "wild.yaml"
    space.write_text(
        "name: wild\nwhy: to fail\nfixed: {clamp: save, content_weight: 0}\n"
        "params:\n  lr: {low: 9000, high: 10000}\n"
    )
    few = ("search.trials=2", "search.presets=false")
    with pytest.raises(WorkError, match=r"all 2 trials failed.*smaller learning rate"):
        launch_run(job_file, tmp_path / "a", InlineBackend(), f"space={space}", *few)
    assert load_results(tmp_path / "a").counts()["failed"] == 2


def test_a_preset_of_another_version_is_named(job_file: Path, tmp_path: Path) -> None:
    """Resuming a run with a preset that this version lacks names the version that has it."""
    notes = {"presets": ["gone"], "environment": {"packages": {"nst-tuner": "9.1"}}}
    with pytest.raises(RunError, match=r"'gone'.*began it \(9\.1\)"):
        _presets_of(load_job(job_file)[0], notes, {}, tmp_path)


def test_settings_without_effect_are_named(job_file: Path) -> None:
    """A launch names the keys of a job that change nothing, and only those."""
    job = load_job(job_file)[0]
    space = find_space("gram")
    assert _without_effect(job, space) == []
    search = {"sampler": "grid", "trials": 9**6}
    without_effect = job.model_copy(
        update={
            "holdout": job.pairs,
            "finals": job.finals.model_copy(update={"count": 0}),
            "search": job.search.model_copy(update=search),
        }
    )
    lines = _without_effect(without_effect, space)
    assert [line.partition(":")[0] for line in lines] == ["holdout", "search.trials"]
