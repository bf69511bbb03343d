"""Which files of a folder are pictures; every other file is named, or known to be none."""

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

_FOLDER = "is a folder, and folders in a folder are not looked into; give it to --content by itself"

#: Reasons that an error about an empty folder gives.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture to stylize.

    Attributes:
        name: what people call it.
        source: what tells it from all others, so that its result is known again.
        load: gives it, as image_3HW in [0, 1].
        out: where the result goes.
    """

    name: str
    source: str
    load: Callable[[], Tensor]
    out: Path


@functools.cache
def suffixes() -> frozenset[str]:
    """Suffixes of the formats that are read, lower case, as Pillow registers them."""
    formats = {*FORMATS, "MPO"}  # cameras' JPEG with a preview behind the photo
    return frozenset(
        suffix for suffix, form in Image.registered_extensions().items() if form in formats
    )


def pictures_in(folder: Path, out: Path) -> tuple[list[Picture], list[str]]:
    """Find the pictures of a folder, each with a result of its name in ``out``, as PNG.

    Returns:
        The pictures; and a line about each file or folder that is left out, with the reason. Files
        that are known to be no pictures of the user's, such as sidecars, are not listed.

    Raises:
        InputError: there are none, or two would have one result, or the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from None
    results = os.path.realpath(out)
    if results == os.path.realpath(folder):
        raise InputError(f"--out {out}: is the folder of the pictures; name another one")
    found: dict[str, Path] = {}
    left_out = []
    for path in paths:
        if is_no_picture(path) or os.path.realpath(path) == results:
            continue
        if why := _why_not(path) or _too_long(f"{path.stem}.png"):
            left_out.append(f"left out: {path.name}: {why}")
        elif path.stem in found:
            raise InputError(
                f"{folder}: {found[path.stem].name} and {path.name} would both become"
                f" {path.stem}.png; rename one"
            )
        else:
            found[path.stem] = path
    if not found:
        shown = "".join(f"\n  {line}" for line in left_out[:_SHOWN])
        raise InputError(f"{folder}: no pictures in it ({', '.join(sorted(suffixes()))}){shown}")
    return [_picture(path, out / f"{stem}.png") for stem, path in found.items()], left_out


def _why_not(path: Path) -> str | None:
    """Why a file is not taken for a picture; None if it is one, if perhaps a damaged one."""
    suffix = path.suffix.lower()
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return _FOLDER if stat.S_ISDIR(mode) else "is a pipe, socket or device, not a file"
        if suffix in suffixes():
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        # A picture that cannot be read is a failure, not something that was left out.
        return None if suffix in suffixes() else f"cannot be read ({error.strerror or error})"
    if suffix in RAW_SUFFIXES:  # most begin as a TIFF does
        return describe_raw_photo(suffix)
    return None if read_format(head) else _what_else(head, suffix)


def _too_long(result: str) -> str | None:
    """Why no file can have a result's name; None if one can."""
    size = len(os.fsencode(result))
    return f"its result's name would have {size} bytes of 255; rename it" if size > 255 else None


def _what_else(head: bytes, suffix: str) -> str:
    known = describe(head, suffix)
    return known or f"not a picture in a format that is read ({', '.join(FORMATS)})"


def _picture(path: Path, out: Path) -> Picture:
    try:
        source = file_digest(path)
    except InputError:
        source = ""  # loading it says why
    return Picture(name=path.name, source=source, load=lambda: load_image(path), out=out)


def file_digest(path: Path) -> str:
    """Short SHA-256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
