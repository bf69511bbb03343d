"""What is special about TIFF: pages beside the picture, raw photos, layouts that are not read."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

from PIL.TiffImagePlugin import BITSPERSAMPLE, PLANAR_CONFIGURATION, TiffImageFile

from nst_core.images.decoder_errors import DECODER_ERRORS
from nst_core.images.file_kinds import RAW_SUFFIXES, raw_photo

#: TIFF tags: of a preview; of pages inside a page; of Adobe's raw photos.
_SUBFILE, _SUB_PAGES, _DNG_VERSION = 254, 330, 50706

#: Programs write a preview of a TIFF, or the mask of its transparency, as a page beside it.
_REDUCED, _MASK = 1, 4
#: Pages that are looked at; who has more of them has more than a preview.
MOST_TIFF_PAGES = 1000


def count_pages(picture: TiffImageFile, content: io.BytesIO) -> int:
    """How many pictures the file holds, without previews and masks of the first."""
    try:
        if picture.n_frames == 1:
            return 1
    except (SyntaxError, KeyError):  # Pillow knows no page that is a mask; it stands there now
        picture.seek(0)
    import tifffile

    content.seek(0)
    try:
        with tifffile.TiffFile(content) as file:
            kinds = [page.aspage().subfiletype for page in islice(file.pages, MOST_TIFF_PAGES)]
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from None
    picture.seek(0)
    return 1 + sum(not kind & (_REDUCED | _MASK) for kind in kinds[1:])


def describe_raw(path: Path, picture: TiffImageFile) -> str | None:
    """Say that the file is a camera's raw photo; None if it is not.

    Most raw photos are built as TIFF with a small preview as the first page.
    """
    tags = picture.tag_v2
    preview = tags.get(_SUBFILE) == _REDUCED and _SUB_PAGES in tags
    if path.suffix.lower() in RAW_SUFFIXES:
        return raw_photo(path.suffix)
    return raw_photo(".dng") if preview or _DNG_VERSION in tags else None


def has_raw_deep_planes(picture: TiffImageFile) -> bool:
    """Whether Pillow misreads it: 16 bits in separate planes without compression."""
    return (
        picture.tag_v2.get(PLANAR_CONFIGURATION) == 2
        and 16 in picture.tag_v2.get(BITSPERSAMPLE, ())
        and picture.info.get("compression") == "raw"
    )


def describe_layout(content: io.BytesIO) -> str:
    """What a TIFF holds that Pillow has no mode for."""
    import tifffile

    advice = "save it with 8 or 16 bits a channel, as gray or RGB"
    content.seek(0)
    try:
        with tifffile.TiffFile(content) as file:
            page = file.pages.first.aspage()
            bits, kind = page.bitspersample, tifffile.SAMPLEFORMAT(page.sampleformat).name
            channels, color = page.samplesperpixel, tifffile.PHOTOMETRIC(page.photometric).name
    except (*DECODER_ERRORS, tifffile.TiffFileError) as error:
        raise OSError(f"TIFF: {error}") from None
    kinds = {"IEEEFP": "floating point", "UINT": "integers", "INT": "signed integers"}
    return (
        f"is a TIFF of {channels} channel{'s' * (channels > 1)} ({color}) of {bits}-bit"
        f" {kinds.get(kind, kind)},"
        f" which is not read; {advice}"
    )
