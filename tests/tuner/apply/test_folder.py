import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

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
from tuner.apply.folder import _Crew, _mark, apply_to_many
from tuner.apply.picture_files import Picture, pictures_in
from tuner.apply.video import _Reader, apply_to_video
from tuner.apply.video_file import read_source
from tuner.terminal.console import err

CONFIG = StyleConfig(size_px=48, steps=6, scales=1)


@pytest.fixture
def folder(tmp_path: Path, pictures: Path) -> Path:
    """Five pictures of three shapes, one of them damaged, and a file that is none."""
    made = tmp_path / "photos"
    made.mkdir()
    for name, source in (("a", "content"), ("b", "style"), ("c", "content"), ("d", "reference")):
        shutil.copy(pictures / f"{source}.png", made / f"{name}.png")
    (made / "broken.jpg").write_bytes(b"no picture")
    (made / "notes.txt").write_text("not a picture")
    return made


def styles_of(pictures: Path) -> list[Style]:
    return [Style(image_3HW=load_image(pictures / "style.png"))]


def apply(folder: Path, out: Path, pictures: Path, said: list[str], preset: Preset | None = None):  # type: ignore[no-untyped-def]
    return apply_to_many(
        preset or Preset(name="x", config=CONFIG),
        pictures_in(folder, out)[0],
        styles_of(pictures),
        weights=(),
        console=err,
        say=said.append,
    )


def test_a_folder_is_done_several_at_a_time(
    folder: Path, tmp_path: Path, pictures: Path, weights: dict[str, Weights]
) -> None:
    """Each picture comes out as it would alone; a damaged one is named and stops no other."""
    said: list[str] = []
    tally = apply(folder, tmp_path / "out", pictures, said)
    assert (tally.done, tally.kept, len(tally.failed)) == (4, 0, 1)
    assert "broken.jpg" in tally.failed[0]
    for name in "abcd":
        *_, alone = stylize(
            CONFIG,
            load_image(folder / f"{name}.png"),
            styles_of(pictures),
            weights=weights.__getitem__,
            device="cpu",
        )
        found = to_uint8(load_image(tmp_path / "out" / f"{name}.png")).astype(int)
        assert np.abs(found - to_uint8(alone.image_3HW)).mean() < 1.0
    assert "nst-tuner-preset" in read_text(tmp_path / "out" / "a.png")


def test_it_goes_on_where_it_stopped(folder: Path, tmp_path: Path, pictures: Path) -> None:
    """What is there is kept, and only what is missing is done."""
    out, said = tmp_path / "out", list[str]()
    apply(folder, out, pictures, said)
    before = {name: (out / f"{name}.png").stat().st_mtime_ns for name in "acd"}
    (out / "b.png").unlink()
    tally = apply(folder, out, pictures, said)
    assert (tally.done, tally.kept) == (1, 3)
    assert before == {name: (out / f"{name}.png").stat().st_mtime_ns for name in "acd"}


