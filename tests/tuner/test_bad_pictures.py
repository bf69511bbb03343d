"""Pictures that cannot be done, beside those that can; sources that are no plain file."""

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
from nst_core.lanes.scheduler import LaneScheduler
from nst_core.presets.preset import Preset
from tests.tuner.apply.test_folder import CONFIG, styles_of
from tests.tuner.helpers import nst_tuner
from tuner.apply.folder import apply_to_many, check_all
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
def test_whatever_befalls_one_picture_the_others_are_done(
    error: Exception, place: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any exception on one picture, memory included, is that picture's failure and is named."""
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
    asked = [
        Picture(name=f"{name}.jpg", source=name, load=load, out=tmp_path / f"{name}.png")
        for name, load in loads.items()
    ]
    said: list[str] = []
    tally = apply_to_many(
        Preset(name="x", config=CONFIG.replace(steps=2)),
        asked,
        styles_of(pictures),
        weights=(),
        console=err,
        say=said.append,
    )
    assert tally.done == 2 and len(tally.failed) == 1 and "bad.jpg" in tally.failed[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "last.png"]
    assert tally.failed[0] in said and "\n" not in tally.failed[0]
    with pytest.raises(WorkError, match=r"(?s)1 of 3 could not be done.*bad\.jpg"):
        check_all(tally)


def test_a_picture_for_which_no_memory_is_left_waits_for_the_others(
    tmp_path: Path, pictures: Path
) -> None:
    """What fails beside others for want of memory is tried again when they are done."""
    good, tried = load_image(pictures / "content.png"), list[int]()

    def crowded() -> torch.Tensor:
        tried.append(1)
        if len(tried) == 1:
            raise MemoryError
        return good

    asked = [
        Picture(name=name, source=name, load=load, out=tmp_path / f"{name}.png")
        for name, load in (("a", lambda: good), ("b", crowded), ("c", lambda: good))
    ]
    preset = Preset(name="x", config=CONFIG.replace(steps=2))
    tally = apply_to_many(
        preset, asked, styles_of(pictures), weights=(), console=err, say=print, lanes=3
    )
    assert (tally.done, tally.failed, len(tried)) == (3, [], 2)


def test_a_stage_that_cannot_begin_is_that_pictures_failure(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that fails on the way to its next size is named; the work ends."""
    good = load_image(pictures / "content.png")
    put = LaneScheduler.put

    def fails(self: LaneScheduler, key: tuple[int, int], *rest: Any) -> None:
        if key[0] == 1 and rest[-1] is not None:
            raise ValueError("no such size")
        put(self, key, *rest)

    monkeypatch.setattr(LaneScheduler, "put", fails)
    asked = [
        Picture(name=name, source=name, load=lambda: good, out=tmp_path / f"{name}.png")
        for name in ("a", "b", "c")
    ]
    preset = Preset(name="x", config=CONFIG.replace(size_px=96, scales=2, steps=4))
    tally = apply_to_many(
        preset, asked, styles_of(pictures), weights=(), console=err, say=lambda _: None
    )
    assert tally.done == 2 and len(tally.failed) == 1
    assert tally.failed[0].startswith("b: step ") and "no such size" in tally.failed[0]


def test_the_command_says_which_metadata_it_ignored(tmp_path: Path, pictures: Path) -> None:
    """A warning of the library reaches people as a line, once for each picture."""
    with Image.open(pictures / "content.png") as picture:
        picture.save(tmp_path / "a.png", icc_profile=b"none" * 64)
    settings = ("--set", "steps=1", "--set", "size_px=48", "--out", tmp_path / "o.png")
    done = nst_tuner(
        "stylize", "--content", tmp_path / "a.png", "--style", tmp_path / "a.png", *settings
    )
    assert done.returncode == 0
    assert done.stderr.count("a.png: its color profile cannot be read and is ignored") == 1


def test_names_that_no_file_has_end_in_a_line(tmp_path: Path, pictures: Path) -> None:
    """A content or a style whose name is too long for a file is refused in one line."""
    long = "n" * 300 + ".png"
    good = pictures / "style.png"
    for content, style in ((long, good), (good, long), (good, f"{good}@{long}")):
        command = ("stylize", "--content", content, "--style", style, "--set", "steps=1")
        done = nst_tuner(*command, "--out", tmp_path / "o.png")
        assert done.returncode == 2 and "longer than a file's name can be" in done.stderr


def test_a_pipe_keeps_its_transparency(tmp_path: Path, pictures: Path) -> None:
    """A content that can be read only once is read once, with the transparency it has."""
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
