"""Picture files of a folder: pictures are found, other files are named or silently skipped."""

import os
from pathlib import Path

import pytest
from PIL import Image

from nst_core.errors import ImageError, InputError
from nst_core.images.decode import FORMATS
from tuner.apply.picture_files import pictures_in, suffixes

#: Names of files that programs and operating systems write next to pictures.
SIDECARS = [
    *("._a.png", ".DS_Store", ".hidden.jpg", "Thumbs.db", "desktop.ini", "a.xmp", "a.json"),
    *("a.txt", "notes.md", "a.CSV", "IMG_1.AAE", "~$a.png", "Icon\r", "list.yaml"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder with one picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (48, 40)).save(folder / "a.png")
    return folder


def names(folder: Path, out: Path) -> tuple[list[str], str]:
    """Return the names of the pictures of a folder, and the lines about other files."""
    pictures, left_out = pictures_in(folder, out)
    return [picture.name for picture in pictures], "\n".join(left_out)


def test_every_suffix_of_readable_formats_counts(folder: Path, tmp_path: Path) -> None:
    """A file with a suffix of any format that can be read is a picture, in upper case as well."""
    usual = {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    assert usual | {".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".mpo"} <= suffixes()
    Image.init()
    registered = {Image.EXTENSION[suffix] for suffix in suffixes()}
    assert registered == {*FORMATS, "MPO"}
    for number, suffix in enumerate(sorted(suffixes())):
        (folder / f"{number}{suffix.upper()}").write_bytes(b"x")
    found, left_out = names(folder, tmp_path / "out")
    assert len(found) == len(suffixes()) + 1 and not left_out


def test_sidecar_files_are_skipped_silently(folder: Path, tmp_path: Path) -> None:
    """Sidecar files, caches and hidden files are neither pictures nor named."""
    for name in SIDECARS:
        (folder / name).write_bytes(b"x")
    for name in (".git", "__MACOSX", "@eaDir"):
        (folder / name).mkdir()
    (folder / "out").mkdir()
    assert names(folder, folder / "out") == (["a.png"], "")


def test_other_files_are_named_with_the_reason(folder: Path, tmp_path: Path) -> None:
    """A line says what each file of another kind is: HEIC, raw photo, document, video, folder."""
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


def test_picture_is_recognized_by_its_content(folder: Path, tmp_path: Path) -> None:
    """A picture without a suffix, or with an unknown suffix, is found."""
    for name in ("photo", "IMG.jpg_large"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    assert names(folder, tmp_path / "out") == (["IMG.jpg_large", "a.png", "photo"], "")


def test_animated_picture_fails_when_it_is_loaded(folder: Path, tmp_path: Path) -> None:
    """An animated GIF is found, and loading it raises an error with its number of frames."""
    frames = [Image.new("RGB", (48, 40), color) for color in ("red", "blue")]
    frames[0].save(folder / "b.gif", save_all=True, append_images=frames[1:])
    *_, animated = pictures_in(folder, tmp_path / "out")[0]
    with pytest.raises(ImageError, match=r"b\.gif: holds 2 frames"):
        animated.load()


def test_picture_with_a_too_long_name_is_left_out(folder: Path, tmp_path: Path) -> None:
    """A picture is left out if the name of its result would be too long."""
    (folder / ("n" * 255)).write_bytes((folder / "a.png").read_bytes())
    found, left_out = names(folder, tmp_path / "out")
    assert found == ["a.png"] and "would have 259 bytes" in left_out


def test_unreadable_picture_fails_when_it_is_loaded(folder: Path, tmp_path: Path) -> None:
    """A broken link with a picture's suffix is found, and loading it raises an error."""
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (gone,) = (p for p in pictures_in(folder, tmp_path / "out")[0] if p.name == "gone.jpg")
    with pytest.raises(ImageError, match=r"symbolic link to nowhere\.jpg"):
        gone.load()


def test_error_about_an_empty_folder_names_other_files(tmp_path: Path) -> None:
    """If a folder contains only HEIC photos, the error names them."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError, match=r"(?s)no pictures in it.*b\.heic: is a HEIC photo"):
        pictures_in(tmp_path / "in", tmp_path / "out")
