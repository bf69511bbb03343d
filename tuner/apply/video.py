"""Stylize a video frame by frame; sound, subtitles and times are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nst_core.errors import InputError, Say
from nst_core.images.encode import check_place
from nst_core.images.tensors import load_image
from nst_core.output_files import check_outputs
from tuner.apply.folder import Tally, check_all
from tuner.apply.picture_files import Picture, file_digest
from tuner.apply.video_result import check_container, write_video
from tuner.apply.video_source import Source, decoded, read_source, require_av
from tuner.study.preflight_checks import VIDEO_SUFFIXES


def make_video(
    apply: Callable[[Sequence[Picture], int], Tally],
    video: Path,
    out: Path,
    *,
    say: Say,
    read: Sequence[str | Path | None] = (),
    force: bool = False,
) -> None:
    """Make a video of results of every frame; they are kept on disk until the video is written.

    Args:
        apply: makes the results of frames, with a number of bits per channel.
        video: the video file.
        out: file of the result.
        say: gets a line about everything that the result cannot hold.
        read: further files that must not be overwritten.
        force: replace a file that nst-tuner did not make.

    Raises:
        InputError: the file is not a video, PyAV is missing, or the result cannot be written.
        WorkError: a frame failed.
    """
    av = require_av()
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"{out}: expected a video file ({', '.join(sorted(VIDEO_SUFFIXES))})")
    source, key = read_source(av, video), file_digest(video)
    _check_out(out, [video, *read], force, say)
    check_container(av, source, out, say)
    folder = out.with_name(f"{out.name}.frames")
    with _FrameReader(av, source) as reader:
        frames = _frame_pictures(reader, video.name, key, len(source.times), folder)
        tally = apply(frames, 16 if source.deep else 8)
    check_all(tally)
    write_video(av, source, _pixels([frame.out for frame in frames], source), out)
    shutil.rmtree(folder)
    say(f"wrote {out} ({len(frames)} frames)")


def _frame_pictures(
    reader: _FrameReader, video_name: str, key: str, count: int, folder: Path
) -> list[Picture]:
    """Return the frames of a video as pictures, whose results go into a folder."""
    return [
        Picture(
            name=f"frame {index} of {video_name}",
            source=f"{key}:{index}",
            load=lambda index=index: reader.frame(index),  # type: ignore[misc]
            out=folder / f"{index:06d}.png",
        )
        for index in range(count)
    ]


def _check_out(out: Path, read: Sequence[str | Path | None], force: bool, say: Say) -> None:
    """Raise InputError if the result cannot be written or would replace a file that is read."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None
    check_place(out)
    check_outputs([("--out", out)], read, force=force, say=say)


def _pixels(files: Sequence[Path], source: Source) -> Iterator[np.ndarray]:
    """Yield finished frames as height x width x RGB: uint16 if the source is deep, else uint8."""
    white, dtype = (65535, np.uint16) if source.deep else (255, np.uint8)
    for file in files:
        image = load_image(file).permute(1, 2, 0).numpy()
        yield (image * white).round().astype(dtype)


class _FrameReader:
    """Reads the frames of a video upright; the indices of the calls must ascend."""

    def __init__(self, av: Any, source: Source):
        self._frames = enumerate(decoded(av, source))
        self._white = 65535 if source.deep else 255

    def __enter__(self) -> _FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames = enumerate(())

    def frame(self, index: int) -> Tensor:
        """Return frame ``index`` as image_3HW in [0, 1]."""
        for position, pixels in self._frames:
            if position == index:
                scaled = np.ascontiguousarray(pixels, dtype=np.float32) / self._white
                return torch.from_numpy(scaled).permute(2, 0, 1)
        raise InputError(f"frame {index}: the video ends before this frame")
