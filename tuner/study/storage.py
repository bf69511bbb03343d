"""Storage of a study: a journal file in the run, or a database that several drivers share."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from nst_core.errors import InputError, RunError
from nst_core.files import is_file, read_limited, write_atomic
from tuner.job.yaml_file import MAX_BYTES, read_yaml
from tuner.study.journal import BatchingJournal
from tuner.study.run_files import BEGUN_FILE, JOB_FILE, LOCK_ENDING, SHARED_FILE, STUDY_FILE

if TYPE_CHECKING:
    from sqlalchemy import URL

log = logging.getLogger(__name__)

_STUDY_NAME = "run"
#: Note of a study: the digests that a job must share with the study it joins (`load.fingerprint`).
ASKED = "asked"
#: Note of a study: the declaration of its search space (`search_spaces.space_to_dict`).
SPACE = "space"

#: The only variables of the environment that a URL may use. A run directory from a stranger must
#: not be able to send other secrets to a database of its choice.
_PASSWORD = re.compile(r"\$(?:\w*PASSWORD\b|\{\w*PASSWORD\})")

#: Seconds that a driver waits for another one that writes to the same SQLite file.
LOCKED_S = 60

Directions = Sequence[Literal["maximize", "minimize"]]


@dataclass(frozen=True, kw_only=True)
class StudyHandle:
    """A study and its storage.

    Attributes:
        study: Optuna's study.
        storage: Optuna's storage of the study.
        journal: the journal file, or None if the study is in a database or in memory.
        driver: name of this driver if several share the study, otherwise None.
    """

    study: optuna.Study
    storage: BaseStorage
    journal: BatchingJournal | None = None
    driver: str | None = None


def create_study(
    folder: Path,
    directions: Directions,
    *,
    url: str | None,
    name: str,
    notes: Mapping[str, Any],
) -> StudyHandle:
    """Create the study of a new run, or join the study of that name in a database.

    The study file appears in the folder only when it is complete.

    Args:
        folder: folder of the run.
        directions: direction of each objective.
        url: URL of a database, in the notation of SQLAlchemy; its password may be an environment
            variable, ``$PASSWORD`` or ``$ANY_PASSWORD``. None for a journal file.
        name: name of the study in the database.
        notes: stored with a new study.

    Returns:
        The study, open for writing.

    Raises:
        InputError: the database cannot be used, or its study of that name is of another job.
    """
    if url is None:
        begun = folder / BEGUN_FILE
        for leftover in (begun, begun.with_name(begun.name + LOCK_ENDING)):
            leftover.unlink(missing_ok=True)
        storage = JournalStorage(BatchingJournal(begun))
        study = optuna.create_study(storage=storage, study_name=_STUDY_NAME, directions=directions)
        _note(study, notes)
        begun.replace(folder / STUDY_FILE)
        return load_study(folder)
    check_database(url, name, directions)
    database = _database(url, create=True)
    study = optuna.create_study(
        storage=database, study_name=name, directions=directions, load_if_exists=True
    )
    if ASKED in study.user_attrs:
        _check_same_job(study, notes, url)
    else:
        _note(study, notes)
    driver = secrets.token_hex(6)
    content = json.dumps({"url": url, "name": name, "driver": driver}, indent=1)
    write_atomic(folder / SHARED_FILE, f"{content}\n".encode())
    return StudyHandle(study=study, storage=database, driver=driver)


def _check_same_job(study: optuna.Study, notes: Mapping[str, Any], url: str) -> None:
    """Raise InputError if the study belongs to a job whose results are not comparable."""
    stored, own = study.user_attrs[ASKED], notes.get(ASKED, {})
    if different := [key for key in {**stored, **own} if stored.get(key) != own.get(key)]:
        raise InputError(
            f"search.study: the study {study.study_name!r} in {_without_password(url)} belongs to"
            f" another job (different: {', '.join(different)}); give this job another name"
        )


def _note(study: optuna.Study, notes: Mapping[str, Any]) -> None:
    for key, value in notes.items():
        study.set_user_attr(key, value)


def check_database(url: str, name: str, directions: Directions) -> None:
    """Raise InputError if a study cannot be created or joined in the database."""
    with contextlib.suppress(KeyError):  # there is no such study yet
        study = optuna.load_study(study_name=name, storage=_database(url, create=True))
        if [direction.name.lower() for direction in study.directions] != list(directions):
            raise InputError(
                f"search.study: the study {name!r} in {_without_password(url)} has other"
                " objectives; give the job another name"
            )


def load_study(folder: Path) -> StudyHandle:
    """Open the study of a run.

    Raises:
        RunError: the folder is no run, or its study cannot be read.
        InputError: the database of the study cannot be used.
    """
    if (folder / SHARED_FILE).is_file():
        return _load_shared(folder)
    path = folder / STUDY_FILE
    if not path.is_file():
        raise RunError(
            f"{folder}: not a run directory (it has no {STUDY_FILE}); name the directory of a run"
        )
    try:
        journal = BatchingJournal(path)
        storage = JournalStorage(journal)
        study = optuna.load_study(study_name=_STUDY_NAME, storage=storage)
    except Exception as error:  # a damaged record makes Optuna raise any error
        raise damaged(folder, error) from None
    return StudyHandle(study=study, storage=storage, journal=journal)


def damaged(folder: Path, error: Exception) -> RunError:
    """Return the error for a study that cannot be read."""
    name = STUDY_FILE if (folder / STUDY_FILE).is_file() else SHARED_FILE
    return RunError(
        f"{folder / name}: cannot be read as a study ({type(error).__name__}: {error});"
        f" `nst-tuner doctor {folder}` shows where it is damaged"
    )


@contextlib.contextmanager
def database_explained() -> Iterator[None]:
    """Turn errors of a database that is unreachable or locked into OSError, like a full disk's.

    Raises:
        OSError: the database does not answer.
    """
    try:
        yield
    except _database_errors() as error:
        raise OSError(f"the study's database does not answer ({_reason(error)})") from error


def _database_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError, optuna.exceptions.StorageInternalError, *others)


def _reason(error: BaseException) -> str:
    """Return the message of the database itself; Optuna's own message is always the same."""
    return str(error.__cause__ or error).splitlines()[0]


