"""Output files of commands: checked before the work, and written without loss of other files.

All commands follow one rule. An empty file and an earlier result of nst-tuner are replaced, and a
line says so. Any other file is replaced only with ``--force``. A file that the command reads is
never replaced.
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

#: Text by which a file is recognized as a result of nst-tuner, of earlier versions too.
_MARKS = (MADE_BY.encode(), b"nst-tuner-preset", b"nst-tuner-reference", b'{\n  "schema_version":')

#: Number of bytes at the beginning and at the end of a file in which marks are searched; videos,
#: WebP and TIFF have them at the end.
_SEARCHED_BYTES = 2**16

#: Name of an option, and the file that the user passed with it.
Named = tuple[str, Path]

_Key = tuple[int, int] | str


def check_outputs(
    outputs: Sequence[Named], inputs: Iterable[str | Path | None], *, force: bool, say: Say
) -> None:
    """Refuse outputs that would replace files of the user; call it before the work.

    Args:
        outputs: option and path of each file that the command will write.
        inputs: files that the command reads; a folder, such as a run directory, stands for all
            files in it.
        force: replace files that nst-tuner did not make.
        say: called with one line for each file that will be replaced.

    Raises:
        InputError: an output is an input, two outputs are the same file, or a file that nst-tuner
            did not make exists.
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
                f"{option} {path}: a file with this name exists, and it is not certain that"
                " nst-tuner made it; name another file, or add --force to replace it"
            )
        replaced.append(path)
    for path in replaced:
        say(f"{path}: replaces the existing file")


def check_text_output(
    option: str, path: Path, inputs: Iterable[str | Path | None], *, force: bool, say: Say
) -> None:
    """Check with `check_outputs` one file that is no picture, and that it can be written.

    Raises:
        InputError: as `check_outputs`, or the file cannot be written.
    """
    check_place(path)
    check_outputs([(option, path)], inputs, force=force, say=say)


def check_space(folder: Path, size: int) -> None:
    """Raise InputError if less than about ``size`` bytes are free; the folder need not exist."""
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    if existing is None:
        return
    free = shutil.disk_usage(existing).free
    if free < size:
        raise InputError(
            f"{folder}: about {size / 1e6:,.0f} MB are needed, but only {free / 1e6:,.0f} MB are"
            " free; free some space or name another folder"
        )


def save_elsewhere(path: Path, content: bytes) -> None:
    """Write a finished result; if that fails, save it in a new folder for temporary files.

    Raises:
        WorkError: the result was saved in the temporary folder, or is lost; the message says which.
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
        raise WorkError(
            f"{problem}; the result is lost, because the temporary folder is not writable either"
        ) from None
    raise WorkError(f"{problem}; the result was saved as {other} instead")


def _key(path: Path) -> _Key:
    """Return a key that is equal for all names of one file, links included."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _found_in(folders: Sequence[Path], path: Path, key: _Key) -> Path | None:
    """Return the file in one of the folders that is the same file as ``path``; None if none is."""
    real = Path(os.path.realpath(path))
    for folder in folders:
        if real.is_relative_to(os.path.realpath(folder)):
            return path
        if path.stat().st_nlink > 1:  # a hard link to it may be in the folder
            for file in _files(folder):
                if _key(file) == key:
                    return file
    return None


def _files(folder: Path) -> Iterator[Path]:
    return (Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _may_be_replaced(path: Path) -> bool:
    """Return whether a file is empty or a result of nst-tuner."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(_SEARCHED_BYTES)
            file.seek(max(size - _SEARCHED_BYTES, 0))
            content += file.read(_SEARCHED_BYTES)
    except OSError:
        return False
    return size == 0 or any(mark in content for mark in _MARKS)
