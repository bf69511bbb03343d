"""Real runs, on the inline backend and on a real Ray cluster, from the job file to the export."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from nst_core.errors import InputError, RunError, RunInterruptedError, WorkError
from nst_core.images.tensors import load_image
from nst_core.metrics.registry import DEFAULT_METRICS, METRICS
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights, cached_path, tensor_digest
from nst_core.presets.built_in import load_preset
from nst_core.references import LONG_RUN_CONFIG
from nst_core.stylization import stylize
from tests.tuner.helpers import Recorder
from tuner.cluster.connection import ray_backend
from tuner.doctor.run import check_run
from tuner.engine.pairs import with_references
from tuner.job.load import find_space, load_job
from tuner.job.objective import COSTS
from tuner.results.as_json import best_json, status_json
from tuner.results.results import load_results
from tuner.run.backend import Backend
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.run.prepare import _presets_of, _without_effect
from tuner.study.records import RungRecord


def launch(job_file: Path, folder: Path, backend: Backend, *overrides: str) -> Recorder:
    callback = Recorder()
    job, space = load_job(job_file, overrides)
    run_job(job, space, folder, backend, callback=callback, say=callback.say)
    return callback


def trials(folder: Path) -> list[tuple[object, ...]]:
    results = load_results(folder)
    return [
        (r.trial, r.state, tuple(r.params.items()), [(s, x.objective) for s, x in r.rungs.items()])
        for r in results.records
    ]


@pytest.fixture(scope="module")
def ray_run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> tuple[Path, Recorder]:
    """One real run on a real Ray cluster on this machine."""
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
    return folder / "run", launch(job_file, folder / "run", ray_backend())


def test_ray_run_accounts_for_every_trial(ray_run: tuple[Path, Recorder]) -> None:
    """On Ray every trial ends, presets first and finals last, each with its image."""
    folder, callback = ray_run
    assert [check.found for check in check_run(folder) if check.ok is False] == []
    results = load_results(folder)
    (finalist,) = (found for found in results.ranked() if found.finals)
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
    held_out = results.held_out(finalist)  # the same pair, so the same score
    assert held_out == pytest.approx(results.score(finalist), rel=2e-2)
    substituted = any("presets run on vgg16" in line for line in callback.lines)
    assert substituted != cached_path("vgg19").is_file()


class _Breaks(Recorder):
    """A callback with which the driver dies at its n-th report."""

    def __init__(self, reports: int):
        super().__init__()
        self._left = reports

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        super().reported(trial, steps, rung)
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("reports", [3, 7])
def test_lanes_go_on_from_their_last_rung(job_file: Path, tmp_path: Path, reports: int) -> None:
    """After the driver's death no more than a rung of a trial is run again, waiting ones none."""
    overrides = ("search.presets=false", "resources.lanes=2", "halving.max_steps=18")
    job, space = load_job(job_file, overrides)
    for name in ("whole", "broken"):
        callback = _Breaks(reports) if name == "broken" else Recorder()
        with contextlib.suppress(RunInterruptedError):
            run_job(job, space, tmp_path / name, InlineBackend(), callback=callback, say=print)
    assert list((tmp_path / "broken").glob("trials/*/lanes.safetensors"))
    resume_run(tmp_path / "broken", InlineBackend(), callback=Recorder(), say=print)
    whole, broken = (load_results(tmp_path / name) for name in ("whole", "broken"))
    assert [r.params for r in broken.records] == [r.params for r in whole.records]
    (stats,) = broken.engines  # those of the first launch died with it
    left = sum(max(r.rungs) for r in broken.records) - sum(
        max((s for t, s in callback.reached if t == r.trial), default=0) for r in broken.records
    )
    assert stats.lane_steps - stats.lane_steps_lost <= left + 2 * 12
    assert not list((tmp_path / "broken").glob("trials/*/lanes.safetensors"))


def test_damaged_lanes_begin_again(job_file: Path, tmp_path: Path) -> None:
    """A trial whose saved lanes cannot be read runs from its start, and says so."""
    halving = ("halving.rule=none", "halving.max_steps=18")
    job, space = load_job(job_file, ["search.presets=false", "search.trials=3", *halving])
    with contextlib.suppress(RunInterruptedError):
        run_job(job, space, tmp_path / "a", InlineBackend(), callback=_Breaks(5), say=print)
    (saved,) = (tmp_path / "a").glob("trials/*/lanes.safetensors")
    saved.write_bytes(saved.read_bytes()[:100])
    resume_run(tmp_path / "a", InlineBackend(), callback=Recorder(), say=print)
    results = load_results(tmp_path / "a")
    assert status_json(results)["finished"]
    (note,) = [r.note for r in results.records if r.note]
    assert note.startswith("its saved lanes could not be used, so it began again: not saved lanes")


