"""Files that are no picture: the error names the kind of file and what to do."""

import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from nst_core.errors import ImageError
from nst_core.images import picture_source
from nst_core.images.sizes import check_image
from nst_core.images.tensors import load_image, load_with_alpha
from tests.nst_core.picture_files import write

ZIP, TAR = io.BytesIO(), io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as zipped, tarfile.open(fileobj=TAR, mode="w") as tarred:
    zipped.writestr("a.txt", "a")
    tarred.addfile(tarfile.TarInfo("a"))

#: Content and name of a file, and words of its error.
KINDS = [
    (b"", "a.jpg", "is empty (0 bytes); copy or download"),
    (bytes(3000), "a.jpg", "zero bytes only"),
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a.jpg",
        "git lfs pull",
    ),
    (b"/annex/objects/SHA256E-s1--0.jpg\n", "a.jpg", "git annex get"),
    (b"\n <!DOCTYPE html>\n<html>", "a.jpg", "is an HTML page"),
    (b"\xef\xbb\xbf<HTML lang=de><head>", "a.png", "is an HTML page"),
    ("<html>".encode("utf-16"), "a.png", "is an HTML page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a.png", "an XML document"),
    (
        b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="x">',
        "a.png",
        "is an SVG drawing; export it",
    ),
    (b"hello\n", "a.jpg", "is a text file"),
    ("süß".encode() * 3000, "a.jpg", "is a text file"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic", "is a HEIC photo (HEIF)"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(500), "a.jpg", "is a HEIC photo (HEIF)"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1", "a.cr3", "raw photo (CR3)"),
    (b"\0\0\0\x18ftypisom\0\0\2\0", "a.jpg", "is a video (MP4"),
    (b"\x1aE\xdf\xa3" + bytes(100), "a.jpg", "is a video (Matroska"),
    (b"RIFF\0\0\0\0AVI LIST", "a.jpg", "is a video (AVI)"),
    (b"%PDF-1.7\n%\xe2\xe3", "a.pdf", "is a PDF document"),
    (b"8BPS\0\1" + bytes(30), "a.jpg", "is a Photoshop document (PSD)"),
    (b"gimp xcf v011\0", "a.xcf", "is a GIMP document"),
    (b"\xff\x0a\xfa\x1f", "a.jpg", "is a JPEG XL picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a.jxl", "is a JPEG XL picture"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a.jp2", "is a JPEG 2000 picture"),
    (b"PF\n2 2\n-1.0\n" + bytes(48), "a.pfm", "is a color PFM picture"),
    (b"v/1\x01" + bytes(60), "a.exr", "is an OpenEXR picture"),
    (b"#?RADIANCE\n", "a.hdr", "is a Radiance HDR"),
    (b"FUJIFILMCCD-RAW 0201", "a.jpg", "raw photo (RAF)"),
    (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "a.jpg", "raw photo (CR2)"),
    (b"\x93\x11\x80rubbish\xff", "a.nef", "raw photo (NEF)"),
    (b"\0\5\x16\7\0\2\0\0Mac OS X        ", "._a.jpg", "AppleDouble"),
    (ZIP.getvalue(), "a.jpg", "is a ZIP archive"),
    (TAR.getvalue(), "a.jpg", "is a tar archive"),
    (b"\x1f\x8b\x08\0", "a.jpg", "is a gzip archive"),
    (b"\x89PNG\r\n\x1a\n" + b"\xfe" * 40, "a.jpg", "PNG file is damaged"),
    (b"\x9c\x11\x80rubbish\xff", "a.jpg", "convert it to one of PNG, JPEG"),
]


@pytest.mark.parametrize(("content", "name", "words"), KINDS)
def test_a_file_is_named_as_what_it_is(
    content: bytes, name: str, words: str, tmp_path: Path
) -> None:
    """The error is one line with the file name and the kind of its content."""
    path = tmp_path / name
    path.write_bytes(content)
    for read in (load_image, check_image):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "channels", "options"),
    [
        (np.float32, 3, {"photometric": "rgb"}),
        (np.uint16, 3, {"photometric": "cielab"}),
        (np.uint16, 2, {"extrasamples": ["unassalpha"]}),
        (np.float64, 1, {}),
        (np.float16, 1, {}),
        (np.int16, 3, {"photometric": "rgb"}),
    ],
)
def test_tiff_layouts_that_are_not_read_are_named(
    dtype: type, channels: int, options: dict[str, object], tmp_path: Path
) -> None:
    """A TIFF with an unknown layout is refused with the formats to save."""
    pixels = np.ones((40, 48, channels), dtype).squeeze()
    settings = {"photometric": "minisblack", **options}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **settings)  # type: ignore[arg-type]
    for read in (load_image, check_image):
        with pytest.raises(ImageError, match=r"save it .*with 8 or 16 bits a channel"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["by tag", "by pages", "by name"])
