"""What commands check before they load torch, which takes seconds.

Whoever mistyped a path should not wait for it. Everything is checked again where it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_core.errors import InputError
from nst_core.files import is_file, is_folder
from nst_core.images.picture_source import is_pipe
from nst_core.images.sizes import check_image
from tuner.job.spec import JobSpec
from tuner.job.style_arguments import StyleArgument
from tuner.study.run_dir import RunDir

#: Files that are taken for videos.
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})

#: In place of a run in `search.warm_start`: the pairs that come with the package.
SIMILAR = "similar"


def is_video(path: Path) -> bool:
    """Whether a content is a video, by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def check_sources(content: Path, styles: Sequence[str], *others: Path | None) -> None:
    """Check from their headers the pictures that a command names.

    Args:
        content: a picture, a folder of pictures or a video.
        styles: as `apply.parse_style` reads them.
        others: further pictures, None for those that were not given.

    Raises:
        InputError: one is missing or no picture, or the folder is empty.
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
    if not is_pipe(path):  # whose content can be read only once
        check_image(path)


def check_run(path: Path) -> Path:
    """The path itself, if it is a run directory.

    Raises:
        RunError: it is none.
    """
    return RunDir(path).require().path


def check_runs_of(job: JobSpec) -> None:
    """Raise RunError if something that the job names as a run is none."""
    for source in {*job.search.warm_start, job.search.replay} - {SIMILAR, None}:
        RunDir(Path(str(source))).require()
