"""Kinds of files that are no readable picture, recognized by their first bytes.

This module loads neither Pillow nor torch, so that commands can refuse a file quickly.
"""

from __future__ import annotations

from pathlib import Path

#: Number of bytes at the beginning of a file that `describe` needs.
HEAD_BYTES = 4096

_CONVERT = "convert it to PNG or JPEG"
_EXPORT = "export it as PNG or JPEG from the program that made it"
_HEIC = "convert it to JPEG, for example with `heif-convert photo.heic photo.jpg`"
_DEVELOP = "develop it in a raw converter, such as darktable, and export it as TIFF or JPEG"
_UNPACK = "unpack it and name the pictures in it"
_FETCH = "fetch the picture itself with `git lfs pull`"
_SAVED = "download the picture itself, not the page that shows it"
_VIDEO = "give it to `stylize --content` by itself, or save the frame you mean as a picture"
_MAP = "render it to 8 or 16 bits a channel and save that as PNG or TIFF"

#: Offset, bytes at this offset, kind of the file, what to do.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the picture itself", _FETCH),
    (0, b"\0\5\x16\7", "an AppleDouble file: notes of macOS about another file", "leave it out"),
    (0, b"%PDF", "a PDF document", _CONVERT),
    (0, b"8BPS", "a Photoshop document (PSD)", _EXPORT),
    (0, b"gimp xcf", "a GIMP document (XCF)", _EXPORT),
    (0, b"%!PS", "a PostScript document (EPS)", _CONVERT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document (EPS)", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (0, b"II\xbc", "a JPEG XR picture", _CONVERT),
    (0, b"BPG\xfb", "a BPG picture", _CONVERT),
    (0, b"qoif", "a QOI picture", _CONVERT),
    (0, b"DDS ", "a DirectDraw texture (DDS)", _CONVERT),
    (0, b"icns", "an Apple icon (ICNS)", _CONVERT),
    (0, b"\0\0\1\0", "a Windows icon (ICO)", _CONVERT),
    (0, b"P7\n", "a PAM picture", _CONVERT),
    (0, b"PF\n", "a color PFM picture of 32-bit floating point", _MAP),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture of floating point", _MAP),
    (0, b"#?RADIANCE", "a Radiance HDR picture", _MAP),
    (0, b"#?RGBE", "a Radiance HDR picture", _MAP),
    (0, b"SIMPLE  =", "a FITS file", _MAP),
    (128, b"DICM", "a DICOM file", _MAP),
    (0, b"\x93NUMPY", "a NumPy array", _MAP),
    (0, b"\x89HDF", "an HDF5 file", _MAP),
    (0, b"FUJIFILMCCD-RAW", "a camera raw photo (RAF)", _DEVELOP),
    (0, b"IIRO", "a camera raw photo (ORF)", _DEVELOP),
    (0, b"IIRS", "a camera raw photo (ORF)", _DEVELOP),
    (0, b"MMOR", "a camera raw photo (ORF)", _DEVELOP),
    (0, b"IIU\0", "a camera raw photo (RW2)", _DEVELOP),
    (0, b"FOVb", "a camera raw photo (X3F)", _DEVELOP),
    (0, b"\0MRM", "a camera raw photo (MRW)", _DEVELOP),
    (4, b"ftypcrx ", "a camera raw photo (CR3)", _DEVELOP),
    (8, b"CR\2", "a camera raw photo (CR2)", _DEVELOP),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", _VIDEO),
    (8, b"AVI ", "a video (AVI)", _VIDEO),
    (0, b"OggS", "a video or sound (Ogg)", _VIDEO),
    (0, b"FLV\1", "a video (FLV)", _VIDEO),
    (0, b"\0\0\1\xba", "a video (MPEG)", _VIDEO),
    (0, b"\x30\x26\xb2\x75", "a video (WMV)", _VIDEO),
    (0, b"PK\3\4", "a ZIP archive or office document", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
)

_HEIF_BRANDS = frozenset({b"mif1", b"msf1", *(b"he" + end for end in (b"ic", b"ix", b"im", b"is"))})
_HEIF_BRANDS |= {b"hevc", b"hevx", b"hevm", b"hevs"}

#: First bytes of the formats that are read -> name; ``+`` instead of ``*`` is BigTIFF.
_READ = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    **{b"P%d" % number + end: "PPM" for number in range(1, 7) for end in (b"\n", b" ", b"\r")},
    b"Pf\n": "PPM",
}

