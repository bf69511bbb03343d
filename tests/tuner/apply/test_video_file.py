"""What a video's result keeps: times, colors, shape of pixels, depth, tracks."""

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
from tuner.apply.video_file import check_container, decoded, read_source, write_video

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
    """A video of one color; ``tags`` are matrix, primaries, transfer and range."""
    with av.open(str(path), "w") as made:
        stream: Any = made.add_stream(codec, rate=25)
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
            made.mux(stream.encode(frame))
        made.mux(stream.encode())
    return path


def again(source_file: Path, out: Path, said: list[str] | None = None) -> Path:
    """The video with its own frames as the result."""
    source = read_source(av, source_file)
    check_container(av, source, out, (said if said is not None else []).append)
    write_video(av, source, decoded(av, source), out)
    return out


def frames_of(path: Path) -> list[Any]:
    with av.open(str(path)) as opened:
        return list(opened.decode(opened.streams.video[0]))


def times_of(path: Path) -> list[float]:
    return [float(frame.time) for frame in frames_of(path)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize("first_ms", [0, 500])
def test_frames_keep_their_own_times(tmp_path: Path, suffix: str, first_ms: int) -> None:
    """Frames of a varying rate, or that begin late, come at the same times in every container."""
    times = [first_ms + time for time in VARYING_MS]
    made = make(tmp_path / "in.mkv", times=times, base=Fraction(1, 1000))
    out = again(made, tmp_path / f"out{suffix}")
    offsets = np.subtract(times_of(out), times_of(made))
    assert np.abs(offsets - offsets[0]).max() < 0.002
    assert abs(offsets[0]) < 0.002 or suffix in (".mp4", ".mov")


def test_avi_has_one_rate(tmp_path: Path) -> None:
    """A varying rate into AVI is refused; a constant one is written at that rate."""
    varying = make(tmp_path / "in.mkv", times=VARYING_MS, base=Fraction(1, 1000))
    with pytest.raises(InputError, match="AVI has one frame rate"):
        again(varying, tmp_path / "out.avi")
    out = again(make(tmp_path / "even.mp4"), tmp_path / "out.avi")
    assert len(frames_of(out)) == 4


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 1, 1, 2), (6, 6, 6, 1), (9, 9, 16, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_colors_and_their_tags_stay(
    tmp_path: Path, tags: tuple[int, int, int, int], suffix: str
) -> None:
    """Matrix, primaries, transfer and range are those of the source, and so is what is seen."""
    form = "yuv420p10le" if tags[0] == 9 else "yuv420p"
    made, said = make(tmp_path / "in.mp4", tags=tags, form=form), list[str]()
    out = again(made, tmp_path / f"out{suffix}", said)
    before, after = (frames_of(file)[0] for file in (made, out))
    assert (after.colorspace, after.color_primaries, after.color_trc, after.color_range) == tags
    seen = [
        frame.to_ndarray(format="rgb24", src_colorspace={1: 1, 9: 9}.get(tags[0], 5))[36, 48]
        for frame in (before, after)
    ]
    assert np.abs(np.subtract(*(pixel.astype(int) for pixel in seen))).max() <= 6
    kept = after.format.components[0].bits == before.format.components[0].bits
    assert kept or "holds 8 bits a channel" in said[0]  # not every build of VP9 can do more


def test_what_a_video_does_not_say_is_taken_as_players_take_it(tmp_path: Path) -> None:
    """Without tags an HD video is BT.709 and a small one BT.601, and the result says so."""
    large = make(tmp_path / "large.mp4", size=(1280, 720), times=range(1))
    small = make(tmp_path / "small.mp4", times=range(1))
    assert read_source(av, large).color.matrix == 1
    assert read_source(av, small).color.matrix == 6
    assert frames_of(again(small, tmp_path / "out.mp4"))[0].colorspace == 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("turned", [0, 90])
def test_pixels_keep_their_shape(tmp_path: Path, suffix: str, turned: int) -> None:
    """The sample aspect ratio stays; of a video filmed lying down it is turned with the frames."""
    made = make(tmp_path / "in.mp4", aspect=Fraction(4, 3))
    if turned:
        lying = tmp_path / "lying.mp4"
        with av.open(str(made)) as old, av.open(str(lying), "w") as new:
            copy: Any = new.add_stream_from_template(old.streams.video[0])
            copy.set_display_rotation(turned)
            for packet in old.demux(old.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = copy
                    new.mux(packet)
        made = lying
    with av.open(str(again(made, tmp_path / f"out{suffix}"))) as opened:
        stream: Any = opened.streams.video[0]
        width, height = (72, 96) if turned else SIZE
        assert (stream.width, stream.height) == (width, height)
        assert stream.sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))


