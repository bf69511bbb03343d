"""The journal file of a study, in which several records can be written together."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import (
    BaseJournalBackend,
    JournalFileBackend,
    JournalFileOpenLock,
    JournalFileSymlinkLock,
)

log = logging.getLogger(__name__)


class BatchingJournal(BaseJournalBackend):
    """Optuna's journal file, with a context that writes all its records at once.

    Optuna writes a record for every parameter and attribute, and each write waits for the disk: 17
    times for one trial. Within `batch` the records are held in memory, and Optuna reads them as if
    they were in the file. The journal is locked during a batch, so the order of records is kept.

    Args:
        path: the journal file; it is created if it does not exist.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock: JournalFileSymlinkLock | JournalFileOpenLock = JournalFileSymlinkLock(str(path))
        self._file = JournalFileBackend(str(path), lock_obj=self._lock)
        self._in_file = 0
        self._held: list[str] | None = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the records of the file, then those held in memory, from ``log_number_from`` on."""
        if self._held is None or log_number_from < self._in_file:
            number = log_number_from
            for record in self._file.read_logs(log_number_from):
                number += 1
                yield record
            self._in_file = number
        for line in (self._held or [])[max(0, log_number_from - self._in_file) :]:
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records, or hold them in memory during a batch."""
        with self.batch():
            assert self._held is not None
            self._held += [json.dumps(log, separators=(",", ":")) for log in logs]

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold records in memory until the end; a batch within a batch is part of the outer one."""
        if self._held is not None:
            yield
            return
        self._acquire()
        try:
            self._catch_up()
            self._held = []
            try:
                yield
            finally:
                lines, self._held = self._held, None
                self._write(lines)
        finally:
            self._lock.release()

    def _acquire(self) -> None:
        """Lock the journal with a symbolic link, or with a file if links are not supported.

        exFAT, SMB and Google Drive do not support them.
        """
        try:
            self._lock.acquire()
        except OSError as error:
            if isinstance(self._lock, JournalFileOpenLock):
                raise
            by_file = JournalFileOpenLock(str(self._path))
            by_file.acquire()  # raises if no file can be created either
            self._lock = by_file
            why = f"symbolic links are not supported here ({error.strerror}); locked with a file"
            log.info("%s: %s", self._path, why)

    def _catch_up(self) -> None:
        """Move Optuna's reader to the end of the file, so that later reads are short."""
        for _ in self.read_logs(self._in_file):
            pass

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        unwritten = memoryview("".join(f"{line}\n" for line in lines).encode())
        # Without a buffer: after an error, closing the file would still write its content.
        with self._path.open("ab", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            try:
                while unwritten:
                    unwritten = unwritten[file.write(unwritten) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), end)  # half a record would damage the next one
                raise
        self._catch_up()
