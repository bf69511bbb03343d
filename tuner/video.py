"""A preset on a video, frame by frame; sound is carried over."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from nst_core.decoder_errors import MAX_PIXELS
from nst_core.errors import InputError, Say
from nst_core.images import from_uint8, load_image, to_uint8
from nst_core.materials import Style
from nst_core.presets import Preset
from tuner.folder import Picture, file_digest
from tuner.light_checks import VIDEO_SUFFIXES as SUFFIXES
from tuner.many import apply_to_many, check_all

#: Of H.264: visually close to lossless.
_CRF = "16"


def apply_to_video(
    preset: Preset,
    video: Path,
    styles: Sequence[Style],
    out: Path,
    *,
    weights: Sequence[str],
    console: Console,
    say: Say,
) -> None:
    """Stylize every frame; finished frames are kept beside the result until it is whole.

    Raises:
        InputError: it is no video, PyAV is missing, or the result cannot be written.
        WorkError: a frame could not be done.
    """
    av = _av()
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: expected a video file ({', '.join(sorted(SUFFIXES))})")
    if out.exists():
        raise InputError(f"{out}: is there already; name another file")
    count, source = _count_frames(av, video), file_digest(video)
    _check_container(av, video, out)
    folder = out.with_name(f"{out.name}.frames")
    with _Reader(av, video) as reader:
        frames = [
            Picture(
                name=f"frame {index} of {video.name}",
                source=f"{source}:{index}",
                load=lambda index=index: reader.frame(index),  # type: ignore[misc]
                out=folder / f"{index:06d}.png",
            )
            for index in range(count)
        ]
        tally = apply_to_many(preset, frames, styles, weights=weights, console=console, say=say)
    check_all(tally)
    _write(av, video, [frame.out for frame in frames], out)
    shutil.rmtree(folder)
    say(f"wrote {out} ({count} frames)")


class _Reader:
    """Frames of a video in ascending order, upright; those left out are skipped."""

    def __init__(self, av: Any, video: Path):
        self._opened = av.open(str(video))
        self._frames = enumerate(self._opened.decode(video=0))

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def frame(self, index: int) -> Tensor:
        """Frame ``index`` as image_3HW in [0, 1]."""
        for found, frame in self._frames:
            if found == index:
                # Phones film lying down and note by how much to turn it, counterclockwise.
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                return from_uint8(pixels)
        raise InputError(f"frame {index}: the video ends before it")


def _count_frames(av: Any, video: Path) -> int:
    """By decoding them all: headers count frames too that an edit list leaves out."""
    try:
        with av.open(str(video)) as opened:
            if not opened.streams.video:
                raise InputError(f"{video}: no video in it")
            codec = opened.streams.video[0].codec_context
            if codec.width * codec.height > MAX_PIXELS:
                raise InputError(
                    f"{video}: frames of {codec.width}x{codec.height} are more than"
                    f" {MAX_PIXELS // 10**6} megapixels; scale it down first"
                )
            count = sum(1 for _ in opened.decode(video=0))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{video}: cannot be read as a video ({error})") from None
    if not count:
        raise InputError(f"{video}: no frames in it")
    return count


def _check_container(av: Any, source: Path, out: Path) -> None:
    """Raise InputError unless such a file can hold frames and the source's sound."""
    begun = _begun(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(source)) as old, av.open(str(begun), "w") as new:
            _add_streams(old, new, out, height=64, width=64)
            new.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{out}: cannot be written ({error}); the sound of {source.name} is copied as it is, so"
            f" name a file of its kind ({source.suffix}), or .mkv"
        ) from None
    finally:
        begun.unlink(missing_ok=True)


def _begun(out: Path) -> Path:
    """Where a video grows until it is whole."""
    return out.with_name(f".{out.stem}.tmp{out.suffix}")


def _add_streams(old: Any, new: Any, out: Path, *, height: int, width: int) -> tuple[Any, Any, Any]:
    """The streams of a new file: frames to be encoded, the source's sound, and its copy."""
    rate = old.streams.video[0].average_rate or Fraction(25)
    codec = "libvpx-vp9" if out.suffix.lower() == ".webm" else "libx264"
    stream = new.add_stream(codec, rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"crf": _CRF}
    sound = old.streams.audio[0] if old.streams.audio else None
    return stream, sound, new.add_stream_from_template(sound) if sound else None


def _write(av: Any, source: Path, frames: Sequence[Path], out: Path) -> None:
    """Put frames and the source's sound together; the file appears when it is whole."""
    begun = _begun(out)
    first = to_uint8(load_image(frames[0]))
    # Most players and encoders want even sides.
    height, width = (side - side % 2 for side in first.shape[:2])
    try:
        with av.open(str(source)) as old, av.open(str(begun), "w") as new:
            stream, sound, copied = _add_streams(old, new, out, height=height, width=width)
            for path in frames:
                pixels = np.ascontiguousarray(to_uint8(load_image(path))[:height, :width])
                new.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            new.mux(stream.encode())
            if copied is not None:
                for packet in old.demux(sound):
                    if packet.dts is not None:
                        packet.stream = copied
                        new.mux(packet)
        begun.replace(out)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{out}: cannot be written ({error}); its frames are kept") from None
    finally:
        begun.unlink(missing_ok=True)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise InputError("videos need the package av: pip install 'nst-tuner[video]'") from None
    return av
