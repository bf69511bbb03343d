"""Names of the files by which a folder is a run. Nothing heavy here: refusals read them first."""

from __future__ import annotations

from pathlib import Path

JOB_FILE = "job.yaml"
STUDY_FILE = "study.journal"
#: A journal that is not yet whole.
BEGUN_FILE = f".{STUDY_FILE}.tmp"
#: Optuna's own ending of a journal's lock; `storage` checks that it still is.
LOCK_ENDING = ".lock"
#: Optuna locks a journal by a link of this name; a killed driver leaves it.
LOCKS = tuple(name + LOCK_ENDING for name in (STUDY_FILE, BEGUN_FILE))
#: In place of the journal: the database, and which of its drivers this run is.
SHARED_FILE = "study.json"


def holds_study(folder: Path) -> bool:
    """Whether a run's folder says where its study is."""
    return any((folder / name).is_file() for name in (STUDY_FILE, SHARED_FILE))
