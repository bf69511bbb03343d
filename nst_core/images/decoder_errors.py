"""Errors of image decoders, turned into one `ImageError` that names the file."""

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

#: A larger image is refused before it is decoded: 100 megapixels take 1.2 GB as float32.
MAX_PIXELS = 100_000_000

TOO_LARGE = f"more than {MAX_PIXELS // 10**6} megapixels; scale it down first"

#: Exceptions that Pillow, its plugins, the libraries below it and NumPy raise for damaged files.
DECODER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error, ImageCms.PyCMSError, Image.DecompressionBombError),
)

# Without a handler, their log lines about a damaged file would reach standard error in addition to
# our own error message. Programs that configure logging still receive them.
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the exceptions of decoders into an ImageError that names the file."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, which `decode._check_header` refuses, and of metadata.
            warnings.filterwarnings("ignore", module="PIL")
            yield
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: {TOO_LARGE}") from None
    except MemoryError:
        raise ImageError(
            f"{path}: decoding it needs more memory than is free; scale it down first"
        ) from None
    except DECODER_ERRORS as error:
        # The message of a KeyError, for example, means nothing without the name of the class.
        clear = isinstance(error, (OSError, SyntaxError, ValueError, TypeError))
        reason = str(error) if clear else f"{type(error).__name__}: {error}"
        raise ImageError(f"{path}: cannot be decoded ({reason}); is the file complete?") from None