def test_transparent_frames_are_laid_over_white(tmp_path: Path) -> None:
    """As pictures are; one line says so."""
    with av.open(str(tmp_path / "in.mov"), "w") as made:
        stream: Any = made.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "argb"
        pixels = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
        made.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        made.mux(stream.encode())
    said: list[str] = []
    out = again(tmp_path / "in.mov", tmp_path / "out.mp4", said)
    assert said == ["in.mov: its transparency is laid over white"]
    assert frames_of(out)[0].to_ndarray(format="rgb24").min() > 245


def with_tracks(path: Path, folder: Path) -> Path:
    """A video with two sound tracks and a subtitle track."""
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
    """Every sound track is kept with its language; subtitles are kept, or named where dropped."""
    made = with_tracks(tmp_path / "in.mkv", tmp_path)
    said: list[str] = []
    for suffix, kinds in ((".mkv", "aasv"), (".mp4", "aav")):
        with av.open(str(again(made, tmp_path / f"out{suffix}", said))) as opened:
            assert "".join(sorted(stream.type[0] for stream in opened.streams)) == kinds
            languages = [stream.metadata.get("language") for stream in opened.streams.audio]
            assert languages == ["eng", "deu"]
    assert len(said) == 1 and "holds no subtitle track 1 (srt) of in.mkv" in said[0]
    with pytest.raises(InputError, match=r"audio track 2 \(aac\).* or \.mkv"):
        again(made, tmp_path / "out.webm")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"frames.mp4", "s.srt", "in.mkv", "out.mkv", "out.mp4"}


def test_odd_sizes_lose_a_line(tmp_path: Path) -> None:
    """Encoders want even sides: an odd one loses its last row or column."""
    made = make(tmp_path / "in.mkv", codec="ffv1", size=(97, 73))
    found = frames_of(again(made, tmp_path / "out.mp4"))[0]
    assert (found.width, found.height) == (96, 72)


def test_a_deep_video_keeps_its_depth_through_the_command(tmp_path: Path, pictures: Path) -> None:
    """A 10-bit source gives a 10-bit result with its tags, which the next run may replace."""
    made = make(tmp_path / "in.mp4", tags=(9, 9, 16, 1), form="yuv420p10le", times=range(2))
    out = tmp_path / "out.mp4"
    command = [
        *("stylize", "--content", made, "--style", pictures / "style.png", "--out", out),
        *("--set", "steps=1", "--set", "lr=1e-8", "--size-px", 96),
    ]
    for _ in range(2):
        done = nst_tuner(*command)
        assert done.returncode == 0, done.stderr
    assert "replaces the existing file" in done.stderr
    before, after = frames_of(made)[0], frames_of(out)[0]
    assert after.format.name == "yuv420p10le" and after.color_trc == 16
    planes = [frame.to_ndarray(format="gray10le") for frame in (before, after)]
    assert np.abs(np.subtract(*(plane.astype(int) for plane in planes))).max() <= 12


def test_the_video_itself_is_never_replaced(tmp_path: Path, pictures: Path) -> None:
    """--out may not name the source, and a video of others needs --force."""
    made, other = make(tmp_path / "in.mp4"), make(tmp_path / "other.mp4")
    before = made.read_bytes()
    base = ["stylize", "--content", made, "--style", pictures / "style.png", "--set", "steps=1"]
    assert nst_tuner(*base, "--out", made, "--force").returncode == 2
    assert nst_tuner(*base, "--out", other).returncode == 2
    assert made.read_bytes() == before and other.read_bytes() == before
