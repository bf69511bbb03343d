"""Metadata apart from pixels: of all that a picture file says about itself, two things count.

Decoders refuse whole pictures for one odd entry in what stands beside the pixels, such as a
resolution of -1/0 in EXIF, a wrong checksum of a comment, or a color profile of more than 1 MB.
Viewers show these pictures. So metadata is taken out before a decoder sees the file; the
orientation and the color profile are read here, and the rest is left out.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

#: A color profile in a PNG is compressed; real ones have at most a few megabytes.
MAX_PROFILE_BYTES = 64 * 2**20

ODD_EXIF = (
    "its EXIF metadata cannot be read and is ignored; if the result lies on its side, turn the"
    " picture and save it again"
)
ODD_PROFILE = "its color profile cannot be read and is ignored; its colors are taken as sRGB"
ODD_TRANSPARENCY = "its transparency is damaged and ignored; the picture is taken as opaque"

_ORIENTATION = 0x112
#: Entries of a TIFF that decoders stumble over and that say nothing about pixels: orientation
#: (applied here), resolution and its unit, XMP, IPTC, Photoshop, and where EXIF and GPS are.
_TIFF_METADATA = frozenset({_ORIENTATION, 282, 283, 296, 700, 33723, 34377, 34665, 34853, 40965})

#: Chunks of a PNG beside the pixels that change them: transparency and the frames of an animation.
_PNG_KEPT = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})

#: Markers of a JPEG that have a length and a content.
_JPEG_SEGMENTS = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xFF)})

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])\b")
_AVIF_EXIF = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)


@dataclass
class Metadata:
    """What counts of a file's metadata.

    Attributes:
        orientation: 1 to 8 as EXIF counts; None if the file does not say.
        profile: content of the ICC profile; None if there is none or the decoder finds it.
        notes: what could not be read, a sentence each.
    """

    orientation: int | None = None
    profile: bytes | None = None
    notes: list[str] = field(default_factory=list)

    def read_orientation(self, exif: object, xmp: object = b"") -> None:
        """Take the orientation of an EXIF block, or else of XMP."""
        if isinstance(exif, bytes) and exif:
            try:
                self.orientation = exif_orientation(exif)
            except ValueError:
                self.notes.append(ODD_EXIF)
        if self.orientation is None and isinstance(xmp, bytes):
            found = _XMP_ORIENTATION.search(xmp)
            self.orientation = int(found[1]) if found else None


def separate(file: io.BytesIO) -> tuple[io.BytesIO, Metadata]:
    """Take the metadata out of a picture file.

    Returns:
        The file without metadata, and what counts of it. A file whose structure is not understood
        comes back as it is.
    """
    with file.getbuffer() as content:
        head = bytes(content[:12])
        found = Metadata()
        if head.startswith(b"\xff\xd8"):
            bare = _separate_jpeg(content, found)
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            bare = _separate_png(content, found)
        elif head[4:8] == b"ftyp":
            # Of AVIF the container's own rotation counts, and EXIF is renamed to nothing known.
            bare = _AVIF_EXIF.sub(rb"\1Skip", bytes(content))
        else:
            bare = None
            if head[:2] in (b"II", b"MM"):
                _separate_tiff(content, found)
    return (file if bare is None else io.BytesIO(bare)), found


def exif_orientation(block: bytes) -> int | None:
    """The orientation that an EXIF block gives; None if it gives none, or one that is unknown.

    Raises:
        ValueError: it is no EXIF block, or is cut off before its first entries end.
    """
    directory = _Directory(memoryview(block.removeprefix(b"Exif\0\0")))
    return directory.number(_ORIENTATION, range(1, 9))


class _Directory:
    """The entries of the first image of a TIFF, or of an EXIF block, which is built as one.

    Raises:
        ValueError: there is no such directory.
    """

    def __init__(self, content: memoryview):
        self._content = content
        order = {b"II": "<", b"MM": ">"}.get(bytes(content[:2]))
        try:
            if order is None:
                raise ValueError("no byte order")
            self._order = order
            self._big = self._numbers("H", 2) == (43,)
            (self._start,) = self._numbers("Q" if self._big else "I", 8 if self._big else 4)
            (self._count,) = self._numbers("Q" if self._big else "H", self._start)
        except struct.error:
            raise ValueError("cut off") from None
        self._first = self._start + (8 if self._big else 2)
        self._step = 20 if self._big else 12
        self._end = self._first + self._count * self._step

    def _numbers(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + form, self._content, offset)

    def _entries(self) -> Iterator[tuple[int, int]]:
        """Tag and offset of every entry; it ends with a ValueError where the file is cut off."""
        for offset in range(self._first, self._end, self._step):
            if offset + self._step > len(self._content):
                raise ValueError("cut off")
            yield self._numbers("H", offset)[0], offset

    def number(self, tag: int, known: range) -> int | None:
        """A single small number, whatever integer type it has; None unless it is ``known``."""
        for found, offset in self._entries():
            if found == tag:
                (kind,) = self._numbers("H", offset + 2)
                form = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}.get(kind)
                value = self._numbers(form, offset + (12 if self._big else 8))[0] if form else None
                return value if value in known else None
        return None

    def text(self, tag: int) -> bytes:
        """The bytes of an entry; empty if there is none, or it lies outside the file."""
        for found, offset in self._entries():
            if found == tag:
                form, place = ("QQ", offset + 4) if self._big else ("II", offset + 4)
                length, start = self._numbers(form, place)
                return bytes(self._content[start : start + length])
        return b""

    def remove(self, tags: frozenset[int]) -> None:
        """Take entries out, in place; those behind move up."""
        kept = [offset for tag, offset in self._entries() if tag not in tags]
        if len(kept) == self._count or not kept:
            return
        end = self._end
        following = bytes(self._content[end : end + (8 if self._big else 4)])
        moved = b"".join(bytes(self._content[at : at + self._step]) for at in kept) + following
        self._content[self._first : self._first + len(moved)] = moved
        form = self._order + ("Q" if self._big else "H")
        struct.pack_into(form, self._content, self._start, len(kept))


def _separate_tiff(content: memoryview, found: Metadata) -> None:
    """In place: a TIFF may be large."""
    try:
        directory = _Directory(content)
        found.orientation = directory.number(_ORIENTATION, range(1, 9))
        if found.orientation is None:
            found.read_orientation(b"", directory.text(700))
        directory.remove(_TIFF_METADATA)
    except (ValueError, struct.error):
        return  # no picture either: the decoder says so


def _separate_jpeg(content: memoryview, found: Metadata) -> bytes | None:
    """Leave out all application segments but JFIF's and Adobe's, which say what the colors are."""
    kept, exif, xmp, profile = [b"\xff\xd8"], b"", b"", list[tuple[int, bytes]]()
    for marker, start, end in _jpeg_segments(content):
        data = bytes(content[start + 4 : end])
        if marker == 0xDA:  # the pixels begin
            if profile:
                found.profile = b"".join(part for _, part in sorted(profile))
            found.read_orientation(exif, xmp)
            return b"".join([*kept, content[start:]])
        if marker == 0xE1 and data.startswith(b"Exif\0"):
            exif = exif or data[6:]
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/"):
            xmp = xmp or data
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0"):
            profile.append((data[12] if len(data) > 12 else 0, data[14:]))
        elif marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(bytes(content[start:end]))
    return None


def _jpeg_segments(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the pixels; it stops where there is none."""
    start = 2
    while start + 4 <= len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        if marker == 0xFF:  # padding
            start += 1
            continue
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if end < start + 4 or end > len(content) or marker not in _JPEG_SEGMENTS:
            return
        yield marker, start, end
        start = end


