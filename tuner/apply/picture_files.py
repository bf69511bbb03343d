"""Picture files of a folder: finds them, and says why other files are left out."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from nst_core.errors import InputError
from nst_core.images.decode import FORMATS
from nst_core.images.file_kinds import (
    HEAD_BYTES,
    RAW_SUFFIXES,
    describe,
    describe_raw_photo,
    is_no_picture,
    read_format,
)
from nst_core.images.tensors import load_image

_IS_FOLDER = "is a folder; subfolders are not searched, so name it by itself"

#: Number of left-out files that an error about an empty folder lists.
_LISTED_FILES = 5


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture to stylize.

    Attributes:
        name: name of the picture in messages.
        source: a text that identifies the content of the picture, so that a result is known again.
        load: returns the picture as image_3HW in [0, 1].
        out: file of the result.
    """

    name: str
    source: str
    load: Callable[[], Tensor]
    out: Path


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of all formats that can be read, in lower case."""
    formats = {*FORMATS, "MPO"}  # MPO: a camera's JPEG file that also contains a preview
    return frozenset(
        suffix for suffix, form in Image.registered_extensions().items() if form in formats
    )


def pictures_in(folder: Path, out: Path) -> tuple[list[Picture], list[str]]:
    """Find the pictures of a folder.

    Args:
        folder: folder with the pictures.
        out: folder of the results, which are PNG files of the same names.

    Returns:
        The pictures, and a line with the reason for each file or folder that is left out. Files
        that are certainly not the user's pictures, such as sidecar files, are not listed.

    Raises:
        InputError: there are no pictures, or two would get the same result file, or the folder
            cannot be read.
    """
    if os.path.realpath(out) == os.path.realpath(folder):
        raise InputError(f"--out {out}: is the folder of the pictures; name another one")
    paths, left_out = picture_paths(folder, out, lambda path: _too_long(f"{path.stem}.png"))
    pictures: dict[str, Path] = {}
    for path in paths:
        if path.stem in pictures:
            raise InputError(
                f"{folder}: {pictures[path.stem].name} and {path.name} would both become"
                f" {path.stem}.png; rename one"
            )
        pictures[path.stem] = path
    return [_picture(path, out / f"{stem}.png") for stem, path in pictures.items()], left_out


def picture_paths(
    folder: Path, out: Path, refuse: Callable[[Path], str | None] = lambda _: None
) -> tuple[list[Path], list[str]]:
    """Find the picture files of a folder, by name.

    Args:
        folder: folder with the pictures.
        out: a file or folder that is not listed.
        refuse: returns why a picture is left out; None if it is not.

    Returns:
        The files, and a line with the reason for each file or folder that is left out.

    Raises:
        InputError: there are no pictures, or the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from None
    results = os.path.realpath(out)
    pictures, left_out = [], []
    for path in paths:
        if is_no_picture(path) or os.path.realpath(path) == results:
            continue
        if reason := _not_a_picture(path) or refuse(path):
            left_out.append(f"left out: {path.name}: {reason}")
        else:
            pictures.append(path)
    if not pictures:
        listed = "".join(f"\n  {line}" for line in left_out[:_LISTED_FILES])
        raise InputError(f"{folder}: no pictures in it ({', '.join(sorted(suffixes()))}){listed}")
    return pictures, left_out


def _not_a_picture(path: Path) -> str | None:
    """Return why a file is not a picture; None if it is one, even if it may be damaged."""
    suffix = path.suffix.lower()
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return _IS_FOLDER if stat.S_ISDIR(mode) else "is a pipe, socket or device, not a file"
        if suffix in suffixes():
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        # A picture that cannot be read is not left out: it counts as a failure.
        return None if suffix in suffixes() else f"cannot be read ({error.strerror or error})"
    if suffix in RAW_SUFFIXES:  # most raw photos begin like a TIFF file
        return describe_raw_photo(suffix)
    if read_format(head):
        return None
    return describe(head, suffix) or f"not a picture in a known format ({', '.join(FORMATS)})"


def _too_long(result_name: str) -> str | None:
    """Return why no file can have the name of a result; None if a file can have it."""
    size = len(os.fsencode(result_name))
    if size <= 255:
        return None
    return f"the name of its result would have {size} bytes; at most 255 are possible; rename it"


def _picture(path: Path, out: Path) -> Picture:
    try:
        source = file_digest(path)
    except InputError:
        source = ""  # `load` will raise an error with the reason
    return Picture(name=path.name, source=source, load=lambda: load_image(path), out=out)


def file_digest(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
