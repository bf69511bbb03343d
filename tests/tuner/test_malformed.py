"""Damaged files of every kind: they are read or refused, and nothing else happens.

Each test tries 60 damaged files, and 1,000 with ``scripts/test --faults``.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from nst_core.errors import NstError, RunError
from nst_core.images.tensors import load_image
from nst_core.lanes.checkpoints import dump_lanes, load_lanes
from nst_core.lanes.lane_state import LaneState
from nst_core.networks.registry import LPIPS_LAYERS
from nst_core.networks.weights import read_file
from nst_core.presets.built_in import BASELINES, load_preset
from tests.tuner.helpers import make_search, nst_tuner, play
from tuner.doctor.run_checks import check_run
from tuner.job.load import load_job
from tuner.pages.prefer.votes import stored_votes
from tuner.pages.report.page import as_block
from tuner.pages.report.page_data import report_data
from tuner.results.as_json import best_json, dump, status_json
from tuner.results.results import load_results
from tuner.study.records import EngineStats
from tuner.terminal.run_tables import best_table

SOME, MANY = 60, 1000
COUNTS = [
    pytest.param(SOME, id="some"),
    pytest.param(MANY, id="many", marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
]

#: Values that do not belong where they are put.
STRANGE = (
    *(None, True, -1, 0, 10**30, 1e308, "", "x" * 5000, "\x00", "../../etc/passwd", "🖼", "nan"),
    *([], {}, [[[[]]]], {"a": {"b": {}}}, ["a", 1], {"": None}, "<script>alert(1)</script>"),
)


class Bomb:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploded",)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a file, damaged at random: cut, changed, or replaced by a pickle."""
    data = bytearray(content)
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data) + 1)])
    if kind == 1:
        return bytes(rng.randbytes(rng.randrange(200)))
    if kind == 2:
        return pickle.dumps(Bomb())
    for _ in range(rng.randrange(1, 20)):
        place = rng.randrange(len(data))
        if kind == 3:
            data[place] = rng.randrange(256)
        elif kind == 4:
            del data[place : place + rng.randrange(1, 9)]
        else:
            data[place:place] = rng.randbytes(rng.randrange(1, 9))
        if not data:
            break
    return bytes(data)