def _separate_png(content: memoryview, found: Metadata) -> bytes:
    """Leave out all chunks that do not change pixels."""
    kept: list[bytes | memoryview] = [content[:8]]
    exif, xmp, start = b"", b"", 8
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind = bytes(content[start + 4 : start + 8])
        critical = not kind[0] & 0x20
        if end > len(content):
            break  # cut off; the decoder says so
        if critical:
            kept.append(content[start:end])
        elif kind in _PNG_KEPT or kind in (b"eXIf", b"iCCP", b"iTXt"):
            data = bytes(content[start + 8 : end - 4])
            whole = zlib.crc32(kind + data) == int.from_bytes(content[end - 4 : end], "big")
            if kind == b"eXIf":
                exif = data if whole else b"damaged"
            elif kind == b"iCCP":
                _read_png_profile(data if whole else b"", found)
            elif kind == b"iTXt":
                xmp = data if data.startswith(b"XML:com.adobe.xmp\0") else xmp
            elif whole and len(data) >= _png_needed(kind, content):
                kept.append(content[start:end])
            elif kind == b"tRNS":
                found.notes.append(ODD_TRANSPARENCY)
        start = end
    found.read_orientation(exif, xmp)
    return b"".join([*kept, content[start:]])


def _png_needed(kind: bytes, content: memoryview) -> int:
    """Bytes that a chunk must have: two for each channel of a transparent color."""
    if kind == b"tRNS":
        return {0: 2, 2: 6}.get(content[25], 1)
    return 8 if kind == b"acTL" else 0


def _read_png_profile(data: bytes, found: Metadata) -> None:
    _, _, packed = data.partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        profile = b""
    if unpacking.eof:
        found.profile = profile
    else:
        found.notes.append(ODD_PROFILE)
