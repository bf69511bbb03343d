"""Photos inside of a package of the learning program GCompris, for `benchmarks.distill`.

Command: ``python -m benchmarks.support.package_photos FOLDER OUT``. FOLDER is the unpacked package
of a distribution, such as Debian's::

    apt-get download gcompris-qt-data
    dpkg -x gcompris-qt-data_*.deb gcompris

The package has some 240 photos of animals, buildings and things with free licenses (see its file
``copyright``), as WebP pictures in resource files of Qt. They are not part of this project.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, UnidentifiedImageError

from benchmarks.support.common import err, run
from nst_core.errors import InputError

#: Resource files with photos.
RESOURCES = (
    *("categorization", "clickgame", "erase", "explore_farm_animals", "explore_monuments"),
    *("explore_world_animals", "explore_world_music"),
)
#: Shorter side of the smallest picture that is taken; icons are smaller.
LEAST_SIDE_PX = 200


def main(
    folder: Annotated[Path, typer.Argument(help="the unpacked package")],
    out: Annotated[Path, typer.Argument(help="a folder for the photos")],
) -> None:
    """Write the photos of the package as PNG files."""
    count = 0
    for file in sorted(folder.rglob("*.rcc")):
        if file.stem in RESOURCES:
            for index, photo in enumerate(photos(file.read_bytes())):
                out.mkdir(parents=True, exist_ok=True)
                photo.save(out / f"{file.stem}-{index:03d}.png")
                count += 1
    if not count:
        raise InputError(
            f"{folder}: has no photos in files such as {RESOURCES[0]}.rcc; expected the unpacked"
            " package gcompris-qt-data"
        )
    err.print(f"{count} photos in {out}", markup=False)


def photos(resources: bytes) -> Iterator[Image.Image]:
    """Yield the photos of a resource file: its RGB pictures in WebP that are no icons."""
    start = resources.find(b"RIFF")
    while start >= 0:
        length = 8 + int.from_bytes(resources[start + 4 : start + 8], "little")
        if resources[start + 8 : start + 12] == b"WEBP":
            try:
                photo = Image.open(io.BytesIO(resources[start : start + length]))
                photo.load()
            except (OSError, UnidentifiedImageError):
                photo = None  # these bytes were no beginning of a picture
            if photo is not None and photo.mode == "RGB" and min(photo.size) >= LEAST_SIDE_PX:
                yield photo
        start = resources.find(b"RIFF", start + 4)


if __name__ == "__main__":
    run(main)
