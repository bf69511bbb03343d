"""What a command writes: tried before the work, never over what it reads, nothing of others lost.

One rule for every command: an earlier result of nst-tuner and an empty file are replaced, and that
is said; any other file only with ``--force``; a file that the command reads never.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nst_core.errors import ImageError, InputError, Say, WorkError
from nst_core.files import is_file
from nst_core.images.encode import MADE_BY, check_place, write_picture

#: By which a file says that it is a result: the text that results carry, of earlier versions too.
_MARKS = (MADE_BY.encode(), b"nst-tuner-preset", b"nst-tuner-reference", b'{\n  "schema_version":')

#: Marks are near the beginning or, in videos, WebP and TIFF, near the end.
_LOOKED_AT_BYTES = 2**16

#: An option and the file that it names.
Named = tuple[str, Path]

_Key = tuple[int, int] | str


def check_outputs(
    outputs: Sequence[Named], inputs: Iterable[str | Path | None], *, force: bool, say: Say
) -> None:
    """Refuse outputs that would replace what must be kept; call it before the work.

    Args:
        outputs: option and file of each file that the command will write.
        inputs: files that it reads; of a folder, such as a run directory, all files in it.
        force: replace files that nst-tuner did not make.
        say: told of each file that will be replaced.

    Raises:
        InputError: an output is an input, or another output, or there is a file of its name.
    """
    read = [Path(file) for file in inputs if file is not None]
    folders = [file for file in read if os.path.isdir(file)]  # noqa: PTH112  # see `is_file`
    files = {_key(file): file for file in read if is_file(file)}
    taken: dict[_Key, Named] = {}
    replaced = []
    for option, path in outputs:
        key = _key(path)
        if key in taken:
            other, first = taken[key]
            raise InputError(
                f"{option} {path}: is the same file as {other} {first}; name two different files"
            )
        taken[key] = option, path
        if not os.path.exists(path):  # noqa: PTH110  # no name is too long for it
            continue
        if (source := files.get(key) or _found_in(folders, path, key)) is not None:
            raise InputError(
                f"{option} {path}: is a file that this command reads ({source}), which is never"
                " replaced; name another file for the result"
            )
        if not force and not _may_be_replaced(path):
            raise InputError(
                f"{option} {path}: there is a file of this name that nst-tuner did not make; name"
                " another file, or add --force to replace it"
            )
        replaced.append(path)
    for path in replaced:
        say(f"{path}: replaces the file of this name")


def check_text_output(
    option: str, path: Path, inputs: Iterable[str | Path | None], *, force: bool, say: Say
) -> None:
    """`check_outputs` of one file that is no picture, and that it can be written.

    Raises:
        InputError: as `check_outputs`, or no such file can be written.
    """
    check_place(path)
    check_outputs([(option, path)], inputs, force=force, say=say)


def check_space(folder: Path, size: int) -> None:
    """Raise InputError if there is no room for about ``size`` bytes in a folder that may not be."""
    there = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    if there is None:
        return
    free = shutil.disk_usage(there).free
    if free < size:
        raise InputError(
            f"{folder}: about {size / 1e6:,.0f} MB are needed there, and {free / 1e6:,.0f} MB are"
            " free; free some space or name another place"
        )


def save_elsewhere(path: Path, content: bytes) -> None:
    """Write a finished result; where that fails, keep it in a new folder for temporary files.

    Raises:
        WorkError: it is kept in that other place, or is lost; the message says which.
    """
    try:
        write_picture(path, content)
        return
    except ImageError as error:
        problem = str(error)
    try:
        other = Path(tempfile.mkdtemp(prefix="nst-tuner-")) / path.name
        write_picture(other, content)
    except (OSError, ImageError):
        raise WorkError(f"{problem}; there was no other place to keep the result") from None
    raise WorkError(f"{problem}; the result was saved as {other} instead")


def _key(path: Path) -> _Key:
    """Equal for two names of one file: links and other spellings included."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _found_in(folders: Sequence[Path], path: Path, key: _Key) -> Path | None:
    """The file in one of the folders that ``path`` is, by whatever name."""
    real = Path(os.path.realpath(path))
    for folder in folders:
        if real.is_relative_to(os.path.realpath(folder)):
            return path
        if path.stat().st_nlink > 1:  # a further name of it may be in the folder
            for file in _files(folder):
                if _key(file) == key:
                    return file
    return None


def _files(folder: Path) -> Iterator[Path]:
    return (Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _may_be_replaced(path: Path) -> bool:
    """Whether nothing of anybody else is in a file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(_LOOKED_AT_BYTES)
            file.seek(max(size - _LOOKED_AT_BYTES, 0))
            content += file.read(_LOOKED_AT_BYTES)
    except OSError:
        return False
    return size == 0 or any(mark in content for mark in _MARKS)
