"""Where a study is kept: a journal file in the run, or a database that several drivers share."""

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
#: Note of a study: what a job must share with those that join it, by `jobfile.fingerprint`.
ASKED = "asked"

#: What a URL may take from the environment: a stranger's run must not ask for any other secret.
_PASSWORD = re.compile(r"\$(?:\w*PASSWORD\b|\{\w*PASSWORD\})")

#: Seconds that a driver waits while another one writes to the same SQLite file.
LOCKED_S = 60

Directions = Sequence[Literal["maximize", "minimize"]]


@dataclass(frozen=True, kw_only=True)
class StudyHandle:
    """A study and where it is kept.

    Attributes:
        storage: what Optuna keeps it with.
        journal: its file, if it is in one.
        driver: which driver this is, if several share it.
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
    """Start the study of a new run, or join the one of that name in a database.

    The folder is a run from the moment when all of it is there.

    Args:
        folder: of the run.
        directions: of the objectives.
        url: of a database, as SQLAlchemy writes it; its password may be an environment variable,
            ``$PASSWORD`` or ``$ANY_PASSWORD``.
        name: of the study in the database.
        notes: to be kept with it from the beginning.

    Raises:
        InputError: the database cannot be used, or has a study of that name of another job.
    """
    if url is None:
        begun = folder / BEGUN_FILE
        for left in (begun, begun.with_name(begun.name + LOCK_ENDING)):
            left.unlink(missing_ok=True)
        in_file = JournalStorage(BatchingJournal(begun))
        study = optuna.create_study(storage=in_file, study_name=_STUDY_NAME, directions=directions)
        _note(study, notes)
        begun.replace(folder / STUDY_FILE)
        return load_study(folder)
    check_database(url, name, directions)
    storage = _database(url, create=True)
    study = optuna.create_study(
        storage=storage, study_name=name, directions=directions, load_if_exists=True
    )
    if ASKED in study.user_attrs:
        _check_asked(study, notes, url)
    else:
        _note(study, notes)
    driver = secrets.token_hex(6)
    content = json.dumps({"url": url, "name": name, "driver": driver}, indent=1)
    write_atomic(folder / SHARED_FILE, f"{content}\n".encode())
    return StudyHandle(study=study, storage=storage, driver=driver)


def _check_asked(study: optuna.Study, notes: Mapping[str, Any], url: str) -> None:
    """Raise InputError if a study is another job's, whose trials do not compare with this one's."""
    known, asked = study.user_attrs[ASKED], notes.get(ASKED, {})
    if unlike := [key for key in asked if known.get(key) != asked[key]]:
        raise InputError(
            f"search.study: {_shown(url)} has a study {study.study_name!r} of another job (unlike:"
            f" {', '.join(unlike)}); give this job another name"
        )


def _note(study: optuna.Study, notes: Mapping[str, Any]) -> None:
    for key, value in notes.items():
        study.set_user_attr(key, value)


def check_database(url: str, name: str, directions: Directions) -> None:
    """Raise InputError if the database cannot be used for such a study; it may be a new one."""
    with contextlib.suppress(KeyError):  # there is no such study yet
        study = optuna.load_study(study_name=name, storage=_database(url, create=True))
        if [direction.name.lower() for direction in study.directions] != list(directions):
            raise InputError(
                f"search.study: {_shown(url)} has a study {name!r} with other objectives; give the"
                " job another name"
            )


def load_study(folder: Path) -> StudyHandle:
    """The study of a run.

    Raises:
        RunError: it is no run, or its study cannot be read.
        InputError: its database cannot be used.
    """
    if (folder / SHARED_FILE).is_file():
        return _load_shared(folder)
    path = folder / STUDY_FILE
    if not path.is_file():
        raise RunError(f"{folder}: not a run directory (it has no {STUDY_FILE})")
    try:
        journal = BatchingJournal(path)
        storage = JournalStorage(journal)
        study = optuna.load_study(study_name=_STUDY_NAME, storage=storage)
    except Exception as error:  # Optuna raises whatever a damaged record leads it to
        raise damaged(folder, error) from None
    return StudyHandle(study=study, storage=storage, journal=journal)


def damaged(folder: Path, error: Exception) -> RunError:
    """What to say of a study that cannot be read."""
    name = STUDY_FILE if (folder / STUDY_FILE).is_file() else SHARED_FILE
    return RunError(
        f"{folder / name}: cannot be read as a study ({type(error).__name__}: {error});"
        f" `nst-tuner doctor {folder}` says where it is damaged"
    )


@contextlib.contextmanager
def database_explained() -> Iterator[None]:
    """Make of a database that is away or locked what a full disk is.

    Raises:
        OSError: it does not answer.
    """
    try:
        yield
    except _database_errors() as error:
        raise OSError(f"the study's database does not answer ({_reason(error)})") from error


def _database_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError, optuna.exceptions.StorageInternalError, *others)


def _reason(error: BaseException) -> str:
    """The database's own words: Optuna's are always the same."""
    return str(error.__cause__ or error).splitlines()[0]


def mend(folder: Path) -> None:
    """Undo what a driver left that was killed while it wrote: its lock, and half a line.

    Whoever calls this must know that no other driver writes.
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
        raise RunError(f"{path}: does not say where the study is ({error})") from None
    if url != (asked := _asked_for(folder)):
        raise RunError(
            f"{path}: names {_shown(url)}, expected what `search.study` of {folder / JOB_FILE}"
            f" names, {_shown(asked) if asked else 'no database'}"
        )
    storage = _database(url, create=False)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise RunError(f"{path}: {_shown(url)} has no study {name!r} any more") from None
    return StudyHandle(study=study, storage=storage, driver=driver)


def _asked_for(folder: Path) -> str | None:
    """The database that the job of a run names."""
    match read_yaml(folder / JOB_FILE).data:
        case {"search": {"study": str(url)}}:
            return url
    return None


def _database(url: str, *, create: bool) -> RDBStorage:
    """A database; only a launch makes its tables.

    Raises:
        InputError: it cannot be used.
    """
    try:
        whole = _filled(url)
        in_file = whole.get_backend_name() == "sqlite"
        if in_file and not create and not is_file(whole.database or ""):
            raise FileNotFoundError("no such file")
        if whole.host:
            _say_where(whole.host)
        kwargs = {"connect_args": {"timeout": LOCKED_S}} if in_file else {"pool_pre_ping": True}
        return RDBStorage(
            whole.render_as_string(hide_password=False), kwargs, skip_table_creation=not create
        )
    except _database_errors(ImportError, RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"search.study: {_shown(url)} cannot be used ({_reason(error)}); expected a database"
            " such as sqlite:///study.db or postgresql://USER:$PASSWORD@HOST/NAME"
        ) from None


@cache
def _say_where(host: str) -> None:
    """Once: a run that somebody else made chooses whom we talk to."""
    log.warning("connecting to the study's database on %s", host)


def _filled(url: str) -> URL:
    """The URL with its password from the environment, if it names one there."""
    from sqlalchemy.engine import make_url

    found = make_url(url)
    if not found.password:
        return found
    password = str(found.password)
    if "$" in _PASSWORD.sub("", password):
        raise InputError(
            f"search.study: {_shown(url)} takes its password from another variable than"
            " $PASSWORD or $ANY_PASSWORD; name it so"
        )
    return found.set(password=os.path.expandvars(password))


def _shown(url: str) -> str:
    """The URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return repr(re.sub(r"//.*@", "//***@", url))
