"""Whatever a file holds: it is read, or refused with an error of ours, and nothing else happens.

CI tries some of each; ``scripts/test --faults`` 1,000.
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
from nst_core.lanes.assembly import LaneState
from nst_core.lanes.checkpoints import dump_lanes, load_lanes
from nst_core.networks.registry import LPIPS_LAYERS
from nst_core.networks.weights import read_file
from nst_core.presets.built_in import BASELINES, load_preset
from tests.tuner.helpers import make_search, nst_tuner, play
from tuner.doctor.run import check_run
from tuner.job.load import load_job
from tuner.pages.prefer.votes import kept_votes
from tuner.pages.report.facts import report_facts
from tuner.pages.report.page import as_block
from tuner.results.as_json import best_json, dump, status_json
from tuner.results.results import load_results
from tuner.study.records import EngineStats
from tuner.terminal.run_tables import best_table

SOME, MANY = 60, 1000
COUNTS = [
    pytest.param(SOME, id="some"),
    pytest.param(MANY, id="many", marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
]

#: What people and machines put where something else belongs.
STRANGE = (
    *(None, True, -1, 0, 10**30, 1e308, "", "x" * 5000, "\x00", "../../etc/passwd", "🖼", "nan"),
    *([], {}, [[[[]]]], {"a": {"b": {}}}, ["a", 1], {"": None}, "<script>alert(1)</script>"),
)


class Bomb:
    """Goes off when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploded",)


def changed_bytes(content: bytes, chance: random.Random) -> bytes:
    """A file that a disk, a network or a person spoiled."""
    data = bytearray(content)
    kind = chance.randrange(6)
    if kind == 0:
        return bytes(data[: chance.randrange(len(data) + 1)])
    if kind == 1:
        return bytes(chance.randbytes(chance.randrange(200)))
    if kind == 2:
        return pickle.dumps(Bomb())
    for _ in range(chance.randrange(1, 20)):
        place = chance.randrange(len(data))
        if kind == 3:
            data[place] = chance.randrange(256)
        elif kind == 4:
            del data[place : place + chance.randrange(1, 9)]
        else:
            data[place:place] = chance.randbytes(chance.randrange(1, 9))
        if not data:
            break
    return bytes(data)


def changed_tree(tree: object, chance: random.Random) -> object:
    """Nested JSON with one place changed to something strange."""
    if isinstance(tree, dict) and tree and chance.random() < 0.85:
        key = chance.choice(list(tree))
        what = chance.random()
        if what < 0.1:
            return {k: v for k, v in tree.items() if k != key}
        if what < 0.2:
            return {**tree, chance.choice(["x", key + "s", "__class__", ""]): tree[key]}
        return {**tree, key: changed_tree(tree[key], chance)}
    if isinstance(tree, list) and tree and chance.random() < 0.7:
        place = chance.randrange(len(tree))
        return [changed_tree(v, chance) if i == place else v for i, v in enumerate(tree)]
    return chance.choice(STRANGE)


def refuses_or_reads(read: Callable[[], object]) -> bool:
    """Whether it was read; anything but an error of ours goes through."""
    try:
        read()
    except NstError as error:
        assert str(error).strip()
        return False
    return True


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, where a bomb would leave its mark."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def try_all(
    folder: Path,
    count: int,
    make: Callable[[random.Random], bytes],
    read: Callable[[Path], object],
    name: str = "file",
) -> None:
    """Write and read so many files; at least one of them must have been refused."""
    refused = 0
    for seed in range(count):
        path = folder / name
        path.write_bytes(make(random.Random(seed)))
        try:
            refused += not refuses_or_reads(lambda: read(path))  # noqa: B023
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        assert [entry.name for entry in folder.iterdir()] == [name], f"seed {seed}"
    path.unlink()
    assert refused


@pytest.mark.parametrize("count", COUNTS)
def test_job_files(count: int, here: Path, job_file: Path) -> None:
    """Job files with anything anywhere, and torn ones."""
    whole = job_file.read_bytes()
    tree = yaml.safe_load(whole)

    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.3:
            return changed_bytes(whole, chance)
        return yaml.safe_dump(changed_tree(tree, chance)).encode()

    try_all(here, count, make, load_job)


@pytest.mark.parametrize("count", COUNTS)
def test_presets(count: int, here: Path) -> None:
    """Presets with anything anywhere, and torn ones."""
    whole = next(iter(BASELINES.values())).to_json()
    tree = json.loads(whole)

    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.3:
            return changed_bytes(whole.encode(), chance)
        return json.dumps(changed_tree(tree, chance)).encode()

    try_all(here, count, make, lambda path: load_preset(str(path)))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff", "webp", "bmp", "gif"])
