"""The log of a run: JSON lines in the run directory, and warnings for people."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from nst_core.errors import Say

#: Loggers whose records are written to the log.
_OURS = ("tuner", "nst_core", "search_spaces")


class _JsonLine(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, message and additional fields."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        return json.dumps(fields, ensure_ascii=False)


class _OwnFile(logging.FileHandler):
    """Writes to the given file only: a symbolic link in its place is an error."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_NOFOLLOW, 0o666)

        return open(
            self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=opener
        )


class _WarningsToPeople(logging.Handler):
    def __init__(self, say: Say):
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


@contextmanager
def logged(path: Path, say: Say) -> Iterator[None]:
    """Write the log records of our packages to a file in this context, and say warnings.

    An error of the log file, such as a full disk, does not stop the run.

    Args:
        path: the log file, to which lines are appended.
        say: receives the message of every warning and error.
    """
    # Bytes of file names that are not valid UTF-8 are written as JSON escapes.
    to_file = _OwnFile(path, encoding="utf-8", delay=True, errors="backslashreplace")
    to_file.setFormatter(_JsonLine())
    to_file.handleError = lambda record: None  # type: ignore[method-assign]
    handlers = (to_file, _WarningsToPeople(say))
    loggers = [logging.getLogger(name) for name in _OURS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            for handler in handlers:
                logger.removeHandler(handler)
        with suppress(OSError):  # a full disk may still refuse the last lines
            to_file.close()