def test_a_slot_keeps_its_process(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many trials there are, no more processes are started than run at a time."""
    from tuner.cluster.tune_plugins import RungScheduler

    processes = set()
    judge = RungScheduler.on_trial_result

    def watched(self, controller, trial, result):  # type: ignore[no-untyped-def]
        processes.add(result["pid"])
        return judge(self, controller, trial, result)

    monkeypatch.setattr(RungScheduler, "on_trial_result", watched)
    overrides = ("search.trials=10", "search.presets=false", "resources.lanes=2")
    launch(job_file, tmp_path / "a", ray_backend(), *overrides)
    assert len(load_results(tmp_path / "a").records) == 10
    assert 1 <= len(processes) <= 2 * (os.cpu_count() or 1)


@pytest.mark.parametrize("source", ["feed-forward", "long-run"])
def test_a_reference_that_the_job_has_made(
    source: str, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``reference: {from: …}`` is made once, kept in the run, and scored against."""
    short = LONG_RUN_CONFIG.replace(steps=6)
    monkeypatch.setattr("nst_core.references.LONG_RUN_CONFIG", short)
    pair = load_job(job_file)[0].pairs[0]
    made = (
        f"{{content: {pair.content}, style: {pair.style[0].image}, reference: {{from: {source}}}}}"
    )
    overrides = ("search.trials=1", "search.presets=false", f"pairs.0={made}", f"holdout=[{made}]")
    launch(job_file, tmp_path / "a", InlineBackend(), *overrides)
    job, _ = load_job(tmp_path / "a" / "job.yaml")
    for one in (*job.pairs, *job.holdout):
        with Image.open(one.reference_file) as image:
            assert image.size == (64, 43)
        assert Path(one.reference_file).is_relative_to(tmp_path / "a" / "inputs")
    assert load_results(tmp_path / "a").records[0].state == "complete"


def test_a_long_run_keeps_to_the_regions_of_a_job(
    job_file: Path, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a mask is black its style leaves no trace in the reference."""
    monkeypatch.setattr(
        "nst_core.references.LONG_RUN_CONFIG", LONG_RUN_CONFIG.replace(steps=6, scales=1)
    )
    made = []
    for name, left in (("masked", 0), ("whole", 255)):
        mask = Image.new("L", Image.open(pictures / "content.png").size, 255)
        mask.paste(left, (0, 0, mask.width // 2, mask.height))
        mask.save(tmp_path / f"{name}.png")
        pair = load_job(job_file)[0].pairs[0]
        style = f"[{{image: {pair.style[0].image}, region: {tmp_path / name}.png}}]"
        asked = f"{{content: {pair.content}, style: {style}, reference: {{from: long-run}}}}"
        job, _ = load_job(job_file, [f"pairs.0={asked}"])
        (tmp_path / f"of-{name}").mkdir()
        made.append(with_references(job, tmp_path / f"of-{name}", print).pairs[0].reference_file)
    masked, whole = (np.asarray(Image.open(path), dtype=float) for path in made)
    off = np.abs(masked - whole).mean((0, 2))
    assert off[: len(off) // 4].mean() > 2 * off[3 * len(off) // 4 :].mean()


def test_a_run_knows_the_weights_that_it_began_with(
    job_file: Path, tmp_path: Path, weights: Mapping[str, Weights]
) -> None:
    """A file of the job stands in the preset with the digest of what was read from it."""
    file = tmp_path / "own.safetensors"
    safetensors.torch.save_file(dict(weights["vgg16"]), file)
    changes = (f"weights.vgg16={file}", "search.trials=1", "search.presets=false")
    launch(job_file, tmp_path / "run", InlineBackend(), *changes)
    found = load_results(tmp_path / "run").preset().provenance["weights"]
    assert found == {"vgg16": {"file": str(file), "digest": tensor_digest(weights["vgg16"])}}


def test_the_wide_space(job_file: Path, tmp_path: Path) -> None:
    """The widest space runs: unlike optimizers, losses, sizes and schedules in one job."""
    overrides = ("space=wide", "search.trials=12", "search.presets=false", "halving.max_steps=4")
    launch(job_file, tmp_path / "a", InlineBackend(), *overrides)
    records = load_results(tmp_path / "a").records
    assert len({record.params["optimizer"] for record in records}) > 1
    assert len({record.params["style_loss"] for record in records}) > 1
    assert [record.reason for record in records if record.state == "failed"] == []


@pytest.mark.slow
def test_a_diverging_trial_on_ray_is_told_as_failed(job_file: Path, tmp_path: Path) -> None:
    """On Ray too a trial that explodes is a failure with its reason, and the run goes on."""
    space = tmp_path / "wild.yaml"
    space.write_text(
        "name: wild\nwhy: half of it explodes\nfixed: {clamp: save}\n"
        "params:\n  lr: {low: 0.01, high: 10000, log: true}\n"
        "starts: [{lr: 10000}, {lr: 0.02}]\n"
    )
    overrides = (f"space={space}", "search.trials=2", "search.presets=false")
    launch(job_file, tmp_path / "a", ray_backend(), *overrides)
    failed, fine = load_results(tmp_path / "a").records
    assert (failed.state, fine.state) == ("failed", "complete")
    assert "smaller learning rate" in str(failed.reason)


def test_best_json_has_the_documented_shape(ray_run: tuple[Path, Recorder]) -> None:
    """`best --json` holds run, objective, direction, baselines and trials, best first."""
    best = best_json(load_results(ray_run[0]))
    assert set(best) >= {"run", "objective", "direction", "baselines", "trials"}
    assert best["direction"] == "minimize"
    assert set(best["baselines"]) == {"content", "style", "blurred_reference", "grey_reference"}
    keys = {
        "trial",
        "state",
        "objective",
        "scores",
        "config",
        "steps",
        "seconds",
        "preset",
        "image",
    }
    assert all(set(trial) >= keys for trial in best["trials"])
    finalist, *others = best["trials"]
    assert finalist["objective"] == pytest.approx(mean(finalist["finals"]))
    objectives = [trial["objective"] for trial in others]
    assert objectives == sorted(objectives)
    assert json.loads(json.dumps(best, allow_nan=False)) == best


def test_an_exported_preset_reproduces_its_trial(
    ray_run: tuple[Path, Recorder], weights: Mapping[str, Weights], tmp_path: Path
) -> None:
    """export, then stylize, then score: the trial's own LPIPS within 2 %."""
    results = load_results(ray_run[0])
    exported = results.preset()
    exported.save(tmp_path / "p.json")
    preset = load_preset(str(tmp_path / "p.json"))
    pair = results.job.pairs[0]
    content, style = (load_image(results.run.path / p) for p in (pair.content, pair.style[0].image))
    *_, last = stylize(preset.config, content, [(style, 1.0)], weights=weights.__getitem__)
    from nst_core.images.tensors import resize, to_uint8

    goal = resize(load_image(results.run.path / pair.reference_file), *last.image_3HW.shape[1:])
    judge = MetricSuite.load(weights.__getitem__, metrics=["lpips"])
    score = judge.score(to_uint8(last.image_3HW), to_uint8(goal))["lpips"]
    assert score == pytest.approx(preset.provenance["scores"]["lpips"], rel=0.02)


def test_a_dear_metric_is_computed_where_it_is_the_objective(
    job_file: Path, tmp_path: Path
) -> None:
    """A job that optimises DISTS scores trials and baselines by it; any other job does without."""
    few = ("search.trials=2", "search.presets=false")
    for objective, metrics in (("dists", METRICS), ("rmse", DEFAULT_METRICS)):
        launch(job_file, tmp_path / objective, InlineBackend(), f"objective={objective}", *few)
        results = load_results(tmp_path / objective)
        assert set(results.baselines["content"]) == set(metrics)
        assert results.baselines["content"]["edges"] == pytest.approx(1)
        for found in results.ranked():
            assert list(found.rung.scores) == [*metrics, *COSTS]
            assert found.rung.objective == found.rung.scores[objective]


def test_same_seed_and_one_lane_give_identical_trials(job_file: Path, tmp_path: Path) -> None:
    """The same job twice, one lane: the same parameters and the same scores."""
    for name in ("a", "b"):
        launch(job_file, tmp_path / name, InlineBackend(), "resources.lanes=1")
    assert trials(tmp_path / "a") == trials(tmp_path / "b")
    assert len(trials(tmp_path / "a")) == 8


class Interrupting:
    """A backend that is killed after some reports: nothing after them happens."""

    def __init__(self, after: int):
        self._after = after

    def run(self, search, workload, job) -> None:  # type: ignore[no-untyped-def]
        original, left = search.report, [self._after]

        def report(*arguments):  # type: ignore[no-untyped-def]
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(*arguments)

        search.report = report
        InlineBackend().run(search, workload, job)


def test_an_interrupted_run_resumes_to_the_same_end(job_file: Path, tmp_path: Path) -> None:
    """A run broken off and resumed ends with the very trials of an unbroken one."""
    launch(job_file, tmp_path / "whole", InlineBackend(), "resources.lanes=1")
    with pytest.raises(RunInterruptedError):
        launch(job_file, tmp_path / "broken", Interrupting(7), "resources.lanes=1")
    assert load_results(tmp_path / "broken").counts()["running"] == 1
    resume_run(tmp_path / "broken", InlineBackend(), callback=Recorder(), say=print)
    assert trials(tmp_path / "broken") == trials(tmp_path / "whole")


def test_a_run_directory_is_a_job(job_file: Path, tmp_path: Path) -> None:
    """The run holds what it needs: its job runs again after the original files are gone."""
    launch(job_file, tmp_path / "a", InlineBackend(), "search.trials=2", "search.presets=false")
    job, _ = load_job(tmp_path / "a" / "job.yaml")
    pair = job.pairs[0]
    files = (pair.content, pair.style[0].image, pair.reference_file)
    assert all(str(tmp_path / "a") in file for file in files)


def test_several_pairs_are_averaged(job_file: Path, tmp_path: Path, pictures: Path) -> None:
    """With two pairs the objective is the mean, and there is an image of each."""
    content = json.dumps(
        {
            "content": str(pictures / "style.png"),
            "style": str(pictures / "content.png"),
            "reference": str(pictures / "style.png"),
        }
    )
    both = f"pairs=[{content}, {content.replace('style.png', 'content.png')}]"
    launch(job_file, tmp_path / "a", InlineBackend(), both, "search.trials=2")
    results = load_results(tmp_path / "a")
    rung = results.ranked()[0].rung
    assert rung.objective == pytest.approx(sum(s["lpips"] for s in rung.pair_scores) / 2)
    sizes = []
    for image in results.images(0):
        with Image.open(tmp_path / "a" / image) as picture:
            sizes.append(picture.size)
    assert sizes == [(64, 64), (64, 43)]


def test_nothing_is_written_where_a_run_cannot_be(job_file: Path, tmp_path: Path) -> None:
    """A folder that holds something else, or a run, is refused before any work."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    for folder, expected in ((tmp_path / "full", "not empty"), (job_file, "is a file")):
        with pytest.raises(RunError, match=expected):
            launch(job_file, folder, InlineBackend())
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["x"]


def test_a_run_whose_trials_all_fail_fails(job_file: Path, tmp_path: Path) -> None:
    """When every trial fails the run says so with the first reason."""
    space = tmp_path / "wild.yaml"
    space.write_text(
        "name: wild\nwhy: to fail\nfixed: {clamp: save, content_weight: 0}\n"
        "params:\n  lr: {low: 9000, high: 10000}\n"
    )
    with pytest.raises(WorkError, match=r"all 2 trials failed.*smaller learning rate"):
        launch(
            job_file,
            tmp_path / "a",
            InlineBackend(),
            f"space={space}",
            "search.trials=2",
            "search.presets=false",
        )
    assert load_results(tmp_path / "a").counts()["failed"] == 2


def test_presets_of_another_version(tmp_path: Path) -> None:
    """A run that began with a preset that is not there any more says which version has it."""
    notes = {"presets": ["gone"], "environment": {"packages": {"nst-tuner": "9.1"}}}
    with pytest.raises(RunError, match=r"'gone'.*began it \(9\.1\)"):
        _presets_of(notes, {}, tmp_path)


def test_no_cluster_at_an_address(job_file: Path, tmp_path: Path) -> None:
    """An address where nothing answers is bad input, and the run directory says what to do next."""
    with pytest.raises(InputError, match="no Ray cluster answers"):
        launch(job_file, tmp_path / "a", ray_backend("127.0.0.1:9"))


def test_settings_without_effect_are_named(job_file: Path) -> None:
    """What a job asks for in vain is said at its launch; what has an effect is not."""
    job = load_job(job_file)[0]
    space = find_space("gram")
    assert _without_effect(job, space) == []
    vain = job.model_copy(
        update={
            "holdout": job.pairs,
            "finals": job.finals.model_copy(update={"count": 0}),
            "search": job.search.model_copy(
                update={
                    **{"replay": "a", "warm_start": ["b"], "sampler": "grid", "trials": 9**6},
                }
            ),
            "resources": job.resources.model_copy(update={"device": "cpu", "gpus": 2}),
        }
    )
    said = _without_effect(vain, space)
    assert [line.partition(":")[0] for line in said] == [
        *("holdout", "search.warm_start", "resources.gpus", "search.trials")
    ]
