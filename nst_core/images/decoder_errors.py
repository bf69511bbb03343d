"""What decoders raise for files that are damaged or odd: caught by kind, here and nowhere else."""

from __future__ import annotations

import contextlib
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageCms

from nst_core.errors import ImageError

#: Above this an image is refused before it is decoded: 100 megapixels are 1.2 GB as float32.
MAX_PIXELS = 100_000_000

TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels; scale it down first"

#: What Pillow, its plugins, libraries below it, and NumPy raise for files that are damaged or odd.
DECODER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error, ImageCms.PyCMSError, Image.DecompressionBombError),
)

# What they log of a damaged file would reach standard error beside our own line about it; whoever
# configures logging still gets it.
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what decoders raise into one ImageError that names the file."""
    try:
        with warnings.catch_warnings():
            # What Pillow warns of is refused by `_check_header`, becomes an error, or does no harm.
            warnings.filterwarnings("ignore", module="PIL")
            yield
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: {TOO_LARGE}") from None
    except MemoryError:
        raise ImageError(
            f"{path}: decoding it needs more memory than is free; scale it down first"
        ) from None
    except DECODER_ERRORS as error:
        # What a lookup or a conversion says is of no use without its kind.
        plain = isinstance(error, (OSError, SyntaxError, ValueError, TypeError))
        what = str(error) if plain else f"{type(error).__name__}: {error}"
        raise ImageError(f"{path}: cannot be decoded ({what}); is the file complete?") from None
