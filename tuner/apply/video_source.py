"""Video source: description and frames of a video file, read by PyAV."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nst_core.errors import InputError
from nst_core.images.decoder_errors import MAX_PIXELS

#: FFmpeg's numbers of color matrices (ISO/IEC 23091-2) and of color ranges.
_RGB, _BT709, _BT601 = 0, 1, 6
_LIMITED, _FULL = 1, 2

#: FFmpeg's number of a matrix -> PyAV's number, for the matrices that its conversion supports.
PYAV_MATRIX = {_BT709: 1, 4: 4, 5: 5, _BT601: 5, 7: 7, 9: 9, 10: 9}

#: If a file does not name a matrix, players assume that of HD above these sizes in pixels.
_SD_WIDTH, _SD_HEIGHT = 1279, 576

#: Largest error of a frame's time in seconds: containers round to a millisecond or a tick.
_ROUNDING_S = Fraction(1, 900)


def require_av() -> Any:
    """Return the module of PyAV, an optional dependency.

    Raises:
        InputError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise InputError("videos need the package av: pip install 'nst-tuner[video]'") from None
    return av


@dataclass(frozen=True, kw_only=True)
class Color:
    """Color tags of a video, which its result keeps.

    Attributes:
        matrix: FFmpeg's number of the color matrix.
        full_range: whether values use the full range instead of the limited ("TV") range.
        primaries: FFmpeg's number of the color primaries.
        transfer: FFmpeg's number of the transfer function.
    """

    matrix: int
    full_range: bool
    primaries: int
    transfer: int

    @property
    def range_tag(self) -> int:
        """FFmpeg's number of the color range."""
        return _FULL if self.full_range else _LIMITED

    @classmethod
    def of(cls, frame: Any) -> Color:
        """Return the color tags of a decoded frame; missing tags get the defaults of players."""
        matrix = int(frame.colorspace)
        if matrix not in PYAV_MATRIX:
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
    """Description of a video file.

    Attributes:
        path: the file.
        stream: index of the stream with the frames.
        times: time of each frame in units of ``time_base``, ascending.
        time_base: unit of times in seconds.
        last: duration of the last frame in units of ``time_base``.
        rate: average number of frames per second.
        color: color tags.
        deep: whether channels have more than 8 bits.
        alpha: whether frames have an alpha channel.
        aspect: width of a pixel divided by its height, in upright frames.
        height_width: size of upright frames in pixels.
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
        """The source with times in units of frames, if its frame rate is constant; else itself."""
        positions = [time * self.time_base * self.rate for time in self.times]
        tolerance = max(self.time_base, _ROUNDING_S) * self.rate
        if any(abs(position - index) > tolerance for index, position in enumerate(positions)):
            return self
        changed = {"times": range(len(positions)), "time_base": 1 / self.rate, "last": 1}
        return Source(**{**vars(self), **changed})


def read_source(av: Any, video: Path) -> Source:
    """Return the description of a video.

    Every frame is decoded, because headers also count frames that an edit list leaves out.

    Raises:
        InputError: the file is not a video, or has no frames, or its frames are too large.
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
                first = first or _FrameFormat.of(frame)
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
        times, base, last = list(range(len(times))), 1 / rate, 1  # some old files have no times
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
        aspect=1 / aspect if first.sideways else aspect,
        height_width=(first.width, first.height) if first.sideways else (first.height, first.width),
    )


@dataclass(frozen=True)
class _FrameFormat:
    """Format of a decoded frame; `sideways` frames must be turned by 90 degrees."""

    color: Color
    deep: bool
    alpha: bool
    sideways: bool
    width: int
    height: int

    @classmethod
    def of(cls, frame: Any) -> _FrameFormat:
        parts = frame.format.components
        return cls(
            color=Color.of(frame),
            deep=max(part.bits for part in parts) > 8,
            alpha=any(part.is_alpha for part in parts) or frame.format.name == "pal8",
            sideways=round(frame.rotation / 90) % 2 == 1,
            width=frame.width,
            height=frame.height,
        )


def _main_stream(opened: Any, video: Path) -> Any:
    """Return the first video stream that is not a cover picture."""
    for stream in opened.streams.video:
        if not is_cover_picture(stream):
            return stream
    raise InputError(f"{video}: no video in it")


def is_cover_picture(stream: Any) -> bool:
    """Return whether a video stream is a cover picture, as music files have them."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def decoded(av: Any, source: Source) -> Iterator[np.ndarray]:
    """Yield every frame upright as height x width x RGB: uint16 if the source is deep, else uint8.

    Transparent frames are laid over white.
    """
    pixel_format, white = ("rgb48le", 65535) if source.deep else ("rgb24", 255)
    if source.alpha:
        pixel_format = "rgba64le" if source.deep else "rgba"
    matrix = PYAV_MATRIX[source.color.matrix]
    with av.open(str(source.path)) as opened:
        for frame in opened.decode(opened.streams[source.stream]):
            pixels = frame.to_ndarray(format=pixel_format, src_colorspace=matrix)
            if source.alpha:
                alpha = pixels[..., 3:].astype(np.float32) / white
                opaque = pixels[..., :3] * alpha + white * (1 - alpha)
                pixels = opaque.round().astype(pixels.dtype)
            # Phones store sideways frames with the counterclockwise angle that turns them upright.
            yield np.rot90(pixels, round(frame.rotation / 90))