def mend(folder: Path) -> None:
    """Remove what a driver leaves if it is killed while writing: its lock, and half a line.

    The caller must be sure that no other driver writes.
    """
    path = folder / STUDY_FILE
    path.with_name(path.name + LOCK_ENDING).unlink(missing_ok=True)
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        content = path.read_bytes()
        file.truncate(content.rfind(b"\n") + 1)


def _load_shared(folder: Path) -> StudyHandle:
    path = folder / SHARED_FILE
    try:
        content = json.loads(read_limited(path, MAX_BYTES))
        url, name, driver = (str(content[key]) for key in ("url", "name", "driver"))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(
            f"{path}: expected url, name and driver of a shared study ({error}); copy the file"
            " again from where the run was made"
        ) from None
    if url != (expected := _url_in_job(folder)):
        raise RunError(
            f"{path}: names {_without_password(url)}, but `search.study` in {folder / JOB_FILE}"
            f" names {_without_password(expected) if expected else 'no database'}; both must name"
            " the same database"
        )
    storage = _database(url, create=False)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise RunError(
            f"{path}: {_without_password(url)} no longer has a study {name!r}; restore the"
            " database, or start a new run"
        ) from None
    return StudyHandle(study=study, storage=storage, driver=driver)


def _url_in_job(folder: Path) -> str | None:
    """Return the URL of the database that the job of a run names."""
    match read_yaml(folder / JOB_FILE).data:
        case {"search": {"study": str(url)}}:
            return url
    return None


def _database(url: str, *, create: bool) -> RDBStorage:
    """Open a database; create its tables only if ``create``.

    Raises:
        InputError: the database cannot be used.
    """
    try:
        full_url = _with_password(url)
        sqlite = full_url.get_backend_name() == "sqlite"
        if sqlite and not create and not is_file(full_url.database or ""):
            raise FileNotFoundError("no such file")
        if full_url.host:
            _warn_of_host(full_url.host)
        kwargs = {"connect_args": {"timeout": LOCKED_S}} if sqlite else {"pool_pre_ping": True}
        return RDBStorage(
            full_url.render_as_string(hide_password=False), kwargs, skip_table_creation=not create
        )
    except _database_errors(ImportError, RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"search.study: {_without_password(url)} cannot be used ({_reason(error)});"
            " expected a database such as sqlite:///study.db or postgresql://USER:$PASSWORD@HOST/NAME"
        ) from None


@cache
def _warn_of_host(host: str) -> None:
    """Warn once per host, since a run directory from a stranger chooses the host."""
    log.warning("connecting to the study's database on %s", host)


def _with_password(url: str) -> URL:
    """Return the URL with the password from the environment, if it names a variable.

    Raises:
        InputError: the variable is not one of a password.
    """
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if not parsed.password:
        return parsed
    password = str(parsed.password)
    if "$" in _PASSWORD.sub("", password):
        raise InputError(
            f"search.study: {_without_password(url)} takes its password from another variable than"
            " $PASSWORD or $ANY_PASSWORD; rename the variable to one of these"
        )
    return parsed.set(password=os.path.expandvars(password))


def _without_password(url: str) -> str:
    """Return the URL for people, without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return repr(re.sub(r"//.*@", "//***@", url))