def test_a_raw_photo_is_not_its_preview(kind: str, tmp_path: Path) -> None:
    """A raw photo, which contains a preview as the first page of a TIFF, is refused."""
    path = tmp_path / ("a.nef" if kind == "by name" else "a.tif")
    tags = [(50706, "B", 4, (1, 4, 0, 0), True)] if kind == "by tag" else []
    pixels = np.zeros((40, 48, 3), np.uint8)
    with tifffile.TiffWriter(path) as file:
        pages = {"subfiletype": 1, "subifds": 1} if kind == "by pages" else {}
        file.write(pixels, photometric="rgb", extratags=tags, **pages)  # type: ignore[arg-type]
        if kind == "by pages":
            file.write(np.zeros((80, 96), np.uint16), photometric="minisblack")
    with pytest.raises(ImageError, match="is a camera raw photo"):
        load_image(path)


def test_lab_of_8_bits_is_read(tmp_path: Path) -> None:
    """L* of 100, 50 and 0 is read as white, gray and black."""
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[:, :16, 0], pixels[:, 16:32, 0] = 255, 128
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="cielab")
    found = load_image(tmp_path / "a.tif")[:, 20, 8::16].T
    expected = torch.tensor([1.0, 119 / 255, 0.0])[:, None].expand(3, 3)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_a_decoder_prints_no_lines(tmp_path: Path) -> None:
    """Log lines of Pillow about a damaged TIFF do not reach standard error."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 48, 3), np.uint8), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["SamplesPerPixel"].overwrite(2048)
    code = "import sys, nst_core; nst_core.load_image(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "a.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and "ImageError" in done.stderr
    assert "More samples" not in done.stderr


# Sources that are no regular file


def test_impossible_names_are_one_error(tmp_path: Path) -> None:
    """Each name without a readable file, such as a broken link, raises a short error."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("gone.jpg")
    (tmp_path / "annexed").symlink_to(".git/annex/objects/x")
    (tmp_path / "circle").symlink_to("circle")
    expected = {
        "n" * 300: "longer than a file's name can be",
        "d/" * 3000 + "a.png": "longer than a file's name can be",
        "a\0b.png": "contains a NUL character",
        "file/a.png": "no such image file",
        "link": "symbolic link to gone.jpg, which does not exist",
        "annexed": "git annex get",
        "circle": "cannot be read",
        os.fsdecode(b"\xff.png"): "no such image file",
        "": "is a folder",
    }
    for name, words in expected.items():
        for read in (load_image, check_image):
            with pytest.raises(ImageError) as caught:
                read(tmp_path / name)
            assert words in str(caught.value) and len(str(caught.value)) < 500


def test_devices_and_sockets_are_no_pictures(tmp_path: Path) -> None:
    """Devices and sockets are refused before they are read, as a device may be endless."""
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is limited
        try:
            server.bind("s")
        finally:
            os.chdir(here)
        for path, kind in ((tmp_path / "s", "a socket"), (Path("/dev/zero"), "a device")):
            with pytest.raises(ImageError, match=f"is {kind}, expected an image file"):
                load_image(path)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """`load_with_alpha` reads a pipe once; `check_image` refuses a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = write(tmp_path / "a.png", Image.new("RGBA", (40, 48), (9, 9, 9, 99))).read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    image, alpha = load_with_alpha(pipe)
    writer.join()
    assert image.shape == (3, 48, 40) and alpha is not None
    with pytest.raises(ImageError, match="is a pipe, which can be read only once"):
        check_image(pipe)


def test_a_pipe_without_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a pipe without a writer ends with an error."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(picture_source, "PIPE_WAIT_S", 0.2)
    with pytest.raises(ImageError, match="a pipe that nobody wrote to"):
        load_image(tmp_path / "pipe")


def test_file_kinds_loads_no_heavy_module() -> None:
    """`file_kinds` imports neither Pillow nor NumPy nor torch."""
    heavy = "{'PIL', 'numpy', 'torch'}"
    code = f"import sys, nst_core.images.file_kinds; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "set()"
