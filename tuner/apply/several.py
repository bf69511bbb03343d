"""Make the results of a folder of pictures or of a video, whatever makes a single picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nst_core.errors import InputError, Say
from tuner.apply.folder import Tally, Work, check_all, make_results
from tuner.apply.picture_files import Picture, pictures_in
from tuner.apply.video import make_video
from tuner.study.preflight_checks import is_video


def make_several(
    work: Work,
    content: Path,
    out: Path,
    *,
    read: Sequence[str | Path | None] = (),
    console: Console,
    say: Say,
    force: bool,
) -> None:
    """Make and save the result of each picture of a folder, or of each frame of a video.

    Args:
        work: what is done with the pictures.
        content: folder of pictures, or a video.
        out: folder of the results, or the result's video.
        read: further files that must not be overwritten.
        console: console of the progress bar.
        say: gets a line about each failure, and a summary.
        force: replace results that something else made.

    Raises:
        InputError: as `folder.make_results` or `video.make_video`, or there are no pictures, or the
            folder of the results is a file.
        WorkError: some pictures failed; the others are done.
    """
    if is_video(content):

        def apply(frames: Sequence[Picture], bits: int) -> Tally:
            return make_results(
                *(work, frames),
                console=console,
                say=say,
                bits=bits,
                read=[content, *read],
                force=force,
            )

        make_video(apply, content, out, say=say, read=read, force=force)
        return
    if os.path.exists(out) and not os.path.isdir(out):  # noqa: PTH110, PTH112
        raise InputError(f"--out {out}: is a file, expected a folder for the results")
    pictures, left_out = pictures_in(content, out)
    for line in left_out:
        say(line)
    files = [*read, *(content / picture.name for picture in pictures)]
    tally = make_results(work, pictures, console=console, say=say, read=files, force=force)
    omitted = f", {len(left_out)} left out" if left_out else ""
    say(f"{out}: {tally.done} done, {tally.kept} there already{omitted}")
    check_all(tally)
