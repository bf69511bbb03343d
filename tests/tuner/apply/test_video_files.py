"""Video files: a result keeps times, colors, shape of pixels, depth and tracks of its source."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from nst_core.errors import InputError
from tests.tuner.helpers import nst_tuner
from tuner.apply.video_result import check_container, write_video
from tuner.apply.video_source import decoded, read_source

SIZE = (96, 72)
VARYING_MS = [0, 33, 67, 100, 133, 1133, 1167]


def make(
    path: Path,
    *,
    times: Sequence[int] = range(4),
    base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    form: str = "yuv420p",
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    size: tuple[int, int] = SIZE,
) -> Path:
    """Write a video of one color; ``tags`` are matrix, primaries, transfer and range."""
    with av.open(str(path), "w") as new:
        stream: Any = new.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, form
        context = stream.codec_context
        context.time_base = stream.time_base = base
        stream.options = {"crf": "1"} if codec == "libx264" else {}
        if aspect:
            context.sample_aspect_ratio = aspect
        if tags:
            context.colorspace, context.color_primaries = tags[:2]
            context.color_trc, context.color_range = tags[2:]
        for time in times:
            pixels = np.full((size[1], size[0], 3), (200, 30, 30), np.uint8)
            frame: Any = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format=form,
                dst_colorspace={1: 1, 9: 9}.get(tags[0]) if tags else None,
                src_color_range="JPEG",
                dst_color_range="JPEG" if tags and tags[3] == 2 else "MPEG",
            )
            frame.pts, frame.time_base = time, base
            if tags:
                frame.colorspace, frame.color_range = tags[0], tags[3]
            new.mux(stream.encode(frame))
        new.mux(stream.encode())
    return path


def copy_video(source_file: Path, out: Path, messages: list[str] | None = None) -> Path:
    """Write a result that has the frames of its source; return its path."""
    source = read_source(av, source_file)
    check_container(av, source, out, (messages if messages is not None else []).append)
    write_video(av, source, decoded(av, source), out)
    return out


def frames_of(path: Path) -> list[Any]:
    """Return the decoded frames of a video."""
    with av.open(str(path)) as opened:
        return list(opened.decode(opened.streams.video[0]))


def times_of(path: Path) -> list[float]:
    """Return the times of the frames of a video in seconds."""
    return [float(frame.time) for frame in frames_of(path)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize("first_ms", [0, 500])
def test_frames_keep_their_times(tmp_path: Path, suffix: str, first_ms: int) -> None:
    """Every container keeps the times of frames, with a varying rate and with a late start."""
    times = [first_ms + time for time in VARYING_MS]
    source = make(tmp_path / "in.mkv", times=times, base=Fraction(1, 1000))
    out = copy_video(source, tmp_path / f"out{suffix}")
    offsets = np.subtract(times_of(out), times_of(source))
    assert np.abs(offsets - offsets[0]).max() < 0.002
    assert abs(offsets[0]) < 0.002 or suffix in (".mp4", ".mov")


def test_avi_needs_a_constant_rate(tmp_path: Path) -> None:
    """A source with a varying rate cannot become an AVI file; one with a constant rate can."""
    varying = make(tmp_path / "in.mkv", times=VARYING_MS, base=Fraction(1, 1000))
    with pytest.raises(InputError, match="AVI has one frame rate"):
        copy_video(varying, tmp_path / "out.avi")
    out = copy_video(make(tmp_path / "constant.mp4"), tmp_path / "out.avi")
    assert len(frames_of(out)) == 4


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 1, 1, 2), (6, 6, 6, 1), (9, 9, 16, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_colors_and_color_tags_are_kept(
    tmp_path: Path, tags: tuple[int, int, int, int], suffix: str
) -> None:
    """The result has the source's matrix, primaries, transfer, range and visible colors."""
    form = "yuv420p10le" if tags[0] == 9 else "yuv420p"
    source, messages = make(tmp_path / "in.mp4", tags=tags, form=form), list[str]()
    out = copy_video(source, tmp_path / f"out{suffix}", messages)
    before, after = (frames_of(file)[0] for file in (source, out))
    assert (after.colorspace, after.color_primaries, after.color_trc, after.color_range) == tags
    pixels = [
        frame.to_ndarray(format="rgb24", src_colorspace={1: 1, 9: 9}.get(tags[0], 5))[36, 48]
        for frame in (before, after)
    ]
    assert np.abs(np.subtract(*(pixel.astype(int) for pixel in pixels))).max() <= 6
    depth_kept = after.format.components[0].bits == before.format.components[0].bits
    # Not every build of VP9 supports more than 8 bits.
    assert depth_kept or "holds 8 bits per channel" in messages[0]


def test_missing_color_tags_get_the_defaults_of_players(tmp_path: Path) -> None:
    """Without tags, an HD video is BT.709 and a small one BT.601, and the result is tagged so."""
    large = make(tmp_path / "large.mp4", size=(1280, 720), times=range(1))
    small = make(tmp_path / "small.mp4", times=range(1))
    assert read_source(av, large).color.matrix == 1
    assert read_source(av, small).color.matrix == 6
    assert frames_of(copy_video(small, tmp_path / "out.mp4"))[0].colorspace == 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("turned", [0, 90])
