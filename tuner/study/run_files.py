"""Names of the files that make a folder a run directory. This module must be fast to import."""

from __future__ import annotations

from pathlib import Path

JOB_FILE = "job.yaml"
STUDY_FILE = "study.journal"
#: Folder with the commands that the search of a run has still to carry out.
MAILBOX = "commands"
#: A journal that is not complete yet.
BEGUN_FILE = f".{STUDY_FILE}.tmp"
#: Ending that Optuna gives to the lock of a journal; a test checks that it still does.
LOCK_ENDING = ".lock"
#: Names of the links with which Optuna locks a journal; a killed driver leaves its link behind.
LOCKS = tuple(name + LOCK_ENDING for name in (STUDY_FILE, BEGUN_FILE))
#: File in place of the journal: names a shared database, and this run's driver in it.
SHARED_FILE = "study.json"


def holds_study(folder: Path) -> bool:
    """Whether a folder contains a study, or names the database of one."""
    return any((folder / name).is_file() for name in (STUDY_FILE, SHARED_FILE))