def test_results_of_something_else_are_not_touched(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """Another preset's results, or anybody's pictures, are refused before anything is done."""
    out = tmp_path / "out"
    apply(folder, out, pictures, [])
    other = Preset(name="y", config=CONFIG.replace(steps=2))
    with pytest.raises(InputError, match="not made by this preset"):
        apply(folder, out, pictures, [], other)
    (out / "a.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"a\.png: is there already .* or remove it"):
        apply(folder, out, pictures, [])
    with pytest.raises(InputError, match="is the folder of the pictures"):
        apply(folder, folder, pictures, [])


def test_results_of_other_pictures_are_not_taken_for_these(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """A picture that changed since, and another mask on a style, are no reason to keep a result."""
    out = tmp_path / "out"
    apply(folder, out, pictures, [])
    (out / "d.png").unlink()
    shutil.copy(folder / "a.png", folder / "b.png")
    with pytest.raises(InputError, match=r"b\.png: is there already .* of b\.png as it is now"):
        apply(folder, out, pictures, [])
    assert not (out / "d.png").exists()
    (style,) = styles_of(pictures)
    half = torch.zeros(64, 64)
    half[:32] = 1
    masked = [Style(image_3HW=style.image_3HW, style_region_HW=half)]
    where = [Style(image_3HW=style.image_3HW, region_HW=half)]
    preset = Preset(name="x", config=CONFIG)
    assert len({_mark(preset, styles) for styles in ([style], masked, where)}) == 3


def test_what_is_kept_does_not_grow_with_pictures(
    folder: Path, tmp_path: Path, pictures: Path, random_weights: Callable[[str], Weights]
) -> None:
    """When all pictures are done, no more is kept of them than after the first."""
    kept = []
    for chosen in (["a"], ["b", "c", "d"]):
        store = FeatureStore(random_weights)
        crew = _Crew(CONFIG, styles_of(pictures), store, 2, lambda _: None)
        asked = [p for p in pictures_in(folder, tmp_path / "out")[0] if p.out.stem in chosen]
        assert all(isinstance(result, torch.Tensor) for _, result in crew.work(asked))
        kept.append(len(store._made))
    assert kept[0] == kept[1] > 0


def test_memory_is_planned_as_for_one_picture(
    folder: Path, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory is short, pictures come one at a time, computed twice, or are named."""
    needed = [
        needed_bytes(CONFIG, 48, 48, device="cpu", checkpointing=again) for again in (True, False)
    ]
    said: list[str] = []
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: sum(needed) // 2)
    tally = apply(folder, tmp_path / "out", pictures, said)
    assert tally.done == 4
    assert any("48x48" in line and "computed twice to fit" in line for line in said)
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: 1000)
    tally = apply(folder, tmp_path / "none", pictures, said)
    assert tally.done == 0 and "no size fits" in tally.failed[0]


def test_no_more_are_under_way_than_fit(
    folder: Path,
    tmp_path: Path,
    pictures: Path,
    random_weights: Callable[[str], Weights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of four lanes, as many are used as memory has room for."""
    one = needed_bytes(CONFIG, 48, 48, device="cpu")
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: int(2.5 * one))
    crew = _Crew(CONFIG, styles_of(pictures), FeatureStore(random_weights), 4, lambda _: None)
    most = 0
    for _ in crew.work([p for p in pictures_in(folder, tmp_path)[0] if p.out.stem in "abcd"]):
        most = max(most, len(crew._under_way) + 1)
    assert most == 2


def test_a_blend_of_another_number_of_styles_is_named(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """Each picture is said to be impossible, and nothing breaks."""
    preset = Preset(name="x", config=CONFIG.replace(style_blend=[1.0, 2.0]))
    tally = apply(folder, tmp_path / "out", pictures, [], preset)
    assert tally.done == 0 and len(tally.failed) == 5
    assert any("expected a weight for each style image (1), got 2" in why for why in tally.failed)


def test_a_folder_that_cannot_be_made_is_named_before_the_work(
    folder: Path, tmp_path: Path, pictures: Path
) -> None:
    """Nothing is computed for a place that nothing can be written to."""
    (tmp_path / "file").write_text("")
    said: list[str] = []
    with pytest.raises(InputError, match=r"cannot be written.*name another folder"):
        apply(folder, tmp_path / "file" / "out", pictures, said)
    assert not said


def test_two_pictures_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    """Their results would have one name."""
    shutil.copy(folder / "a.png", folder / "a.webp")
    with pytest.raises(InputError, match=r"would both become a\.png"):
        pictures_in(folder, tmp_path / "out")
    with pytest.raises(InputError, match="no pictures in it"):
        (tmp_path / "empty").mkdir()
        pictures_in(tmp_path / "empty", tmp_path / "out")


def test_a_diverging_picture_stops_no_other(tmp_path: Path, pictures: Path) -> None:
    """A picture that goes to NaN is named; the others come out."""
    good = load_image(pictures / "content.png")
    bad = torch.full_like(good, torch.nan)
    asked = [
        Picture(
            name=name, source=name, load=lambda image=image: image, out=tmp_path / f"{name}.png"
        )  # type: ignore[misc]
        for name, image in (("bad", bad), ("good", good))
    ]
    preset = Preset(name="x", config=CONFIG)
    tally = apply_to_many(
        preset, asked, styles_of(pictures), weights=(), console=err, say=lambda _: None
    )
    assert tally.done == 1 and (tmp_path / "good.png").is_file()
    assert "bad" in tally.failed[0] and not (tmp_path / "bad.png").exists()


def test_a_folder_with_everything_in_it(folder: Path, tmp_path: Path, pictures: Path) -> None:
    """The command does what can be done, names the rest, and says at the end what failed."""
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


def test_the_command_takes_folders(folder: Path, tmp_path: Path, pictures: Path) -> None:
    """Exit code 1 names what failed; options of single pictures are refused."""
    settings = ("--set", "steps=2", "--set", "size_px=48")
    command = ("stylize", "--content", folder, "--style", pictures / "style.png", *settings)
    done = nst_tuner(*command, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr and "1 of 5 could not be done" in done.stderr
    assert (tmp_path / "out" / "a.png").is_file()
    refused = nst_tuner(*command, "--out", tmp_path / "x", "--gif", tmp_path / "x.gif")
    assert refused.returncode == 2 and "--gif" in refused.stderr


def make_video(path: Path, frames: int, sound: bool, turned: int = 0) -> None:
    """A moving picture of 64x48, with a tone or to be turned so far counterclockwise, if asked."""
    import av

    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        tone = made.add_stream("aac", rate=44100) if sound else None
        for index in range(frames):
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[:, : 8 * (index + 1)] = (200, 80, 40)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        made.mux(stream.encode())
        if tone is not None:
            wave = np.sin(np.arange(44100) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 44100
            made.mux(tone.encode(frame))
            made.mux(tone.encode())


@pytest.mark.parametrize("sound", [False, True])
def test_a_video_is_done_frame_by_frame(tmp_path: Path, pictures: Path, sound: bool) -> None:
    """As many frames at the same rate, with its sound; the frames on the way are cleared away."""
    import av

    make_video(tmp_path / "in.mp4", 4, sound)
    preset = Preset(name="x", config=CONFIG.replace(steps=2, size_px=64))
    apply_to_video(
        preset,
        tmp_path / "in.mp4",
        styles_of(pictures),
        tmp_path / "out.mp4",
        weights=(),
        console=err,
        say=lambda _: None,
    )
    with av.open(str(tmp_path / "out.mp4")) as found:
        assert bool(found.streams.audio) == sound
        assert found.streams.video[0].average_rate == 5
        assert sum(1 for _ in found.decode(video=0)) == 4
    assert sorted(path.name for path in tmp_path.glob("*")) == ["in.mp4", "out.mp4"]


def test_a_broken_off_video_is_not_taken_for_another(tmp_path: Path, pictures: Path) -> None:
    """Frames of one video are no frames of another that is to become a file of the same name."""
    make_video(tmp_path / "a.mp4", 3, sound=False)
    make_video(tmp_path / "b.mp4", 4, sound=False)
    preset = Preset(name="x", config=CONFIG.replace(steps=1, size_px=64))
    options = {"weights": (), "console": err, "say": lambda _: None}
    broken_off = mock.patch("tuner.apply.video.write_video", side_effect=KeyboardInterrupt)
    with broken_off, pytest.raises(KeyboardInterrupt):
        apply_to_video(
            preset, tmp_path / "a.mp4", styles_of(pictures), tmp_path / "o.mp4", **options
        )
    with pytest.raises(InputError, match=r"frame 0 of b\.mp4"):
        apply_to_video(
            preset, tmp_path / "b.mp4", styles_of(pictures), tmp_path / "o.mp4", **options
        )
    apply_to_video(preset, tmp_path / "a.mp4", styles_of(pictures), tmp_path / "o.mp4", **options)
    assert (tmp_path / "o.mp4").is_file()


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_a_video_filmed_lying_down_comes_out_upright(tmp_path: Path, turned: int) -> None:
    """Frames are turned as the file says, and as players show them."""
    import av

    make_video(tmp_path / "in.mp4", 2, sound=False, turned=turned)
    with av.open(str(tmp_path / "in.mp4")) as opened:
        plain = next(opened.decode(video=0)).to_ndarray(format="rgb24")
    with _Reader(av, read_source(av, tmp_path / "in.mp4")) as reader:
        found = to_uint8(reader.frame(0))
    np.testing.assert_array_equal(found, np.rot90(plain, turned // 90))


def test_sound_that_a_file_cannot_hold_is_named_before_the_work(
    tmp_path: Path, pictures: Path
) -> None:
    """AAC does not go into WebM: one line, and no frame is made."""
    make_video(tmp_path / "in.mp4", 2, sound=True)
    preset, say = Preset(name="x", config=CONFIG), lambda _: None
    with pytest.raises(InputError, match=r"cannot be written .* is copied as it is.*\.mkv"):
        apply_to_video(
            preset,
            tmp_path / "in.mp4",
            styles_of(pictures),
            tmp_path / "o.webm",
            weights=(),
            console=err,
            say=say,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_video_with_frames_too_large_is_named(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its header, before any of it is decoded."""
    make_video(tmp_path / "in.mp4", 2, sound=False)
    monkeypatch.setattr("tuner.apply.video_file.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="frames of 64x48 are more than"):
        apply_to_video(
            Preset(name="x", config=CONFIG),
            tmp_path / "in.mp4",
            styles_of(pictures),
            tmp_path / "o.mp4",
            weights=(),
            console=err,
            say=lambda _: None,
        )


def test_what_is_no_video_is_named(tmp_path: Path, pictures: Path) -> None:
    """A damaged video, a result that is there, and a result that is no video: one line each."""
    (tmp_path / "in.mp4").write_bytes(b"no video")
    preset = Preset(name="x", config=CONFIG)
    options = {"weights": (), "console": err, "say": lambda _: None}
    for out, why in (("out.mp4", "cannot be read as a video"), ("out.png", "expected a video")):
        with pytest.raises(InputError, match=why):
            apply_to_video(
                preset, tmp_path / "in.mp4", styles_of(pictures), tmp_path / out, **options
            )
