"""CommandStylizer: a program as a stylizer. It runs once for each picture, without a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import psutil
from PIL import Image

from nst_core.errors import ImageError
from nst_core.images.decode import decode, open_picture, upright_size
from tuner.job.command_template import STYLE_PLACES, Template, filled
from tuner.stylizers.protocol import Params, Picture, StylizerError
from tuner.stylizers.tail import Tail, signal_name

#: Seconds for processes that a program has started to end after it.
CHILDREN_TIMEOUT_S = 2.0


class CommandStylizer:
    """A program with arguments.

    Args:
        template: the command; see `tuner.job.command_template`.
        folder: folder for the temporary files of each run of the program.
    """

    def __init__(self, template: Template, folder: Path):
        self._template, self._folder = template, folder
        program = filled(template[:1], {"python": sys.executable})[0]
        if shutil.which(program) is None:
            raise StylizerError(
                f"no program {program!r} was found; name one that PATH has, or a path relative to"
                " the job file"
            )

    def open(
        self, content: Picture, styles: Sequence[Picture], size_px: int, device: str
    ) -> CommandSession:
        """Return a session for one pair; see `Stylizer.open`."""
        return CommandSession(self._template, self._folder, content, styles, size_px, device)


class CommandSession:
    """A program with the pictures of one pair."""

    def __init__(
        self,
        template: Template,
        folder: Path,
        content: Picture,
        styles: Sequence[Picture],
        size_px: int,
        device: str,
    ):
        self._template, self._folder = template, folder
        self._content, self._styles = content, styles
        self._size_px, self._device = size_px, device

    def start(self, params: Params, seed: int) -> Iterator[tuple[int, Picture]]:
        """Run the program and yield its picture as step 1."""
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="trial-") as name:
            folder = Path(name)
            files = self._write_inputs(folder)
            out = folder / "out.png"
            values = {
                **params,
                **files,
                "out": str(out),
                "seed": seed,
                "size_px": self._size_px,
                "device": self._device,
                "python": sys.executable,
            }
            _run(filled(self._template, values), folder)
            height, width, _ = self._content.shape
            picture = read_result(out, width, height)
        yield 1, picture

    def _write_inputs(self, folder: Path) -> dict[str, str]:
        """Write the pictures of the pair; return their files by place."""
        pictures = {"content": self._content}
        pictures |= dict(zip(STYLE_PLACES, self._styles, strict=False))
        files = {}
        for place, picture in pictures.items():
            files[place] = str(folder / f"{place}.png")
            Image.fromarray(picture).save(files[place])
        return files


def read_result(path: Path, width: int, height: int) -> Picture:
    """Return the picture that a program wrote.

    Its size is checked before its pixels are decoded, so that a huge picture takes no memory.

    Raises:
        StylizerError: there is no file, no picture in it, or one of another size.
    """
    if path.is_symlink() or not path.is_file():
        raise StylizerError(
            "it ended without an error, but wrote no file {out}"
            + (": there is a link" if path.is_symlink() else "")
        )
    try:
        with open_picture(path) as picture:
            if (found := upright_size(picture)) != (width, height):
                raise StylizerError(
                    f"the picture has {found[0]}x{found[1]} px, expected {width}x{height} px, the"
                    " size of the content"
                )
            colors_HW3, alpha_HW, _ = decode(picture)
    except ImageError as error:
        raise StylizerError(str(error).replace(str(path), "{out}")) from None
    if alpha_HW is not None:
        colors_HW3 = colors_HW3 * alpha_HW[..., None] + 1 - alpha_HW[..., None]
    level_HW3: Picture = (np.clip(colors_HW3, 0, 1) * 255).round().astype(np.uint8)
    return level_HW3


def _run(arguments: Sequence[str], folder: Path) -> None:
    """Run a program to its end.

    Raises:
        StylizerError: it could not start, failed, or left processes behind.
    """
    try:
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise StylizerError(f"{arguments[0]!r} could not start: {error}") from None
    tail = Tail(cast("BinaryIO", process.stdout))
    code = process.wait()
    left = _end_children()
    if code:
        printed = tail.lines()
        raise StylizerError(_exit_text(code) + (f"; it printed: {printed}" if printed else ""))
    if left:
        raise StylizerError(
            f"it ended and left {left} process{'es' if left > 1 else ''} running, which"
            f" {'were' if left > 1 else 'was'} killed; a program has to wait for what it starts"
        )


def _exit_text(code: int) -> str:
    if code < 0:
        return f"it was killed by {signal_name(-code)}"
    return f"it ended with exit code {code}"


def _end_children() -> int:
    """Wait a moment for all processes below this one, kill the others; return their number.

    This process adopts orphans, so that all of them are found.
    """
    ends_at = time.monotonic() + CHILDREN_TIMEOUT_S
    while alive := _children():
        if time.monotonic() > ends_at:
            break
        time.sleep(0.05)
    killed: set[int] = set()
    while alive:  # they may fork faster than they are found
        for child in alive:
            killed.add(child.pid)
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.01)
        alive = _children()
    return len(killed)


def _children() -> list[psutil.Process]:
    """Return the living processes below this one; dead orphans are buried."""
    alive = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
            else:
                alive.append(child)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return alive