def test_pixels_keep_their_shape(tmp_path: Path, suffix: str, turned: int) -> None:
    """The sample aspect ratio is kept; in a sideways video it is turned with the frames."""
    source = make(tmp_path / "in.mp4", aspect=Fraction(4, 3))
    if turned:
        sideways = tmp_path / "sideways.mp4"
        with av.open(str(source)) as old, av.open(str(sideways), "w") as new:
            copy: Any = new.add_stream_from_template(old.streams.video[0])
            copy.set_display_rotation(turned)
            for packet in old.demux(old.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = copy
                    new.mux(packet)
        source = sideways
    with av.open(str(copy_video(source, tmp_path / f"out{suffix}"))) as opened:
        stream: Any = opened.streams.video[0]
        width, height = (72, 96) if turned else SIZE
        assert (stream.width, stream.height) == (width, height)
        assert stream.sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))


def test_transparent_frames_are_laid_over_white(tmp_path: Path) -> None:
    """Transparent frames are laid over white, and a message says so."""
    with av.open(str(tmp_path / "in.mov"), "w") as new:
        stream: Any = new.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "argb"
        pixels = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
        new.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        new.mux(stream.encode())
    messages: list[str] = []
    out = copy_video(tmp_path / "in.mov", tmp_path / "out.mp4", messages)
    assert messages == ["in.mov: its transparency is laid over white"]
    assert frames_of(out)[0].to_ndarray(format="rgb24").min() > 245


def with_tracks(path: Path, folder: Path) -> Path:
    """Write a video with two sound tracks and a subtitle track; return its path."""
    frames = make(folder / "frames.mp4", times=range(30))
    (folder / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,800\nHello\n")
    with (
        av.open(str(frames)) as video,
        av.open(str(folder / "s.srt")) as text,
        av.open(str(path), "w") as new,
    ):
        copies: list[tuple[Any, Any]] = [
            (video, new.add_stream_from_template(video.streams.video[0])),
            (text, new.add_stream_from_template(text.streams[0])),
        ]
        tones: list[Any] = [new.add_stream("aac", rate=44100) for _ in range(2)]
        for tone, language in zip(tones, ("eng", "deu"), strict=True):
            tone.metadata["language"] = language
        for old, copy in copies:
            for packet in old.demux(old.streams[0]):
                if packet.dts is not None:
                    packet.stream = copy
                    new.mux(packet)
        for tone in tones:
            wave = np.sin(np.arange(44100) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 44100
            new.mux(tone.encode(frame))
            new.mux(tone.encode())
    return path


def test_other_tracks_are_kept_or_named(tmp_path: Path) -> None:
    """Every sound track is kept with its language; subtitles are kept, or a message names them."""
    source = with_tracks(tmp_path / "in.mkv", tmp_path)
    messages: list[str] = []
    for suffix, kinds in ((".mkv", "aasv"), (".mp4", "aav")):
        with av.open(str(copy_video(source, tmp_path / f"out{suffix}", messages))) as opened:
            assert "".join(sorted(stream.type[0] for stream in opened.streams)) == kinds
            languages = [stream.metadata.get("language") for stream in opened.streams.audio]
            assert languages == ["eng", "deu"]
    assert len(messages) == 1 and "holds no subtitle track 1 (srt) of in.mkv" in messages[0]
    with pytest.raises(InputError, match=r"audio track 2 \(aac\).* or \.mkv"):
        copy_video(source, tmp_path / "out.webm")
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"frames.mp4", "s.srt", "in.mkv", "out.mkv", "out.mp4"}


def test_odd_sides_lose_a_row_or_column(tmp_path: Path) -> None:
    """Encoders need even sides, so an odd side loses its last row or column."""
    source = make(tmp_path / "in.mkv", codec="ffv1", size=(97, 73))
    frame = frames_of(copy_video(source, tmp_path / "out.mp4"))[0]
    assert (frame.width, frame.height) == (96, 72)


def test_command_keeps_the_depth_of_a_deep_video(tmp_path: Path, pictures: Path) -> None:
    """A 10-bit source gives a 10-bit result with its tags, which a second run replaces."""
    source = make(tmp_path / "in.mp4", tags=(9, 9, 16, 1), form="yuv420p10le", times=range(2))
    out = tmp_path / "out.mp4"
    command = [
        *("stylize", "--content", source, "--style", pictures / "style.png", "--out", out),
        *("--set", "steps=1", "--set", "lr=1e-8", "--size-px", 96),
    ]
    for _ in range(2):
        done = nst_tuner(*command)
        assert done.returncode == 0, done.stderr
    assert "replaces the existing file" in done.stderr
    before, after = frames_of(source)[0], frames_of(out)[0]
    assert after.format.name == "yuv420p10le" and after.color_trc == 16
    planes = [frame.to_ndarray(format="gray10le") for frame in (before, after)]
    assert np.abs(np.subtract(*(plane.astype(int) for plane in planes))).max() <= 12


def test_source_and_other_videos_are_not_replaced(tmp_path: Path, pictures: Path) -> None:
    """--out must not name the source, and another video is only replaced with --force."""
    source, other = make(tmp_path / "in.mp4"), make(tmp_path / "other.mp4")
    before = source.read_bytes()
    base = ["stylize", "--content", source, "--style", pictures / "style.png", "--set", "steps=1"]
    assert nst_tuner(*base, "--out", source, "--force").returncode == 2
    assert nst_tuner(*base, "--out", other).returncode == 2
    assert source.read_bytes() == before and other.read_bytes() == before
