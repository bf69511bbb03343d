"""Stylizing videos frame by frame: what the result keeps, and what is refused before the work."""

from pathlib import Path
from typing import Any
from unittest import mock

import av
import numpy as np
import pytest

from nst_core.errors import InputError
from nst_core.images.tensors import to_uint8
from nst_core.presets.preset import Preset
from tests.tuner.apply.test_folder import CONFIG, styles_of
from tuner.apply.folder import preset_work
from tuner.apply.several import make_several
from tuner.apply.video import _FrameReader
from tuner.apply.video_source import read_source
from tuner.terminal.console import err

PRESET = Preset(name="x", config=CONFIG)


def stylize_video(
    video: Path, out: Path, pictures: Path, preset: Preset = PRESET, **options: Any
) -> None:
    """Apply a preset to a video, with the style image of the test pictures."""
    quiet: dict[str, Any] = {"console": err, "say": lambda _: None, "force": False}
    work = preset_work(preset, styles_of(pictures), weights=(), say=lambda _: None)
    make_several(work, video, out, **{**quiet, **options})


def make_video(path: Path, frames: int, sound: bool, turned: int = 0) -> None:
    """Write a video of 64x48 px, optionally with a tone, or to be turned counterclockwise."""
    with av.open(str(path), "w") as new:
        stream = new.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        tone = new.add_stream("aac", rate=44100) if sound else None
        for index in range(frames):
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[:, : 8 * (index + 1)] = (200, 80, 40)
            new.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        new.mux(stream.encode())
        if tone is not None:
            wave = np.sin(np.arange(44100) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 44100
            new.mux(tone.encode(frame))
            new.mux(tone.encode())


@pytest.mark.parametrize("sound", [False, True])
def test_video_keeps_its_frames_rate_and_sound(tmp_path: Path, pictures: Path, sound: bool) -> None:
    """The result has as many frames at the same rate, with sound, and no other file remains."""
    make_video(tmp_path / "in.mp4", 4, sound)
    preset = Preset(name="x", config=CONFIG.replace(steps=2, size_px=64))
    stylize_video(tmp_path / "in.mp4", tmp_path / "out.mp4", pictures, preset)
    with av.open(str(tmp_path / "out.mp4")) as result:
        assert bool(result.streams.audio) == sound
        assert result.streams.video[0].average_rate == 5
        assert sum(1 for _ in result.decode(video=0)) == 4
    assert sorted(path.name for path in tmp_path.glob("*")) == ["in.mp4", "out.mp4"]


def test_frames_of_an_interrupted_video_are_not_used_for_another(
    tmp_path: Path, pictures: Path
) -> None:
    """Finished frames are used again for the same video, and refused for another one."""
    make_video(tmp_path / "a.mp4", 3, sound=False)
    make_video(tmp_path / "b.mp4", 4, sound=False)
    preset = Preset(name="x", config=CONFIG.replace(steps=1, size_px=64))
    out = tmp_path / "o.mp4"
    interruption = mock.patch("tuner.apply.video.write_video", side_effect=KeyboardInterrupt)
    with interruption, pytest.raises(KeyboardInterrupt):
        stylize_video(tmp_path / "a.mp4", out, pictures, preset)
    with pytest.raises(InputError, match=r"frame 0 of b\.mp4"):
        stylize_video(tmp_path / "b.mp4", out, pictures, preset)
    stylize_video(tmp_path / "a.mp4", out, pictures, preset)
    assert out.is_file()


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_sideways_video_becomes_upright(tmp_path: Path, turned: int) -> None:
    """Frames are turned by the angle that the file contains, as players do."""
    make_video(tmp_path / "in.mp4", 2, sound=False, turned=turned)
    with av.open(str(tmp_path / "in.mp4")) as opened:
        plain = next(opened.decode(video=0)).to_ndarray(format="rgb24")
    with _FrameReader(av, read_source(av, tmp_path / "in.mp4")) as reader:
        upright = to_uint8(reader.frame(0))
    np.testing.assert_array_equal(upright, np.rot90(plain, turned // 90))


def test_sound_that_the_format_cannot_hold_is_refused(tmp_path: Path, pictures: Path) -> None:
    """AAC sound cannot go into WebM: the message says so before any frame is made."""
    make_video(tmp_path / "in.mp4", 2, sound=True)
    with pytest.raises(InputError, match=r"cannot be written .* is copied as it is.*\.mkv"):
        stylize_video(tmp_path / "in.mp4", tmp_path / "o.webm", pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_video_with_too_large_frames_is_refused(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video whose header names too large frames is refused before any frame is decoded."""
    make_video(tmp_path / "in.mp4", 2, sound=False)
    monkeypatch.setattr("tuner.apply.video_source.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="frames of 64x48 are more than"):
        stylize_video(tmp_path / "in.mp4", tmp_path / "o.mp4", pictures)


def test_files_that_are_not_videos_are_refused(tmp_path: Path, pictures: Path) -> None:
    """A damaged video, and a result that does not have the suffix of a video, are refused."""
    (tmp_path / "in.mp4").write_bytes(b"no video")
    for out, message in (("out.mp4", "cannot be read as a video"), ("out.png", "expected a video")):
        with pytest.raises(InputError, match=message):
            stylize_video(tmp_path / "in.mp4", tmp_path / out, pictures)
