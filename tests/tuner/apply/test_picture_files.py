"""Every file of a folder is a picture, is named as left out, or is known to be no picture."""

import os
from pathlib import Path

import pytest
from PIL import Image

from nst_core.errors import ImageError, InputError
from nst_core.images.decode import FORMATS
from tuner.apply.picture_files import pictures_in, suffixes

#: Names that programs and systems leave beside pictures.
BESIDE = [
    *("._a.png", ".DS_Store", ".hidden.jpg", "Thumbs.db", "desktop.ini", "a.xmp", "a.json"),
    *("a.txt", "notes.md", "a.CSV", "IMG_1.AAE", "~$a.png", "Icon\r", "list.yaml"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one picture."""
    made = tmp_path / "photos"
    made.mkdir()
    Image.new("RGB", (48, 40)).save(made / "a.png")
    return made


def names(folder: Path, out: Path) -> tuple[list[str], str]:
    found, left_out = pictures_in(folder, out)
    return [picture.name for picture in found], "\n".join(left_out)


def test_every_suffix_of_the_formats_that_are_read_counts(folder: Path, tmp_path: Path) -> None:
    """The list is the reader's own, whatever the case; a suffix less is no picture skipped."""
    usual = {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    assert usual | {".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".mpo"} <= suffixes()
    Image.init()
    registered = {Image.EXTENSION[suffix] for suffix in suffixes()}
    assert registered == {*FORMATS, "MPO"}
    for number, suffix in enumerate(sorted(suffixes())):
        (folder / f"{number}{suffix.upper()}").write_bytes(b"x")
    found, left_out = names(folder, tmp_path / "out")
    assert len(found) == len(suffixes()) + 1 and not left_out


def test_files_known_to_be_no_pictures_are_no_failures(folder: Path, tmp_path: Path) -> None:
    """Sidecars, caches and hidden files are neither done nor named."""
    for name in BESIDE:
        (folder / name).write_bytes(b"x")
    for name in (".git", "__MACOSX", "@eaDir"):
        (folder / name).mkdir()
    (folder / "out").mkdir()
    assert names(folder, folder / "out") == (["a.png"], "")


def test_all_else_is_named_with_the_reason(folder: Path, tmp_path: Path) -> None:
    """HEIC, raw photos, documents, videos, folders and pipes: named, with what they are."""
    contents = {
        "b.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "c.NEF": b"II*\0" + bytes(40),
        "d.psd": b"8BPS\0\1",
        "e.svg": b"<svg>",
        "f.pdf": b"%PDF-1.4",
        "g.mp4": b"\0\0\0\x18ftypisom",
        "h.xyz": b"\x93\xff\x81",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe.png")
    found, left_out = names(folder, tmp_path / "out")
    assert found == ["a.png"]
    for words in ("b.heic: is a HEIC photo", "c.NEF: is a camera raw photo (NEF)"):
        assert words in left_out
    for words in (
        "d.psd: is a Photoshop",
        "e.svg: is an SVG",
        "f.pdf: is a PDF",
        "g.mp4: is a vid",
    ):
        assert words in left_out
    for words in ("h.xyz: not a picture", "sub: is a folder", "pipe.png: is a pipe"):
        assert words in left_out
    assert len(left_out.splitlines()) == 9


def test_a_picture_is_known_by_its_content_too(folder: Path, tmp_path: Path) -> None:
    """A picture without a suffix, or with an unknown one, is done."""
    for name in ("photo", "IMG.jpg_large"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    assert names(folder, tmp_path / "out") == (["IMG.jpg_large", "a.png", "photo"], "")


def test_a_moving_picture_is_a_failure_of_its_own(folder: Path, tmp_path: Path) -> None:
    """An animated GIF is no still picture; its frames are counted when it is loaded."""
    frames = [Image.new("RGB", (48, 40), color) for color in ("red", "blue")]
    frames[0].save(folder / "b.gif", save_all=True, append_images=frames[1:])
    *_, moving = pictures_in(folder, tmp_path / "out")[0]
    with pytest.raises(ImageError, match=r"b\.gif: holds 2 frames"):
        moving.load()


def test_a_name_too_long_for_a_result_is_named_before_the_work(
    folder: Path, tmp_path: Path
) -> None:
    """A picture of 255 bytes without a suffix could not get a result of its name."""
    (folder / ("n" * 255)).write_bytes((folder / "a.png").read_bytes())
    found, left_out = names(folder, tmp_path / "out")
    assert found == ["a.png"] and "would have 259 bytes" in left_out


def test_a_picture_that_cannot_be_read_is_a_failure_of_its_own(
    folder: Path, tmp_path: Path
) -> None:
    """A link to nothing does not keep the others from being found; loading it says why."""
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (gone,) = (p for p in pictures_in(folder, tmp_path / "out")[0] if p.name == "gone.jpg")
    with pytest.raises(ImageError, match=r"symbolic link to nowhere\.jpg"):
        gone.load()


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path: Path) -> None:
    """Where only HEIC photos are, the error names them and not only the suffixes."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError, match=r"(?s)no pictures in it.*b\.heic: is a HEIC photo"):
        pictures_in(tmp_path / "in", tmp_path / "out")
