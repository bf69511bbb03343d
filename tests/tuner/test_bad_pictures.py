"""Pictures that fail in a folder of good ones, and sources that are not plain files."""

import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nst_core.errors import InputError, WorkError
from nst_core.images.tensors import load_image, save_image
from nst_core.lanes.lane_scheduler import LaneScheduler
from nst_core.presets.preset import Preset
from tests.tuner.apply.test_folder import CONFIG, styles_of
from tests.tuner.helpers import nst_tuner
from tuner.apply.folder import check_all, make_results, preset_work
from tuner.apply.picture_files import Picture
from tuner.terminal.console import err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("out of memory"),
        WorkError("no result"),
        struct.error("argument out of range"),
        RecursionError("too deep"),
        InputError("cannot be read"),
        OSError(5, "Input/output error"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["load", "save"])
def test_a_failing_picture_does_not_stop_the_others(
    error: Exception, place: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any exception on one picture, the others are done and the message names that one."""
    good = load_image(pictures / "content.png")

    def fails(*_: object, **__: object) -> torch.Tensor:
        raise error

    def saves(image: torch.Tensor, path: Path, **options: Any) -> None:
        fails() if path.stem == "bad" else save_image(image, path, **options)

    if place == "save":
        monkeypatch.setattr("tuner.apply.folder.save_image", saves)
    loads = {name: lambda: good for name in ("first", "bad", "last")}
    if place == "load":
        loads["bad"] = fails
    requested = [
        Picture(name=f"{name}.jpg", source=name, load=load, out=tmp_path / f"{name}.png")
        for name, load in loads.items()
    ]
    lines: list[str] = []
    preset = Preset(name="x", config=CONFIG.replace(steps=2))
    work = preset_work(preset, styles_of(pictures), weights=(), say=lines.append)
    tally = make_results(work, requested, console=err, say=lines.append)
    assert tally.done == 2 and len(tally.failed) == 1 and "bad.jpg" in tally.failed[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "last.png"]
    assert tally.failed[0] in lines and "\n" not in tally.failed[0]
    with pytest.raises(WorkError, match=r"(?s)1 of 3 could not be done.*bad\.jpg"):
        check_all(tally)


def test_a_picture_without_memory_is_tried_again_after_the_others(
    tmp_path: Path, pictures: Path
) -> None:
    """A picture that finds no memory beside others is tried again when they are done."""
    good, attempts = load_image(pictures / "content.png"), list[int]()

    def fails_once() -> torch.Tensor:
        attempts.append(1)
        if len(attempts) == 1:
            raise MemoryError
        return good

    requested = [
        Picture(name=name, source=name, load=load, out=tmp_path / f"{name}.png")
        for name, load in (("a", lambda: good), ("b", fails_once), ("c", lambda: good))
    ]
    preset = Preset(name="x", config=CONFIG.replace(steps=2))
    work = preset_work(preset, styles_of(pictures), weights=(), say=print, lanes=3)
    tally = make_results(work, requested, console=err, say=print)
    assert (tally.done, tally.failed, len(attempts)) == (3, [], 2)


def test_a_picture_that_fails_at_its_next_size_is_named(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that fails at the change to its next size is named, and the others are done."""
    good = load_image(pictures / "content.png")
    put = LaneScheduler.put

    def fails(self: LaneScheduler, key: tuple[int, int], *rest: Any) -> None:
        if key[0] == 1 and rest[-1] is not None:
            raise ValueError("no such size")
        put(self, key, *rest)

    monkeypatch.setattr(LaneScheduler, "put", fails)
    requested = [
        Picture(name=name, source=name, load=lambda: good, out=tmp_path / f"{name}.png")
        for name in ("a", "b", "c")
    ]
    preset = Preset(name="x", config=CONFIG.replace(size_px=96, scales=2, steps=4))
    work = preset_work(preset, styles_of(pictures), weights=(), say=lambda _: None)
    tally = make_results(work, requested, console=err, say=lambda _: None)
    assert tally.done == 2 and len(tally.failed) == 1
    assert tally.failed[0].startswith("b: step ") and "no such size" in tally.failed[0]


def test_ignored_metadata_is_reported_once(tmp_path: Path, pictures: Path) -> None:
    """`stylize` prints one line for each picture whose color profile it ignores."""
    with Image.open(pictures / "content.png") as picture:
        picture.save(tmp_path / "a.png", icc_profile=b"none" * 64)
    settings = ("--set", "steps=1", "--set", "size_px=48", "--out", tmp_path / "o.png")
    done = nst_tuner(
        "stylize", "--content", tmp_path / "a.png", "--style", tmp_path / "a.png", *settings
    )
    assert done.returncode == 0
    assert done.stderr.count("a.png: its color profile cannot be read and is ignored") == 1


def test_names_that_are_too_long_are_refused(tmp_path: Path, pictures: Path) -> None:
    """A content, style or mask whose file name is too long is refused with one line."""
    long = "n" * 300 + ".png"
    good = pictures / "style.png"
    for content, style in ((long, good), (good, long), (good, f"{good}@{long}")):
        command = ("stylize", "--content", content, "--style", style, "--set", "steps=1")
        done = nst_tuner(*command, "--out", tmp_path / "o.png")
        assert done.returncode == 2 and "longer than a file's name can be" in done.stderr


def test_a_pipe_keeps_its_transparency(tmp_path: Path, pictures: Path) -> None:
    """A content from a pipe, which can be read only once, keeps its transparency."""
    os.mkfifo(tmp_path / "pipe")
    with Image.open(pictures / "content.png") as picture:
        picture.putalpha(100)
        picture.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    settings = ("--set", "steps=1", "--set", "size_px=48", "--keep-alpha")
    command = ("stylize", "--content", tmp_path / "pipe", "--style", pictures / "style.png")
    done = nst_tuner(*command, *settings, "--out", tmp_path / "o.png")
    writer.join()
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "o.png") as result:
        assert result.getchannel("A").getextrema() == (100, 100)
