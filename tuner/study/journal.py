"""The journal file of a study, with several records written as one."""

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
    """Optuna's journal file, whose records may be held back and written at once.

    Optuna writes a record for every parameter and attribute, and each waits for the disk: 17 times
    in the life of a trial. Within `batch` the records are kept here, where Optuna reads them like
    those in the file; the journal stays locked meanwhile, so that their order is the file's.

    Args:
        path: the journal file; made if it is not there.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock: JournalFileSymlinkLock | JournalFileOpenLock = JournalFileSymlinkLock(str(path))
        self._file = JournalFileBackend(str(path), lock_obj=self._lock)
        self._in_file = 0
        self._held: list[str] | None = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Records of the file, then those held back."""
        if self._held is None or log_number_from < self._in_file:
            number = log_number_from
            for record in self._file.read_logs(log_number_from):
                number += 1
                yield record
            self._in_file = number
        for line in (self._held or [])[max(0, log_number_from - self._in_file) :]:
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records, or hold them back."""
        with self.batch():
            assert self._held is not None
            self._held += [json.dumps(log, separators=(",", ":")) for log in logs]

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold records back until the end; a batch in a batch is part of it."""
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
        """Lock the journal by a link, or by a file of the same name where there are no links.

        There are none on exFAT, SMB and Google Drive.
        """
        try:
            self._lock.acquire()
        except OSError as error:
            if isinstance(self._lock, JournalFileOpenLock):
                raise
            by_file = JournalFileOpenLock(str(self._path))
            by_file.acquire()  # raises where nothing can be made here at all
            self._lock = by_file
            why = f"no symbolic links here ({error.strerror}); locked by a file instead"
            log.info("%s: %s", self._path, why)

    def _catch_up(self) -> None:
        """Learn where the file ends, so that reading need not begin at its start."""
        for _ in self.read_logs(self._in_file):
            pass

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        left = memoryview("".join(f"{line}\n" for line in lines).encode())
        # Without a buffer, which would be written when the file is closed, after all.
        with self._path.open("ab", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), end)  # half a record would spoil what follows
                raise
        self._catch_up()
