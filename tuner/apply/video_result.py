"""Video result: writes stylized frames with the times, colors and other tracks of their source."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nst_core.errors import InputError, Say
from nst_core.files import temporary_beside
from nst_core.images.encode import MADE_BY
from tuner.apply.video_source import PYAV_MATRIX, Source, is_cover_picture

#: Constant rate factor of H.264 and VP9: visually close to lossless.
_CRF = "16"


@dataclass
class Tracks:
    """Other streams of a source.

    Attributes:
        copied: streams that the result can hold.
        left_out: descriptions of the streams that it cannot hold.
    """

    copied: list[Any] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def other_tracks(av: Any, source: Source, opened: Any, out: Path) -> Tracks:
    """Find which other streams of a source the result can hold.

    Args:
        av: module of PyAV.
        source: description of the source.
        opened: the source, opened by PyAV.
        out: file of the result, whose suffix decides.

    Raises:
        InputError: the result cannot hold the sound.
    """
    tracks = Tracks()
    for stream in opened.streams:
        if stream.index == source.stream:
            continue
        codec = stream.codec_context.name if stream.codec_context else "unknown"
        description = f"{stream.type} track {stream.index} ({codec})"
        if stream.type not in ("audio", "subtitle"):
            is_cover = stream.type == "video" and is_cover_picture(stream)
            tracks.left_out.append("cover picture" if is_cover else description)
            continue
        problem = _copy_problem(av, stream, out)
        if problem is None:
            tracks.copied.append(stream)
        elif stream.type == "subtitle":
            tracks.left_out.append(description)
        else:
            raise InputError(
                f"{out}: cannot be written ({description}: {problem}); the sound of"
                f" {source.path.name} is copied as it is, so name a file of the same format"
                f" ({source.path.suffix}), or .mkv"
            )
    return tracks


def _copy_problem(av: Any, stream: Any, out: Path) -> str | None:
    """Return why a stream cannot be copied into a file of this format; None if it can."""
    trial_file = temporary_beside(out, ".probe").with_suffix(out.suffix)
    try:
        with av.open(str(trial_file), "w") as new:
            new.add_stream_from_template(stream)
            new.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return str(error)
    finally:
        trial_file.unlink(missing_ok=True)
    return None


def check_container(av: Any, source: Source, out: Path, say: Say) -> None:
    """Check that the format of the result can hold frames and sound; say what it cannot hold.

    Args:
        av: module of PyAV.
        source: description of the source.
        out: file of the result.
        say: gets a line about everything that is left out.

    Raises:
        InputError: the result cannot be written in this format.
    """
    if out.suffix.lower() == ".avi" and source.constant is source:
        raise InputError(
            f"{out}: AVI has one frame rate, but the frame rate of {source.path.name} varies; name"
            " a .mkv or .mp4 file"
        )
    trial_file = temporary_beside(out).with_suffix(out.suffix)
    try:
        with av.open(str(trial_file), "w") as new:
            _add_video_stream(av, new, source, out, height=64, width=64)
            new.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{out}: cannot be written ({error})") from None
    finally:
        trial_file.unlink(missing_ok=True)
    with av.open(str(source.path)) as opened:
        left_out = other_tracks(av, source, opened, out).left_out
    if left_out:
        hint = "" if out.suffix.lower() == ".mkv" else "; a .mkv file can hold most tracks"
        say(f"{out}: holds no {', no '.join(left_out)} of {source.path.name}{hint}")
    if source.deep and _pixel_format(av, source, out) == "yuv420p":
        say(
            f"{out}: holds 8 bits per channel, but {source.path.name} has more; a .mkv file keeps"
            " them"
        )
    if source.alpha:
        say(f"{source.path.name}: its transparency is laid over white")


def _codec(out: Path) -> str:
    return "libvpx-vp9" if out.suffix.lower() == ".webm" else "libx264"


def _pixel_format(av: Any, source: Source, out: Path) -> str:
    """Return the encoder's pixel format: deep if the source is and this encoder supports it."""
    deep = "yuv420p10le"
    supported = av.Codec(_codec(out), "w").video_formats or ()
    return deep if source.deep and deep in {form.name for form in supported} else "yuv420p"