#: Suffixes of raw photos. Most are built as TIFF files, in which a TIFF reader finds a preview.
RAW_SUFFIXES = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq"),
        *(".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf"),
        *(".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    )
)

#: Suffixes of files that programs and people keep next to pictures.
_BESIDE = frozenset(
    (
        *(".aae", ".bib", ".cfg", ".csv", ".db", ".doc", ".docx", ".dop", ".htm"),
        *(".html", ".ini", ".js", ".json", ".jsonl", ".lnk", ".log", ".lrcat"),
        *(".lrprev", ".md", ".md5", ".nfo", ".odt", ".on1", ".pp3", ".py", ".rtf"),
        *(".sh", ".sha1", ".sha256", ".sidecar", ".thm", ".toml", ".torrent", ".tsv"),
        *(".txt", ".url", ".webloc", ".xls", ".xlsx", ".xml", ".xmp", ".yaml", ".yml"),
    )
)
#: Folders that operating systems create in a user's folders, and the icon of a folder on macOS.
_FOLDERS = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "icon\r"}
)


def is_no_picture(path: Path) -> bool:
    """Return whether the name of a file in a folder shows that it is no picture of the user.

    Such files are hidden files, for example ``._photo.jpg`` (AppleDouble) and ``.DS_Store``, and
    the sidecars, lists and thumbnail caches that programs store next to pictures.
    """
    name = path.name.lower()
    return name.startswith((".", "~$")) or path.suffix.lower() in _BESIDE or name in _FOLDERS


def read_format(head: bytes) -> str | None:
    """Return the name of the readable format whose first bytes the file has, or None."""
    for start, name in _READ.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return "AVIF" if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis") else None


def describe(head: bytes, suffix: str = "") -> str | None:
    """Return what a file is that is no readable picture, and what to do; None if unknown.

    Args:
        head: the first `HEAD_BYTES` bytes of the file.
        suffix: suffix of the file name, such as ``.nef``; used where the content is unknown.
    """
    if not head:
        return "is empty (0 bytes); copy or download it again"
    if not head.strip(b"\0"):
        return "holds zero bytes only, as after a broken download or copy; fetch it again"
    for offset, start, what, remedy in _SIGNATURES:
        if head.startswith(start, offset):
            return f"is {what}; {remedy}"
    if head[4:8] == b"ftyp":
        heif = head[8:12] in _HEIF_BRANDS
        heic = f"a HEIC photo (HEIF), a format that is not read; {_HEIC}"
        return f"is {heic if heif else f'a video (MP4 or QuickTime); {_VIDEO}'}"
    return describe_raw_photo(suffix) if suffix.lower() in RAW_SUFFIXES else _describe_text(head)


def describe_raw_photo(suffix: str) -> str:
    """Return that a file is a raw photo, and what to do."""
    return f"is a camera raw photo ({suffix.lstrip('.').upper()}), which is not read; {_DEVELOP}"


def _describe_text(head: bytes) -> str | None:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    # The last character may be incomplete.
    text = head.decode(encoding, errors="replace").removesuffix("\ufffd").strip()
    begin = text[:1000].lower()
    if "<svg" in begin:
        return f"is an SVG drawing; {_EXPORT}"
    if begin.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in begin:
        return f"is an HTML page, as a browser or a failed download saves it; {_SAVED}"
    if "\ufffd" in text or any(ord(sign) < 32 and sign not in "\t\n\r\f" for sign in text):
        return None
    if begin.startswith("<"):
        return f"is an XML document; {_SAVED}"
    if "/annex/objects/" in begin:
        return "is a git-annex pointer, not the picture itself; fetch it with `git annex get`"
    return "is a text file, not a picture; name the picture itself"