def changed_tree(tree: object, rng: random.Random) -> object:
    """Return nested JSON with one value removed, renamed or replaced by a strange one."""
    if isinstance(tree, dict) and tree and rng.random() < 0.85:
        key = rng.choice(list(tree))
        draw = rng.random()
        if draw < 0.1:
            return {k: v for k, v in tree.items() if k != key}
        if draw < 0.2:
            return {**tree, rng.choice(["x", key + "s", "__class__", ""]): tree[key]}
        return {**tree, key: changed_tree(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.7:
        place = rng.randrange(len(tree))
        return [changed_tree(v, rng) if i == place else v for i, v in enumerate(tree)]
    return rng.choice(STRANGE)


def can_read(read: Callable[[], object]) -> bool:
    """Return whether a file is read; False if it is refused with an `NstError`."""
    try:
        read()
    except NstError as error:
        assert str(error).strip()
        return False
    return True


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, where the file of a `Bomb` would appear."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def check_damaged_files(
    folder: Path,
    count: int,
    make: Callable[[random.Random], bytes],
    read: Callable[[Path], object],
    name: str = "file",
) -> None:
    """Write and read damaged files, and assert that nothing else happens.

    Args:
        folder: an empty folder.
        count: number of files; at least one of them must be refused.
        make: returns the bytes of a file.
        read: reads a file.
        name: of the file.
    """
    refused = 0
    for seed in range(count):
        path = folder / name
        path.write_bytes(make(random.Random(seed)))
        try:
            refused += not can_read(lambda: read(path))  # noqa: B023
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        assert [entry.name for entry in folder.iterdir()] == [name], f"seed {seed}"
    path.unlink()
    assert refused


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_job_files_are_read_or_refused(count: int, here: Path, job_file: Path) -> None:
    """Job files with strange values or damaged bytes are read or refused."""
    intact = job_file.read_bytes()
    tree = yaml.safe_load(intact)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return changed_bytes(intact, rng)
        return yaml.safe_dump(changed_tree(tree, rng)).encode()

    check_damaged_files(here, count, make, load_job)


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_presets_are_read_or_refused(count: int, here: Path) -> None:
    """Presets with strange values or damaged bytes are read or refused."""
    intact = next(iter(BASELINES.values())).to_json()
    tree = json.loads(intact)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return changed_bytes(intact.encode(), rng)
        return json.dumps(changed_tree(tree, rng)).encode()

    check_damaged_files(here, count, make, lambda path: load_preset(str(path)))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff", "webp", "bmp", "gif"])
def test_damaged_pictures_are_read_or_refused(count: int, suffix: str, here: Path) -> None:
    """Damaged pictures of every common format are read or refused."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    check_damaged_files(here, count, lambda rng: changed_bytes(file.getvalue(), rng), load_image)


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_tensor_files_are_read_or_refused(count: int, here: Path) -> None:
    """Damaged files of lanes and weights are read or refused, and no pickle in them is executed."""
    import safetensors.torch

    header = {"version": 1, "steps": [3], "facts": {}}
    tensors = {"0/image": torch.rand(3, 8, 8), "0/state/kept": torch.rand(3, 8, 8)}
    lanes = safetensors.torch.save(tensors, metadata={"lanes": json.dumps(header)})
    check_damaged_files(
        here,
        count,
        lambda rng: changed_bytes(lanes, rng),
        lambda path: load_lanes(path.read_bytes()),
    )
    check_damaged_files(
        here,
        count,
        lambda rng: changed_bytes(lanes, rng),
        lambda path: read_file("vgg16", path),
    )
    channels = zip(LPIPS_LAYERS, (64, 192, 384, 256, 256), strict=True)
    weights = safetensors.torch.save({layer: torch.rand(size) for layer, size in channels})
    check_damaged_files(
        here,
        count,
        lambda rng: changed_bytes(weights, rng),
        lambda path: read_file("lpips-alex", path),
        name="file.safetensors",
    )


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_run_directories_are_read_or_refused(
    count: int, here: Path, job_file: Path, tmp_path: Path
) -> None:
    """Runs with a damaged study or job file are read or refused, and the doctor checks them."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    play(make_search(job_file, folder), lambda plan, steps: 1.0 / steps)
    intact = {name: (folder / name).read_bytes() for name in ("study.journal", "job.yaml")}
    for seed in range(count):
        rng = random.Random(seed)
        damaged = rng.choice(list(intact))
        for name, content in intact.items():
            new = changed_bytes(content, rng) if name == damaged else content
            (folder / name).write_bytes(new)
        try:
            can_read(lambda: best_json(load_results(folder)))
            can_read(lambda: check_run(folder))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {damaged}: {error!r}") from error
        assert not list(here.iterdir())


def show_run(folder: Path) -> None:
    """Do what each of the commands does that show a run."""
    results = load_results(folder)
    for command in (
        lambda: dump(status_json(results)),
        lambda: dump(best_json(results)),
        lambda: best_table(results, 5),
        lambda: as_block(report_data(results)),
        lambda: results.preset().to_json(),
        lambda: stored_votes(results.notes),
    ):
        can_read(command)


def test_saved_lanes_that_are_too_large_are_not_read(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved lanes above the size limit are not read."""
    search = make_search(job_file, tmp_path)
    plan = search.next()
    lanes = dump_lanes([LaneState(step=1, image_3HW=torch.zeros(3, 8, 8), state={})], {})
    search.save_lanes(plan.trial, lanes)
    assert search.saved_lanes(plan.trial) == lanes
    monkeypatch.setattr("tuner.search.trial_files.MAX_BYTES", len(lanes) - 1)
    assert search.saved_lanes(plan.trial) is None


def test_doctor_reads_a_run_once(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks of a run share its results, because loading a large run takes seconds."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 1.0 / steps)
    read = mock.Mock(wraps=load_results)
    monkeypatch.setattr("tuner.doctor.run_checks.load_results", read)
    assert [check.name for check in check_run(tmp_path)][:3] == ["job", "study", "trials"]
    assert read.call_count == 1


@pytest.mark.parametrize("count", COUNTS)
def test_strange_notes_in_a_study_are_read_or_refused(
    count: int, job_file: Path, tmp_path: Path
) -> None:
    """A journal of intact records with strange values in the notes of a run is read or refused."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    search = make_search(job_file, folder, "finals.count=1", "finals.seeds=2")
    play(search, lambda plan, steps: 1.0 / steps)
    search.record_engine_stats([EngineStats(alive_s=1.0)])
    scores = {"content": {"lpips": 0.5, "ssim": 0.5}}
    for key, value in (
        ("pair_baselines", [scores]),
        ("votes", [{"better": 0, "worse": 1, "pair": 0}]),
        ("environment", {"python": "3"}),
        ("over", "all trials are done"),
    ):
        search._study.note(key, value)
    journal = folder / "study.journal"
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    with_notes = [number for number, record in enumerate(records) if "user_attr" in record]
    refused = 0
    for seed in range(count):
        rng = random.Random(seed)
        number = rng.choice(with_notes)
        changed = {k: changed_tree(v, rng) for k, v in records[number]["user_attr"].items()}
        damaged = [*records[:number], {**records[number], "user_attr": changed}]
        damaged += records[number + 1 :]
        journal.write_text("".join(f"{json.dumps(record)}\n" for record in damaged))
        try:
            refused += not can_read(lambda: show_run(folder))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {changed}: {error!r}") from error
    assert refused


@pytest.mark.parametrize(
    ("note", "value"),
    [
        ("engines", [{"alive_s": "x"}]),
        ("engines", 3),
        ("votes", [{"better": 0}]),
        ("pair_baselines", [{"content": {"lpips": 0.5}}, {}]),
        ("baselines", {"content": 0.5}),
        ("over", {}),
        ("format", "new"),
    ],
)
def test_an_invalid_note_names_the_file(
    note: str, value: object, job_file: Path, tmp_path: Path
) -> None:
    """A study with an invalid note is refused with the name of its file."""
    (tmp_path / "job.yaml").write_bytes(job_file.read_bytes())
    search = make_search(job_file, tmp_path)
    search._study.note(note, value)
    with pytest.raises(RunError, match=r"study.journal: cannot be read as a study"):
        load_results(tmp_path)


@pytest.mark.parametrize("notes", [{}, {"pair_baselines": []}, {"baselines": {"style": {}}}])
def test_a_run_without_baselines_is_refused(
    notes: Mapping[str, object], job_file: Path, tmp_path: Path
) -> None:
    """A study with reports but without the score of the untouched content is refused."""
    (tmp_path / "job.yaml").write_bytes(job_file.read_bytes())
    search = make_search(job_file, tmp_path)
    for key, value in {"pair_baselines": [], **notes}.items():
        search._study.note(key, value)
    assert load_results(tmp_path).records == []
    play(search, lambda plan, steps: 1.0 / steps)
    for command in ("status", "best", "report"):
        done = nst_tuner(command, tmp_path)
        assert done.returncode == 2
        assert "of the content is missing" in done.stderr and "Traceback" not in done.stderr


def test_a_job_with_another_objective_is_refused(job_file: Path, tmp_path: Path) -> None:
    """A run whose job file names a metric that the trials did not measure is refused."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 1.0 / steps)
    job = yaml.safe_load(job_file.read_text())
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**job, "objective": "dists"}))
    with pytest.raises(RunError, match="has no dists at step"):
        load_results(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..\\outside"])
def test_a_name_is_not_a_path(name: str, job_file: Path, tmp_path: Path) -> None:
    """Whatever the name of a job is, all files are written inside the run directory."""
    from tuner.study.run_dir import RunDir

    tree = yaml.safe_load(job_file.read_text())
    job_file.write_text(yaml.safe_dump({**tree, "name": name}))
    job, _ = load_job(job_file)
    folder = tmp_path / "deep" / "run"
    folder.mkdir(parents=True)
    RunDir(folder).write_job(job)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {job_file}
    assert all(path.is_relative_to(folder) for path in written)
