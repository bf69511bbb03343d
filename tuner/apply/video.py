"""A preset on a video, frame by frame; everything else in the file is carried over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from nst_core.errors import InputError, Say
from nst_core.images.encode import check_place
from nst_core.images.tensors import load_image
from nst_core.losses.inputs import Style
from nst_core.output_files import check_outputs
from nst_core.presets.preset import Preset
from tuner.apply.folder import apply_to_many, check_all
from tuner.apply.picture_files import Picture, file_digest
from tuner.apply.video_file import (
    Source,
    check_container,
    decoded,
    read_source,
    require_av,
    write_video,
)
from tuner.study.early_checks import VIDEO_SUFFIXES


def apply_to_video(
    preset: Preset,
    video: Path,
    styles: Sequence[Style],
    out: Path,
    *,
    weights: Sequence[str],
    console: Console,
    say: Say,
    read: Sequence[str | Path | None] = (),
    force: bool = False,
) -> None:
    """Stylize every frame; finished frames are kept beside the result until it is whole.

    Args:
        preset: what is applied.
        video: its frames are stylized; their times, sound and subtitles are kept.
        styles: with their weights.
        out: the result.
        weights: ``NAME=FILE`` each.
        console: for the bar.
        say: is told of what is left out.
        read: further files that must be kept.
        force: replace a file that nst-tuner did not make.

    Raises:
        InputError: it is no video, PyAV is missing, or the result cannot be written.
        WorkError: a frame could not be done.
    """
    av = require_av()
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise InputError(f"{out}: expected a video file ({', '.join(sorted(VIDEO_SUFFIXES))})")
    source, key = read_source(av, video), file_digest(video)
    _check_out(out, [video, *read], force, say)
    check_container(av, source, out, say)
    folder = out.with_name(f"{out.name}.frames")
    count = len(source.times)
    with _Reader(av, source) as reader:
        frames = [
            Picture(
                name=f"frame {index} of {video.name}",
                source=f"{key}:{index}",
                load=lambda index=index: reader.frame(index),  # type: ignore[misc]
                out=folder / f"{index:06d}.png",
            )
            for index in range(count)
        ]
        tally = apply_to_many(
            preset,
            frames,
            styles,
            weights=weights,
            console=console,
            say=say,
            bits=16 if source.deep else 8,
            read=[video, *read],
            force=force,
        )
    check_all(tally)
    write_video(av, source, _pixels([frame.out for frame in frames], source), out)
    shutil.rmtree(folder)
    say(f"wrote {out} ({count} frames)")


def _check_out(out: Path, read: Sequence[str | Path | None], force: bool, say: Say) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None
    check_place(out)
    check_outputs([("--out", out)], read, force=force, say=say)


def _pixels(files: Sequence[Path], source: Source) -> Iterator[np.ndarray]:
    """Finished frames at the depth of the source."""
    full, kind = (65535, np.uint16) if source.deep else (255, np.uint8)
    for file in files:
        image = load_image(file).permute(1, 2, 0).numpy()
        yield (image * full).round().astype(kind)


class _Reader:
    """Frames of a video in ascending order, upright; those left out are skipped."""

    def __init__(self, av: Any, source: Source):
        self._frames = enumerate(decoded(av, source))
        self._full = 65535 if source.deep else 255

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames = enumerate(())

    def frame(self, index: int) -> Tensor:
        """Frame ``index`` as image_3HW in [0, 1]."""
        for found, pixels in self._frames:
            if found == index:
                return _image(pixels, self._full)
        raise InputError(f"frame {index}: the video ends before it")


def _image(pixels: np.ndarray, full: int) -> Tensor:
    import torch

    scaled = np.ascontiguousarray(pixels, dtype=np.float32) / full
    return torch.from_numpy(scaled).permute(2, 0, 1)