def _add_video_stream(
    av: Any, new: Any, source: Source, out: Path, *, height: int, width: int
) -> Any:
    """Add a stream for frames to an opened result, with the source's times and colors."""
    suffix, color = out.suffix.lower(), source.color
    stream = new.add_stream(_codec(out), rate=source.rate)
    stream.width, stream.height = width, height
    stream.pix_fmt = _pixel_format(av, source, out)
    stream.options = {"crf": _CRF, **({"bf": "0"} if suffix == ".avi" else {})}
    if suffix == ".webm":
        stream.options = {**stream.options, "b": "0", "deadline": "good", "cpu-used": "4"}
    codec = stream.codec_context
    codec.time_base = stream.time_base = source.time_base
    codec.sample_aspect_ratio = source.aspect
    codec.colorspace, codec.color_range = (
        color.matrix,
        color.range_tag,
    )
    codec.color_primaries, codec.color_trc = color.primaries, color.transfer
    return stream


def write_video(av: Any, source: Source, frames: Iterable[np.ndarray], out: Path) -> None:
    """Write a video of the frames, with the times, colors and other tracks of the source.

    The file gets its name only when it is complete.

    Args:
        av: module of PyAV.
        source: description of the source.
        frames: frames as height x width x RGB: uint16 if the source is deep, else uint8.
        out: file of the result.

    Raises:
        InputError: the file cannot be written.
    """
    source = source.constant
    temporary = temporary_beside(out).with_suffix(out.suffix)
    pictures = iter(frames)
    first = next(pictures)
    # Most players and encoders need even sides.
    height, width = (side - side % 2 for side in first.shape[:2])
    try:
        with av.open(str(source.path)) as old, av.open(str(temporary), "w") as new:
            new.metadata["comment"] = MADE_BY
            stream = _add_video_stream(av, new, source, out, height=height, width=width)
            other_streams = _PacketCopier(old, new, other_tracks(av, source, old, out).copied)
            for index, picture in enumerate(itertools.chain([first], pictures)):
                time = source.times[index]
                other_streams.copy_until(time * source.time_base)
                pixels = np.ascontiguousarray(picture[:height, :width])
                frame = _encoder_frame(av, source, pixels, stream.pix_fmt)
                frame.pts, frame.time_base = time, source.time_base
                following = source.times[index + 1 : index + 2]
                frame.duration = following[0] - time if following else source.last
                new.mux(stream.encode(frame))
            new.mux(stream.encode())
            other_streams.copy_until(None)
        temporary.replace(out)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{out}: cannot be written ({error}); its frames are kept") from None
    finally:
        temporary.unlink(missing_ok=True)


def _encoder_frame(av: Any, source: Source, pixels: np.ndarray, pixel_format: str) -> Any:
    """Return a frame in the encoder's pixel format, with the source's color tags."""
    rgb_format = "rgb48le" if source.deep else "rgb24"
    color = source.color
    frame = av.VideoFrame.from_ndarray(pixels, format=rgb_format).reformat(
        format=pixel_format,
        dst_colorspace=PYAV_MATRIX[color.matrix],
        src_color_range="JPEG",
        dst_color_range="JPEG" if color.full_range else "MPEG",
    )
    frame.colorspace, frame.color_range = (
        color.matrix,
        color.range_tag,
    )
    frame.color_primaries, frame.color_trc = color.primaries, color.transfer
    return frame


class _PacketCopier:
    """Copies packets of other streams next to the frames of the same time, as players need them."""

    def __init__(self, old: Any, new: Any, streams: Sequence[Any]):
        self._new = new
        self._copies = {}
        for stream in streams:
            copy = new.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            self._copies[stream.index] = copy
        packets = old.demux(*streams) if streams else iter(())
        self._packets = (packet for packet in packets if packet.dts is not None)
        self._next = next(self._packets, None)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy all packets up to a time in seconds; all remaining packets if it is None."""
        while (packet := self._next) is not None:
            if seconds is not None and packet.dts * packet.time_base > seconds:
                return
            packet.stream = self._copies[packet.stream.index]
            self._new.mux(packet)
            self._next = next(self._packets, None)
