"""Checks that commands make before they import torch, which takes seconds.

A mistyped path is reported at once. The same things are checked again where the files are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_core.errors import InputError
from nst_core.files import is_file, is_folder
from nst_core.images.picture_source import is_pipe
from nst_core.images.sizes import check_image
from tuner.job.load import SIMILAR
from tuner.job.spec import JobSpec
from tuner.job.style_arguments import StyleArgument
from tuner.study.run_dir import RunDir

#: Endings of the names of video files.
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def check_sources(content: Path, styles: Sequence[str], *others: Path | None) -> None:
    """Check the pictures that a command names, by reading only their headers.

    Args:
        content: a picture, a folder of pictures or a video.
        styles: style arguments, see `job.style_arguments`.
        others: further pictures; None for options that were not given.

    Raises:
        InputError: a file is missing or is not a picture, or the folder is empty.
    """
    if is_folder(content):
        if not any(content.iterdir()):
            raise InputError(
                f"{content}: the folder is empty, expected pictures in it; name another folder"
            )
    elif is_video(content):
        if not is_file(content):
            raise InputError(f"{content}: no such file, expected a video; check the path")
    else:
        _check_picture(content)
    for text in styles:
        for file in StyleArgument.parse(text).files:
            _check_picture(Path(file))
    for path in others:
        if path is not None:
            _check_picture(path)


def _check_picture(path: Path) -> None:
    if not is_pipe(path):  # the content of a pipe can be read only once
        check_image(path)


def check_run(path: Path) -> Path:
    """Return the path if it is a run directory.

    Raises:
        RunError: the path is not a run directory.
    """
    return RunDir(path).require().path


def check_runs_of(job: JobSpec) -> None:
    """Raise InputError if the job names something as a run that is not a run directory."""
    refuse_similar(job)
    for source in {*job.search.warm_start, job.search.replay} - {None}:
        RunDir(Path(str(source))).require()


def refuse_similar(job: JobSpec) -> None:
    """Raise InputError if a new run would begin with settings of similar pictures.

    Only new runs are refused: a run that has begun has its initial points in its study.
    """
    if SIMILAR in job.search.warm_start:
        raise InputError(
            f"`search.warm_start: {SIMILAR}` was removed, because searches that began with settings"
            " of similar pictures were no better; remove it, or name a run directory"
        )