def test_images(count: int, suffix: str, here: Path) -> None:
    """Damaged pictures of every common kind."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    try_all(here, count, lambda chance: changed_bytes(file.getvalue(), chance), load_image)


@pytest.mark.parametrize("count", COUNTS)
def test_saved_lanes_and_weights(count: int, here: Path) -> None:
    """Damaged tensor files; a pickle where tensors belong does not go off."""
    import safetensors.torch

    header = {"version": 1, "steps": [3], "facts": {}}
    tensors = {"0/image": torch.rand(3, 8, 8), "0/state/kept": torch.rand(3, 8, 8)}
    lanes = safetensors.torch.save(tensors, metadata={"lanes": json.dumps(header)})
    try_all(
        here,
        count,
        lambda chance: changed_bytes(lanes, chance),
        lambda path: load_lanes(path.read_bytes()),
    )
    try_all(
        here,
        count,
        lambda chance: changed_bytes(lanes, chance),
        lambda path: read_file("vgg16", path),
    )
    channels = zip(LPIPS_LAYERS, (64, 192, 384, 256, 256), strict=True)
    weights = safetensors.torch.save({layer: torch.rand(size) for layer, size in channels})
    try_all(
        here,
        count,
        lambda chance: changed_bytes(weights, chance),
        lambda path: read_file("lpips-alex", path),
        name="file.safetensors",
    )


@pytest.mark.parametrize("count", COUNTS)
def test_run_directories(count: int, here: Path, job_file: Path, tmp_path: Path) -> None:
    """Damaged studies and jobs of a run: looking at it, and at what is wrong with it."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    play(make_search(job_file, folder), lambda plan, steps: 1.0 / steps)
    wholes = {name: (folder / name).read_bytes() for name in ("study.journal", "job.yaml")}
    for seed in range(count):
        chance = random.Random(seed)
        spoiled = chance.choice(list(wholes))
        for name, content in wholes.items():
            damaged = changed_bytes(content, chance) if name == spoiled else content
            (folder / name).write_bytes(damaged)
        try:
            refuses_or_reads(lambda: best_json(load_results(folder)))
            refuses_or_reads(lambda: check_run(folder))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {spoiled}: {error!r}") from error
        assert not list(here.iterdir())


def look_at(folder: Path) -> None:
    """What the commands say of a run, each of them."""
    results = load_results(folder)
    for look in (
        lambda: dump(status_json(results)),
        lambda: dump(best_json(results)),
        lambda: best_table(results, 5),
        lambda: as_block(report_facts(results)),
        lambda: results.preset().to_json(),
        lambda: kept_votes(results.notes),
    ):
        refuses_or_reads(look)


def test_saved_lanes_are_limited(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes of more bytes than any trial's are not read, and the trial begins again."""
    search = make_search(job_file, tmp_path)
    plan = search.next()
    lanes = dump_lanes([LaneState(step=1, image_3HW=torch.zeros(3, 8, 8), state={})], {})
    search.keep_lanes(plan.trial, lanes)
    assert search.kept_lanes(plan.trial) == lanes
    monkeypatch.setattr("tuner.search.search.MAX_BYTES", len(lanes) - 1)
    assert search.kept_lanes(plan.trial) is None


def test_a_run_is_read_once_by_its_doctor(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checks share what they read, which takes seconds of a large run."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 1.0 / steps)
    read = mock.Mock(wraps=load_results)
    monkeypatch.setattr("tuner.doctor.run.load_results", read)
    assert [check.name for check in check_run(tmp_path)][:3] == ["job", "study", "trials"]
    assert read.call_count == 1


@pytest.mark.parametrize("count", COUNTS)
def test_studies_of_another_shape(count: int, job_file: Path, tmp_path: Path) -> None:
    """A journal whose records are whole, and hold anything in the places of what a run notes."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "job.yaml").write_bytes(job_file.read_bytes())
    search = make_search(job_file, folder, "finals.count=1", "finals.seeds=2")
    play(search, lambda plan, steps: 1.0 / steps)
    search.engines_ended([EngineStats(alive_s=1.0)])
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
    noted = [number for number, record in enumerate(records) if "user_attr" in record]
    refused = 0
    for seed in range(count):
        chance = random.Random(seed)
        number = chance.choice(noted)
        changed = {k: changed_tree(v, chance) for k, v in records[number]["user_attr"].items()}
        spoiled = [*records[:number], {**records[number], "user_attr": changed}]
        spoiled += records[number + 1 :]
        journal.write_text("".join(f"{json.dumps(record)}\n" for record in spoiled))
        try:
            refused += not refuses_or_reads(lambda: look_at(folder))
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
def test_a_note_of_another_shape_is_named(
    note: str, value: object, job_file: Path, tmp_path: Path
) -> None:
    """What is wrong with a study's notes is said with the file that they are in."""
    (tmp_path / "job.yaml").write_bytes(job_file.read_bytes())
    search = make_search(job_file, tmp_path)
    search._study.note(note, value)
    with pytest.raises(RunError, match=r"study.journal: cannot be read as a study"):
        load_results(tmp_path)


@pytest.mark.parametrize("notes", [{}, {"pair_baselines": []}, {"baselines": {"style": {}}}])
def test_a_run_that_compared_nothing(
    notes: Mapping[str, object], job_file: Path, tmp_path: Path
) -> None:
    """A study with reports and without what doing nothing scores is refused in one line."""
    (tmp_path / "job.yaml").write_bytes(job_file.read_bytes())
    search = make_search(job_file, tmp_path)
    for key, value in {"pair_baselines": [], **notes}.items():
        search._study.note(key, value)
    assert load_results(tmp_path).records == []
    play(search, lambda plan, steps: 1.0 / steps)
    for command in ("status", "best", "report"):
        done = nst_tuner(command, tmp_path)
        assert done.returncode == 2
        assert "no baseline of the content" in done.stderr and "Traceback" not in done.stderr


def test_another_job_than_the_runs(job_file: Path, tmp_path: Path) -> None:
    """A job that asks for what the run did not measure is no job of this run."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 1.0 / steps)
    job = yaml.safe_load(job_file.read_text())
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**job, "objective": "dists"}))
    with pytest.raises(RunError, match="has no dists at step"):
        load_results(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..\\outside"])
def test_names_lead_nowhere(name: str, job_file: Path, tmp_path: Path) -> None:
    """A name in a job is not a path: whatever it is, everything is written in the run."""
    from tuner.study.run_dir import RunDir

    tree = yaml.safe_load(job_file.read_text())
    job_file.write_text(yaml.safe_dump({**tree, "name": name}))
    job, _ = load_job(job_file)
    folder = tmp_path / "deep" / "run"
    folder.mkdir(parents=True)
    RunDir(folder).write_job(job)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {job_file}
    assert all(path.is_relative_to(folder) for path in written)
