"""Stylizing a folder: several pictures at a time, continuing, failures, and memory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images.tensors import load_image, read_text, to_uint8
from nst_core.lanes.memory import needed_bytes
from nst_core.losses.inputs import Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights
from nst_core.presets.preset import Preset
from nst_core.stylization import stylize
from tests.tuner.helpers import nst_tuner
from tuner.apply.folder import Tally, _fingerprint, make_results, preset_work
from tuner.apply.picture_batches import PictureBatches
from tuner.apply.picture_files import Picture, pictures_in
from tuner.terminal.console import err

CONFIG = StyleConfig(size_px=48, steps=6, scales=1)


@pytest.fixture
def folder(tmp_path: Path, pictures: Path) -> Path:
    """Folder with five pictures of three shapes, one of them damaged, and a text file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, source in (("a", "content"), ("b", "style"), ("c", "content"), ("d", "reference")):
        shutil.copy(pictures / f"{source}.png", folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def styles_of(pictures: Path) -> list[Style]:
    """Return the style image of the test pictures."""
    return [Style(image_3HW=load_image(pictures / "style.png"))]


def apply(
    folder: Path,
    out: Path,
    pictures: Path,
    messages: list[str] | None = None,
    preset: Preset | None = None,
) -> Tally:
    """Apply a preset, by default `CONFIG`, to a folder."""
    say = (messages if messages is not None else []).append
    chosen = preset or Preset(name="x", config=CONFIG)
    work = preset_work(chosen, styles_of(pictures), weights=(), say=say)
    return make_results(work, pictures_in(folder, out)[0], console=err, say=say)


def test_results_of_a_folder_equal_those_of_single_pictures(
    folder: Path, tmp_path: Path, pictures: Path, weights: dict[str, Weights]
) -> None:
    """Each result is the same as for the picture alone; a damaged picture stops no other."""
    tally = apply(folder, tmp_path / "out", pictures)
    assert (tally.done, tally.kept, len(tally.failed)) == (4, 0, 1)
    assert "broken.jpg" in tally.failed[0]
    for name in "abcd":
        *_, last = stylize(
            CONFIG,
            load_image(folder / f"{name}.png"),
            styles_of(pictures),
            weights=weights.__getitem__,
            device="cpu",
        )
        result = to_uint8(load_image(tmp_path / "out" / f"{name}.png")).astype(int)
        assert np.abs(result - to_uint8(last.image_3HW)).mean() < 1.0
    assert "nst-tuner-preset" in read_text(tmp_path / "out" / "a.png")


def test_existing_results_are_kept(folder: Path, tmp_path: Path, pictures: Path) -> None:
    """A second run makes only the results that are missing."""
    out = tmp_path / "out"
    apply(folder, out, pictures)
    before = {name: (out / f"{name}.png").stat().st_mtime_ns for name in "acd"}
    (out / "b.png").unlink()
    tally = apply(folder, out, pictures)
    assert (tally.done, tally.kept) == (1, 3)
    assert before == {name: (out / f"{name}.png").stat().st_mtime_ns for name in "acd"}


def test_files_that_something_else_made_are_not_overwritten(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """Results of another preset and other files are refused before any work."""
    out = tmp_path / "out"
    apply(folder, out, pictures)
    other = Preset(name="y", config=CONFIG.replace(steps=2))
    with pytest.raises(InputError, match="not made with these settings"):
        apply(folder, out, pictures, preset=other)
    (out / "a.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"a\.png: exists already .* or remove it"):
        apply(folder, out, pictures)
    with pytest.raises(InputError, match="is the folder of the pictures"):
        apply(folder, folder, pictures)


def test_result_of_a_changed_picture_or_style_is_not_kept(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """A result is out of date if the picture has changed, or if a style has another mask."""
    out = tmp_path / "out"
    apply(folder, out, pictures)
    (out / "d.png").unlink()
    shutil.copy(folder / "a.png", folder / "b.png")
    with pytest.raises(InputError, match=r"b\.png: exists already .* from the current b\.png"):
        apply(folder, out, pictures)
    assert not (out / "d.png").exists()
    (style,) = styles_of(pictures)
    half = torch.zeros(64, 64)
    half[:32] = 1
    with_style_region = [Style(image_3HW=style.image_3HW, style_region_HW=half)]
    with_region = [Style(image_3HW=style.image_3HW, region_HW=half)]
    preset = Preset(name="x", config=CONFIG)
    variants = ([style], with_style_region, with_region)
    assert len({_fingerprint(preset, styles) for styles in variants}) == 3


def test_features_in_memory_do_not_grow_with_the_pictures(
    folder: Path, tmp_path: Path, pictures: Path, random_weights: Callable[[str], Weights]
) -> None:
    """After three pictures, the store holds as many features as after one."""
    counts = []
    for stems in (["a"], ["b", "c", "d"]):
        store = FeatureStore(random_weights)
        batches = PictureBatches(CONFIG, styles_of(pictures), store, 2, lambda _: None)
        selected = [p for p in pictures_in(folder, tmp_path / "out")[0] if p.out.stem in stems]
        assert all(isinstance(result, torch.Tensor) for _, result in batches.stylize(selected))
        counts.append(len(store._targets))
    assert counts[0] == counts[1] > 0


def test_little_memory_means_less_at_a_time_or_a_failure(
    folder: Path, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With little memory, activations are computed twice; with too little, pictures fail."""
    needed = [
        needed_bytes(CONFIG, 48, 48, device="cpu", checkpointing=twice) for twice in (True, False)
    ]
    messages: list[str] = []
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: sum(needed) // 2)
    tally = apply(folder, tmp_path / "out", pictures, messages)
    assert tally.done == 4
    assert any("48x48" in line and "computed twice to fit" in line for line in messages)
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: 1000)
    tally = apply(folder, tmp_path / "none", pictures)
    assert tally.done == 0 and "no size fits" in tally.failed[0]


def test_number_of_running_pictures_is_limited_by_memory(
    folder: Path,
    tmp_path: Path,
    pictures: Path,
    random_weights: Callable[[str], Weights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With four lanes and memory for two pictures, two pictures run at the same time."""
    bytes_needed = needed_bytes(CONFIG, 48, 48, device="cpu")
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: int(2.5 * bytes_needed))
    store = FeatureStore(random_weights)
    batches = PictureBatches(CONFIG, styles_of(pictures), store, 4, lambda _: None)
    selected = [p for p in pictures_in(folder, tmp_path)[0] if p.out.stem in "abcd"]
    most = 0
    for _ in batches.stylize(selected):
        most = max(most, len(batches._running) + 1)
    assert most == 2


def test_blend_for_another_number_of_styles_fails(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """A `style_blend` that does not fit the number of styles is the reason of every failure."""
    preset = Preset(name="x", config=CONFIG.replace(style_blend=[1.0, 2.0]))
    tally = apply(folder, tmp_path / "out", pictures, preset=preset)
    assert tally.done == 0 and len(tally.failed) == 5
    expected = "expected a weight for each style image (1), got 2"
    assert any(expected in failure for failure in tally.failed)


def test_unwritable_output_folder_is_refused_before_the_work(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """If the output folder cannot be made, nothing is computed."""
    (tmp_path / "file").write_text("")
    messages: list[str] = []
    with pytest.raises(InputError, match=r"cannot be written.*name another folder"):
        apply(folder, tmp_path / "file" / "out", pictures, messages)
    assert not messages


def test_two_pictures_with_one_result_name_are_refused(folder: Path, tmp_path: Path) -> None:
    """Pictures that differ in the suffix only are refused, and so is a folder without pictures."""
    shutil.copy(folder / "a.png", folder / "a.webp")
    with pytest.raises(InputError, match=r"would both become a\.png"):
        pictures_in(folder, tmp_path / "out")
    with pytest.raises(InputError, match="no pictures in it"):
        (tmp_path / "empty").mkdir()
        pictures_in(tmp_path / "empty", tmp_path / "out")


def test_diverging_picture_does_not_stop_the_others(tmp_path: Path, pictures: Path) -> None:
    """A picture that becomes NaN fails, and the other picture is stylized."""
    good = load_image(pictures / "content.png")
    bad = torch.full_like(good, torch.nan)
    both = [
        Picture(
            name=name, source=name, load=lambda image=image: image, out=tmp_path / f"{name}.png"
        )  # type: ignore[misc]
        for name, image in (("bad", bad), ("good", good))
    ]
    preset = Preset(name="x", config=CONFIG)
    work = preset_work(preset, styles_of(pictures), weights=(), say=lambda _: None)
    tally = make_results(work, both, console=err, say=lambda _: None)
    assert tally.done == 1 and (tmp_path / "good.png").is_file()
    assert "bad" in tally.failed[0] and not (tmp_path / "bad.png").exists()


def test_command_names_left_out_and_failed_files(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """The command stylizes all pictures, and names left-out files and, at the end, failures."""
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7" + bytes(100))
    (folder / "more").mkdir()
    settings = ("--set", "steps=1", "--set", "size_px=48")
    command = ("stylize", "--content", folder, "--style", pictures / "style.png", *settings)
    done = nst_tuner(*command, "--out", tmp_path / "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "left out: photo.heic: is a HEIC photo" in done.stderr
    assert "left out: more: is a folder" in done.stderr
    assert "4 done, 0 there already, 2 left out" in done.stderr
    assert "broken.jpg: is a text file" in done.stderr.partition("1 of 5 could not be done")[2]
    assert "._a" not in done.stderr and "notes.txt" not in done.stderr
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == list("abcd")


def test_command_for_a_folder_refuses_options_of_one_picture(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """A failure gives exit code 1; an option of single pictures is refused with exit code 2."""
    settings = ("--set", "steps=2", "--set", "size_px=48")
    command = ("stylize", "--content", folder, "--style", pictures / "style.png", *settings)
    done = nst_tuner(*command, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr and "1 of 5 could not be done" in done.stderr
    assert (tmp_path / "out" / "a.png").is_file()
    refused = nst_tuner(*command, "--out", tmp_path / "x", "--gif", tmp_path / "x.gif")
    assert refused.returncode == 2 and "--gif" in refused.stderr
