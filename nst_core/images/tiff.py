"""TIFF files: camera raw photos, several pages, and a layout that Pillow misreads."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

from PIL.TiffImagePlugin import BITSPERSAMPLE, PLANAR_CONFIGURATION, TiffImageFile

from nst_core.images.file_kinds import RAW_SUFFIXES, describe_raw_photo

#: TIFF tags: kind of a page, pages inside a page, version of Adobe's raw photos (DNG).
_SUBFILE_TYPE, _SUB_PAGES, _DNG_VERSION = 254, 330, 50706

#: Bits of the tag ``_SUBFILE_TYPE``: a smaller preview of another page, a transparency mask.
_PREVIEW, _MASK = 1, 4

#: Pages that are counted; no file has so many previews that a higher number would matter.
_MAX_PAGES = 1000


def find_problem(path: Path, picture: TiffImageFile) -> str | None:
    """Return why a TIFF is no picture that can be read, with what to do; None if it is one.

    Args:
        path: name of the file; most raw photos are known by their suffix.
        picture: the opened first page.
    """
    tags = picture.tag_v2
    # Most raw photos are built as TIFF with a small preview as the first page.
    preview = tags.get(_SUBFILE_TYPE) == _PREVIEW and _SUB_PAGES in tags
    if path.suffix.lower() in RAW_SUFFIXES:
        return describe_raw_photo(path.suffix)
    if preview or _DNG_VERSION in tags:
        return describe_raw_photo(".dng")
    separate_planes = tags.get(PLANAR_CONFIGURATION) == 2 and 16 in tags.get(BITSPERSAMPLE, ())
    if separate_planes and picture.info.get("compression") == "raw":
        return (
            "holds 16 bits a channel in separate planes without compression, which Pillow"
            " misreads; save it with the channels of each pixel together"
        )
    return None


def count_pictures(content: io.BytesIO) -> int:
    """Return the number of pictures in a TIFF file; previews and masks of the first do not count.

    Raises:
        tifffile.TiffFileError: the file is damaged.
    """
    import tifffile  # Pillow fails at pages that are masks

    content.seek(0)
    with tifffile.TiffFile(content) as file:
        kinds = [page.aspage().subfiletype for page in islice(file.pages, _MAX_PAGES)]
    return 1 + sum(not kind & (_PREVIEW | _MASK) for kind in kinds[1:])
