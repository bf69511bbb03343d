"""Photos inside of a package: found among other bytes, icons and damaged pictures left out."""

import io
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.support.package_photos import RESOURCES, main
from nst_core.errors import InputError


def webp(side: int, mode: str = "RGB") -> bytes:
    """Return a picture of one color."""
    file = io.BytesIO()
    color = (200, 30, 30, 90)[: len(mode)]
    Image.new(mode, (side, side), color).save(file, "WEBP", lossless=True)
    return file.getvalue()


def test_photos_are_found_among_other_bytes(tmp_path: Path) -> None:
    """Large RGB pictures become files; icons, transparent and damaged ones do not."""
    damaged = webp(300)[:20] + b"RIFF and no picture"
    parts = [b"qres", webp(240), webp(48), damaged, webp(260, "RGBA"), b"RIFF", webp(220)]
    (tmp_path / f"{RESOURCES[0]}.rcc").write_bytes(b"\0".join(parts))
    (tmp_path / "words.rcc").write_bytes(webp(300))
    main(tmp_path, tmp_path / "photos")
    sizes = [Image.open(file).size for file in sorted((tmp_path / "photos").iterdir())]
    assert sizes == [(240, 240), (220, 220)]


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    """A folder that is not the unpacked package is told so, and nothing is made."""
    with pytest.raises(InputError, match="unpacked package gcompris-qt-data"):
        main(tmp_path, tmp_path / "photos")
    assert not (tmp_path / "photos").exists()
