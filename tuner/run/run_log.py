"""What happened in a run, as JSON lines in its folder; what people should know is said to them."""

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

#: Loggers whose records are a run's: those of our packages.
_OURS = ("tuner", "nst_core", "search_spaces")


class _JsonLine(logging.Formatter):
    """One object a line: when, how grave, where in the code, what, and what else was given."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        facts = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        return json.dumps(facts, ensure_ascii=False)


class _OwnFile(logging.FileHandler):
    """Writes to no other file than the one it was given: a link there would lead to another."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_NOFOLLOW, 0o666)

        return open(
            self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=opener
        )


class _Said(logging.Handler):
    def __init__(self, say: Say):
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


@contextmanager
def logged(path: Path, say: Say) -> Iterator[None]:
    """Write what our packages log to a file, and say warnings.

    A full disk stops no run for its log's sake.
    """
    # Bytes of file names that are no UTF-8 are written as JSON escapes.
    to_file = _OwnFile(path, encoding="utf-8", delay=True, errors="backslashreplace")
    to_file.setFormatter(_JsonLine())
    to_file.handleError = lambda record: None  # type: ignore[method-assign]
    handlers = (to_file, _Said(say))
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
        with suppress(OSError):  # what a full disk did not take before, it does not take now
            to_file.close()
