"""Video files by PyAV: what a source holds, and a result that keeps all of it but the pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nst_core.errors import InputError, Say
from nst_core.files import temporary_beside
from nst_core.images.decoder_errors import MAX_PIXELS
from nst_core.images.encode import MADE_BY

#: Of H.264 and VP9: visually close to lossless.
_CRF = "16"

#: FFmpeg's numbers: matrices (ISO/IEC 23091-2), where 0 is RGB and 2 unspecified, and ranges.
_RGB, _BT709, _UNSPECIFIED, _BT601 = 0, 1, 2, 6
_LIMITED, _FULL = 1, 2

#: PyAV's own numbers of the matrices that its conversion knows.
_SWS = {_BT709: 1, 4: 4, 5: 5, _BT601: 5, 7: 7, 9: 9, 10: 9}

#: Players take the matrix of HD for granted above these sizes, where a file does not name one.
_SD_WIDTH, _SD_HEIGHT = 1279, 576

#: Containers round times to a millisecond or a tick.
_ROUNDING_S = Fraction(1, 900)


def require_av() -> Any:
    """PyAV, an optional dependency."""
    try:
        import av
    except ImportError:
        raise InputError("videos need the package av: pip install 'nst-tuner[video]'") from None
    return av


@dataclass(frozen=True, kw_only=True)
class Color:
    """How the numbers of a video mean colors: FFmpeg's tags, kept as they are in the result."""

    matrix: int
    full_range: bool
    primaries: int
    transfer: int

    @classmethod
    def of(cls, frame: Any) -> Color:
        """Of a decoded frame; what it does not say is taken as players take it."""
        matrix = int(frame.colorspace)
        if matrix not in _SWS:
            hd = frame.width > _SD_WIDTH or frame.height > _SD_HEIGHT
            matrix = _BT709 if hd else _BT601
        return cls(
            matrix=matrix,
            full_range=int(frame.color_range) == _FULL and int(frame.colorspace) != _RGB,
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a video holds.

    Attributes:
        path: its file.
        stream: index of the stream of frames.
        times: of each frame in units of ``time_base``, ascending.
        time_base: seconds.
        last: how long the last frame is shown, in units of ``time_base``.
        rate: frames a second, on average.
        color: see `Color`.
        deep: whether it has more than 8 bits a channel.
        alpha: whether it is transparent in places.
        aspect: width of a pixel by its height, of upright frames.
        height_width: of upright frames.
    """

    path: Path
    stream: int
    times: Sequence[int]
    time_base: Fraction
    last: int
    rate: Fraction
    color: Color
    deep: bool
    alpha: bool
    aspect: Fraction
    height_width: tuple[int, int]

    @property
    def constant(self) -> Source:
        """Itself in units of frames where its rate is constant, else itself."""
        steps = [time * self.time_base * self.rate for time in self.times]
        near = max(self.time_base, _ROUNDING_S) * self.rate
        if any(abs(step - index) > near for index, step in enumerate(steps)):
            return self
        changed = {"times": range(len(steps)), "time_base": 1 / self.rate, "last": 1}
        return Source(**{**vars(self), **changed})


def read_source(av: Any, video: Path) -> Source:
    """Look at every frame: headers count frames too that an edit list leaves out.

    Raises:
        InputError: it is no video, has no frames, or frames too large to be worked on.
    """
    try:
        with av.open(str(video)) as opened:
            stream = _main_stream(opened, video)
            codec = stream.codec_context
            if codec.width * codec.height > MAX_PIXELS:
                raise InputError(
                    f"{video}: frames of {codec.width}x{codec.height} are more than"
                    f" {MAX_PIXELS // 10**6} megapixels; scale it down first"
                )
            first, times, last = None, list[int | None](), 0
            for frame in opened.decode(stream):
                first = first or _Looks.of(frame)
                times.append(frame.pts)
                last = frame.duration or last
            if first is None:
                raise InputError(f"{video}: no frames in it")
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            base = stream.time_base
            aspect = stream.sample_aspect_ratio or codec.sample_aspect_ratio or Fraction(1)
            index = stream.index
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{video}: cannot be read as a video ({error})") from None
    if None in times or any(b <= a for a, b in itertools.pairwise(times)):  # type: ignore[operator]
        times, base, last = list(range(len(times))), 1 / rate, 1  # old files have no times
    return Source(
        path=video,
        stream=index,
        times=times,  # type: ignore[arg-type]
        time_base=base,
        last=last or round(1 / rate / base),
        rate=rate,
        color=first.color,
        deep=first.deep,
        alpha=first.alpha,
        aspect=1 / aspect if first.lying else aspect,
        height_width=(first.width, first.height) if first.lying else (first.height, first.width),
    )


@dataclass(frozen=True)
class _Looks:
    """What a decoded frame is like."""

    color: Color
    deep: bool
    alpha: bool
    lying: bool
    width: int
    height: int

    @classmethod
    def of(cls, frame: Any) -> _Looks:
        parts = frame.format.components
        return cls(
            color=Color.of(frame),
            deep=max(part.bits for part in parts) > 8,
            alpha=any(part.is_alpha for part in parts) or frame.format.name == "pal8",
            lying=round(frame.rotation / 90) % 2 == 1,
            width=frame.width,
            height=frame.height,
        )


def _main_stream(opened: Any, video: Path) -> Any:
    """The first stream of frames that is no cover picture."""
    for stream in opened.streams.video:
        if not _is_cover(stream):
            return stream
    raise InputError(f"{video}: no video in it")


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def decoded(av: Any, source: Source) -> Iterator[np.ndarray]:
    """Every frame upright: height x width x RGB of uint8, or of uint16 if the source is deep."""
    form, full = ("rgb48le", 65535) if source.deep else ("rgb24", 255)
    if source.alpha:
        form = "rgba64le" if source.deep else "rgba"
    with av.open(str(source.path)) as opened:
        for frame in opened.decode(opened.streams[source.stream]):
            pixels = frame.to_ndarray(format=form, src_colorspace=_SWS[source.color.matrix])
            if source.alpha:
                alpha = pixels[..., 3:].astype(np.float32) / full
                over = pixels[..., :3] * alpha + full * (1 - alpha)
                pixels = over.round().astype(pixels.dtype)
            # Phones film lying down and note by how much to turn it, counterclockwise.
            yield np.rot90(pixels, round(frame.rotation / 90))


@dataclass
class Tracks:
    """The source's other streams that are copied, and those that a result cannot hold."""

    copied: list[Any] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def other_tracks(av: Any, source: Source, opened: Any, out: Path) -> Tracks:
    """Try which of the source's other streams such a file as ``out`` can hold.

    Raises:
        InputError: it can hold frames, and not the sound.
    """
    tracks = Tracks()
    for stream in opened.streams:
        if stream.index == source.stream:
            continue
        codec = stream.codec_context.name if stream.codec_context else "unknown"
        named = f"{stream.type} track {stream.index} ({codec})"
        if stream.type not in ("audio", "subtitle"):
            kind = "cover picture" if stream.type == "video" and _is_cover(stream) else named
            tracks.left_out.append(kind)
            continue
        problem = _problem_with(av, stream, out)
        if problem is None:
            tracks.copied.append(stream)
        elif stream.type == "subtitle":
            tracks.left_out.append(named)
        else:
            raise InputError(
                f"{out}: cannot be written ({named}: {problem}); the sound of {source.path.name} is"
                f" copied as it is, so name a file of its kind ({source.path.suffix}), or .mkv"
            )
    return tracks


def _problem_with(av: Any, stream: Any, out: Path) -> str | None:
    """Why a stream cannot be copied into such a file; None if it can."""
    begun = temporary_beside(out, ".probe").with_suffix(out.suffix)
    try:
        with av.open(str(begun), "w") as new:
            new.add_stream_from_template(stream)
            new.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return str(error)
    finally:
        begun.unlink(missing_ok=True)
    return None


def check_container(av: Any, source: Source, out: Path, say: Say) -> None:
    """Try whether such a file can hold frames and the source's sound; say what is left out.

    Raises:
        InputError: it cannot.
    """
    if out.suffix.lower() == ".avi" and source.constant is source:
        raise InputError(
            f"{out}: AVI has one frame rate, and that of {source.path.name} varies; name a .mkv or"
            " .mp4 file"
        )
    begun = temporary_beside(out).with_suffix(out.suffix)
    try:
        with av.open(str(begun), "w") as new:
            _add_frames(av, new, source, out, height=64, width=64)
            new.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{out}: cannot be written ({error})") from None
    finally:
        begun.unlink(missing_ok=True)
    with av.open(str(source.path)) as opened:
        left_out = other_tracks(av, source, opened, out).left_out
    if left_out:
        hint = "" if out.suffix.lower() == ".mkv" else "; a .mkv file can hold most tracks"
        say(f"{out}: holds no {', no '.join(left_out)} of {source.path.name}{hint}")
    if source.deep and _pixel_format(av, source, out) == "yuv420p":
        say(f"{out}: holds 8 bits a channel, {source.path.name} more; a .mkv file keeps them")
    if source.alpha:
        say(f"{source.path.name}: its transparency is laid over white")


def _codec(out: Path) -> str:
    return "libvpx-vp9" if out.suffix.lower() == ".webm" else "libx264"


def _pixel_format(av: Any, source: Source, out: Path) -> str:
    """What the encoder is given: as deep as the source where this build of the encoder can."""
    deep = "yuv420p10le"
    known = av.Codec(_codec(out), "w").video_formats or ()
    return deep if source.deep and deep in {form.name for form in known} else "yuv420p"


def _add_frames(av: Any, new: Any, source: Source, out: Path, *, height: int, width: int) -> Any:
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
    codec.colorspace, codec.color_range = color.matrix, _FULL if color.full_range else _LIMITED
    codec.color_primaries, codec.color_trc = color.primaries, color.transfer
    return stream


def write_video(av: Any, source: Source, frames: Iterable[np.ndarray], out: Path) -> None:
    """Put frames, their times and the source's other tracks together.

    The file appears when it is whole.

    Args:
        av: PyAV.
        source: whose times, colors and tracks the result has.
        frames: height x width x RGB, as deep as the source.
        out: the file.

    Raises:
        InputError: it cannot be written.
    """
    source = source.constant
    begun = temporary_beside(out).with_suffix(out.suffix)
    pictures = iter(frames)
    first = next(pictures)
    # Most players and encoders want even sides.
    height, width = (side - side % 2 for side in first.shape[:2])
    try:
        with av.open(str(source.path)) as old, av.open(str(begun), "w") as new:
            new.metadata["comment"] = MADE_BY
            stream = _add_frames(av, new, source, out, height=height, width=width)
            others = _Copier(old, new, other_tracks(av, source, old, out).copied)
            for index, picture in enumerate(itertools.chain([first], pictures)):
                time = source.times[index]
                others.copy_until(time * source.time_base)
                pixels = np.ascontiguousarray(picture[:height, :width])
                frame = _encodable(av, source, pixels, stream.pix_fmt)
                frame.pts, frame.time_base = time, source.time_base
                following = source.times[index + 1 : index + 2]
                frame.duration = following[0] - time if following else source.last
                new.mux(stream.encode(frame))
            new.mux(stream.encode())
            others.copy_until(None)
        begun.replace(out)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{out}: cannot be written ({error}); its frames are kept") from None
    finally:
        begun.unlink(missing_ok=True)


def _encodable(av: Any, source: Source, pixels: np.ndarray, pixel_format: str) -> Any:
    form = "rgb48le" if source.deep else "rgb24"
    color = source.color
    frame = av.VideoFrame.from_ndarray(pixels, format=form).reformat(
        format=pixel_format,
        dst_colorspace=_SWS[color.matrix],
        src_color_range="JPEG",
        dst_color_range="JPEG" if color.full_range else "MPEG",
    )
    frame.colorspace, frame.color_range = color.matrix, _FULL if color.full_range else _LIMITED
    frame.color_primaries, frame.color_trc = color.primaries, color.transfer
    return frame


class _Copier:
    """Copies packets of other tracks beside the frames of their time, as players want them."""

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
        """Copy what is not later than this; all that is left if it is None."""
        while (packet := self._next) is not None:
            if seconds is not None and packet.dts * packet.time_base > seconds:
                return
            packet.stream = self._copies[packet.stream.index]
            self._new.mux(packet)
            self._next = next(self._packets, None)
