"""Where a study is kept: a journal file in the run, or a database that several drivers share."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages import JournalStorage, RDBStorage

from nst_core.errors import InputError, RunError
from nst_core.files import write_atomic
from tuner.journal import BatchingJournal

STUDY_FILE = "study.journal"
#: In place of the journal: the database, and which of its drivers this run is.
SHARED_FILE = "study.json"
_STUDY_NAME = "run"

#: Seconds that a driver waits while another one writes to the same SQLite file.
LOCKED_S = 60

Directions = Sequence[Literal["maximize", "minimize"]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A study and where it is kept.

    Attributes:
        journal: its file, if it is in one.
        driver: which driver this is, if several share it.
    """

    study: optuna.Study
    journal: BatchingJournal | None = None
    driver: str | None = None


def holds_study(folder: Path) -> bool:
    """Whether a run's folder says where its study is."""
    return any((folder / name).is_file() for name in (STUDY_FILE, SHARED_FILE))


def create_study(folder: Path, directions: Directions, *, url: str | None, name: str) -> Kept:
    """Start the study of a new run, or join the one of that name in a database.

    Args:
        folder: of the run.
        directions: of the objectives.
        url: of a database, as SQLAlchemy writes it; ``$NAME`` stands for an environment variable.
        name: of the study in the database.

    Raises:
        InputError: the database cannot be used, or has a study of that name for other objectives.
    """
    if url is None:
        journal = BatchingJournal(folder / STUDY_FILE)
        study = optuna.create_study(
            storage=JournalStorage(journal), study_name=_STUDY_NAME, directions=directions
        )
        return Kept(study=study, journal=journal)
    check_database(url, name, directions)
    study = optuna.create_study(
        storage=_database(url), study_name=name, directions=directions, load_if_exists=True
    )
    driver = secrets.token_hex(6)
    content = json.dumps({"url": url, "name": name, "driver": driver}, indent=1)
    write_atomic(folder / SHARED_FILE, f"{content}\n".encode())
    return Kept(study=study, driver=driver)


def check_database(url: str, name: str, directions: Directions) -> None:
    """Raise InputError if the database cannot be used for such a study; it is left as it is."""
    with contextlib.suppress(KeyError):  # there is no such study yet
        study = optuna.load_study(study_name=name, storage=_database(url))
        if [direction.name.lower() for direction in study.directions] != list(directions):
            raise InputError(
                f"search.study: {_shown(url)} has a study {name!r} with other objectives; give the"
                " job another name"
            )


def load_study(folder: Path) -> Kept:
    """The study of a run.

    Raises:
        RunError: it is no run, or its study cannot be read.
    """
    if (folder / SHARED_FILE).is_file():
        return _load_shared(folder / SHARED_FILE)
    path = folder / STUDY_FILE
    if not path.is_file():
        raise RunError(f"{folder}: not a run directory (it has no {STUDY_FILE})")
    try:
        journal = BatchingJournal(path)
        study = optuna.load_study(study_name=_STUDY_NAME, storage=JournalStorage(journal))
    except (KeyError, ValueError, OSError) as error:
        raise RunError(f"{path}: cannot be read as a study ({error})") from None
    return Kept(study=study, journal=journal)


def mend(folder: Path) -> None:
    """Drop the half-written last line of a driver that was killed while writing."""
    path = folder / STUDY_FILE
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        content = path.read_bytes()
        file.truncate(content.rfind(b"\n") + 1)


def _load_shared(path: Path) -> Kept:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        url, name, driver = (str(content[key]) for key in ("url", "name", "driver"))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(f"{path}: does not say where the study is ({error})") from None
    try:
        study = optuna.load_study(study_name=name, storage=_database(url))
    except KeyError:
        raise RunError(f"{path}: {_shown(url)} has no study {name!r} any more") from None
    return Kept(study=study, driver=driver)


def _database(url: str) -> RDBStorage:
    """Raises InputError where the database cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    whole = os.path.expandvars(url)
    arguments = {"timeout": LOCKED_S} if whole.startswith("sqlite") else {}
    try:
        return RDBStorage(whole, engine_kwargs={"connect_args": arguments})
    except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"search.study: {_shown(url)} cannot be used ({reason}); expected a database such as"
            " sqlite:///study.db or postgresql://USER:$PASSWORD@HOST/NAME"
        ) from None


def _shown(url: str) -> str:
    """The URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url)
