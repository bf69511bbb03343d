"""Precision of a run: which trials get it, what `auto` means, and when it is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from nst_core.errors import ConfigError, InputError
from nst_core.networks.precision_support import has_bfloat16, has_tf32
from nst_core.networks.registry import EXTRACTORS
from nst_core.presets.built_in import BASELINES
from tests.tuner.helpers import launch_run, make_search, noisy_space, play, quality
from tuner.cluster.engine_actor import EngineActor
from tuner.engine.precision import check_precision
from tuner.engine.workload import Workload
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.change_job import change_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.prepare import baseline_presets, refuse_unused_keys
from tuner.search.precision import with_known_precision
from tuner.study.records import TrialRecord
from tuner.study.study import load_records

CPU = torch.device("cpu")
ON_CPU = ("resources.device=cpu",)
SHORT = (*ON_CPU, "search.trials=3", "finals.count=1", "finals.seeds=1", "baselines.full=false")


def precisions(records: list[TrialRecord]) -> dict[str, set[str]]:
    """Return the precisions of presets, searched trials, finalists' runs and presets in full."""
    found: dict[str, set[str]] = {}
    for record in records:
        again = "full" if record.full else "final"
        kind = again if record.final_of is not None else "preset" if record.preset else "trial"
        found.setdefault(kind, set()).add(record.config["precision"])
    return found


def test_the_search_runs_in_it_and_the_finals_in_float32(job_file: Path, tmp_path: Path) -> None:
    """Presets and trials run in the precision of the job; finals and full presets in float32."""
    options = ("resources.precision=bfloat16", "finals.count=1", "baselines.full=true")
    play(make_search(job_file, tmp_path, *options, noisy_space(tmp_path)), quality)
    assert precisions(load_records(tmp_path)[0]) == {
        "preset": {"bfloat16"},
        "trial": {"bfloat16"},
        "final": {"float32"},
        "full": {"float32"},
    }


def test_without_the_key_the_space_and_the_presets_decide(job_file: Path, tmp_path: Path) -> None:
    """By default, trials and their finals have the precision of the space, presets their own."""
    space = tmp_path / "half.yaml"
    space.write_text(
        "name: half\nwhy: an example\nfixed: {precision: bfloat16}\n"
        "params: {lr: {low: 0.01, high: 0.1, log: true}}\n"
    )
    search = make_search(
        job_file, tmp_path, f"space={space}", "finals.count=1", presets=len(BASELINES)
    )
    play(search, lambda plan, steps: float(plan.trial < len(BASELINES)))
    found = precisions(load_records(tmp_path)[0])
    assert found["trial"] == found["final"] == {"bfloat16"}
    assert found["preset"] == {preset.config.precision for preset in BASELINES.values()}


def test_auto_is_decided_at_launch(job_file: Path, tmp_path: Path) -> None:
    """`auto` becomes float32 while no other precision has qualified; the run says and keeps it."""
    options = ("resources.precision=auto", *ON_CPU, "search.trials=1", "search.presets=false")
    callback = launch_run(job_file, tmp_path / "run", InlineBackend(), *options)
    (line,) = (line for line in callback.lines if "resources.precision" in line)
    assert line.startswith("resources.precision: auto means float32")
    results = load_results(tmp_path / "run")
    assert results.job.resources.precision == "float32"
    assert results.preset().provenance["precision"] == "float32"


def test_auto_takes_a_measured_precision(job_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` becomes the precision that was measured for the device, if the device has it."""
    monkeypatch.setattr("nst_core.networks.precision_support.FASTER", {"cpu": "bfloat16"})
    job, _ = load_job(job_file, ["resources.precision=auto", "resources.device=cpu"])
    lines: list[str] = []
    expected = "bfloat16" if has_bfloat16(CPU) else "float32"
    assert with_known_precision(job, lines.append).resources.precision == expected
    assert lines[0].startswith(f"resources.precision: auto means {expected}: ")


@pytest.mark.skipif(not has_bfloat16(CPU), reason="this CPU has no bfloat16")
def test_a_preset_records_the_precision_of_its_search(job_file: Path, tmp_path: Path) -> None:
    """A preset of a run in bfloat16 computes in float32, and its provenance has bfloat16."""
    launch_run(job_file, tmp_path / "run", InlineBackend(), "resources.precision=bfloat16", *SHORT)
    results = load_results(tmp_path / "run")
    found = precisions(results.records)
    assert found["trial"] == {"bfloat16"} and found["final"] == {"float32"}
    preset = results.preset()
    assert preset.config.precision == "float32"
    assert preset.provenance["precision"] == "bfloat16"
    final = next(r for r in results.records if r.final_of is not None)
    assert preset.config.replace(seed=final.config["seed"]).to_dict() == final.config


def test_a_preset_gets_no_note_about_a_precision_that_is_replaced(job_file: Path) -> None:
    """A preset in float16 is said to run in float32 only if the job does not set the precision."""
    for precision, noted in (("null", True), ("bfloat16", False)):
        overrides = (f"resources.precision={precision}", "search.trials=99")
        job, _ = load_job(job_file, overrides)
        lines: list[str] = []
        presets = baseline_presets(job, {name: {} for name in EXTRACTORS}, lines.append)
        notes = " ".join([*lines, *(note or "" for _, note in presets)])
        assert ("float32" in notes) == noted


def test_precision_belongs_to_a_run(job_file: Path, tmp_path: Path) -> None:
    """The precision of a run cannot change, because its trials would not be comparable."""
    options = ("resources.precision=float32", *ON_CPU, "search.trials=1", "search.presets=false")
    launch_run(job_file, tmp_path / "run", InlineBackend(), *options)
    for value in ("bfloat16", "null"):
        with pytest.raises(ConfigError, match=r"`resources\.precision` cannot change"):
            change_job(tmp_path / "run", [f"resources.precision={value}"])


@pytest.mark.skipif(has_bfloat16(CPU), reason="this CPU has bfloat16")
def test_a_cpu_without_bfloat16_is_refused() -> None:
    """On a CPU that only emulates bfloat16, a job with it is refused."""
    with pytest.raises(InputError, match=r"resources\.precision: bfloat16 needs an NVIDIA GPU"):
        check_precision("bfloat16", "cpu")


def test_a_device_without_it_is_refused_at_launch(job_file: Path, tmp_path: Path) -> None:
    """A CPU has no TF32: the launch ends before the first trial and leaves no run."""
    assert not has_tf32(CPU)
    with pytest.raises(InputError, match="tf32 needs an NVIDIA GPU") as caught:
        launch_run(job_file, tmp_path / "run", InlineBackend(), *ON_CPU, "resources.precision=tf32")
    assert "set it to float32" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_engine_says_that_its_device_lacks_it() -> None:
    """An engine on a device without the precision of the run never becomes ready."""

    async def start() -> None:
        workload = Workload(pairs=(), weights={}, metrics=(), precision="tf32")
        await EngineActor(workload, device="cpu", threads=None).ready()

    with pytest.raises(InputError, match="tf32 needs an NVIDIA GPU"):
        asyncio.run(start())


@pytest.mark.parametrize(
    "setting",
    [
        "fixed: {precision: float32}\nparams:",
        "params:\n  precision: {options: [float32, bfloat16]}",
    ],
)
def test_a_space_and_a_job_cannot_both_set_it(setting: str, job_file: Path, tmp_path: Path) -> None:
    """A job is refused that sets the precision which its space fixes or searches."""
    space = tmp_path / "both.yaml"
    space.write_text(
        f"name: both\nwhy: an example\n{setting}\n  lr: {{low: 0.01, high: 0.1, log: true}}\n"
    )
    refuse_unused_keys(*load_job(job_file, [f"space={space}"]))
    for value in ("auto", "float32", "bfloat16"):
        job, found = load_job(job_file, [f"space={space}", f"resources.precision={value}"])
        with pytest.raises(ConfigError, match="the space both sets `precision` as well"):
            refuse_unused_keys(job, found)


@pytest.mark.parametrize(
    ("value", "hint"), [("bfloat", "bfloat16"), ("float", "float32"), ("fp16", "")]
)
def test_an_unknown_precision_is_named(value: str, hint: str, job_file: Path) -> None:
    """The error of an unknown precision lists those that there are, and the nearest one."""
    with pytest.raises(ConfigError, match=r"`resources\.precision`: expected 'auto'") as caught:
        load_job(job_file, [f"resources.precision={value}"])
    assert value in str(caught.value)
    assert ("did you mean" in str(caught.value)) == bool(hint)
    assert hint in str(caught.value)
