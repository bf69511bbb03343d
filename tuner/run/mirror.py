"""Mirror: a copy of the run directory in a folder or a bucket, updated while the run goes on.

The run itself works in a local folder, because a study is written many times a second and a bucket
can neither append nor lock. Wherever copying is interrupted, the copy is a valid run, if an older
one: the study is read before the images and written after them. Newly saved lanes replace older
ones only after the study that refers to them has been written.
"""

from __future__ import annotations

import logging
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from nst_core.errors import InputError, RunInterruptedError, WorkError
from nst_core.files import write_atomic
from tuner.job.cloud_storage import answered, open_store, reason_of, service_of, store_errors
from tuner.study.run_dir import LANES_FILE, LOCAL_FILES, MAX_BYTES
from tuner.study.run_files import JOB_FILE, SHARED_FILE, STUDY_FILE

log = logging.getLogger(__name__)

#: Seconds between two updates, and after an update that failed.
EVERY_S, AGAIN_AFTER_S = 30.0, 10.0
#: Seconds that a run which is over waits for a storage that does not answer.
END_WITHIN_S = 600.0

#: Suffix in the copy of saved lanes that are newer than the study there.
_NEWER = ".newer"
#: Version of a file in the copy that an earlier launch wrote.
_UNKNOWN = (0, 0)

#: Modification time (ns) and size of a local file.
_Version = tuple[int, int]


class Mirror:
    """Copies new and changed files of a run.

    Args:
        folder: the run directory.
        url: a folder, or a URL of a file system that pyarrow knows: s3://, gs://, abfs://.

    Raises:
        InputError: the file system is unknown or does not answer, or the folder holds something
            other than an older copy of this run.
    """

    def __init__(self, folder: Path, url: str):
        self._folder, self._url = folder, url
        self._system, self._root = open_store(url)
        self._is_local = self._system.type_name == "local"
        self._copied: dict[str, _Version] = {}
        #: Lanes in the copy that are still to replace older ones.
        self._newer: set[str] = set()
        #: Size and modification time of the study in the copy, when this launch last saw it.
        self._study_there: tuple[int | None, int | None] | None = None
        self._unreachable = False
        #: Message for people once another launch has written to the same storage.
        self._conflict: str | None = None
        if self._is_local:
            self._check_apart()
        try:
            answered(self._check_own_copy)
        except store_errors() as error:
            raise InputError(
                f"storage {url}: {service_of(url)} cannot be read ({reason_of(error)}); check the"
                " URL, the network, and the credentials in the environment"
            ) from None

    def _check_apart(self) -> None:
        run, copy = self._folder.resolve(), Path(self._root).resolve()
        if run.is_relative_to(copy) or copy.is_relative_to(run):
            raise InputError(
                f"storage {self._url}: is, contains or lies in the run directory {self._folder};"
                " name another folder"
            )

    def _check_own_copy(self) -> None:
        """Check that the storage is empty or begins as this run does: other files are not replaced.

        Raises:
            InputError: it holds something else.
        """
        from pyarrow.fs import FileSelector

        self._study_there = _state(self._study_info())
        for name in (STUDY_FILE, SHARED_FILE, JOB_FILE):
            info = self._system.get_file_info(f"{self._root}/{name}")
            if info.is_file:
                break
        else:
            if self._system.get_file_info(FileSelector(self._root, allow_not_found=True)):
                raise InputError(
                    f"storage {self._url}: is neither empty nor a copy of this run; name a new"
                    " folder"
                )
            return
        if not self._begins_with(name, info):
            raise InputError(
                f"storage {self._url}: holds another run, or more of this one than"
                f" {self._folder} does; name another folder, or `nst-tuner fetch {self._url} DIR`"
                " and continue there"
            )
        # Earlier launches may have left lanes of trials that have ended since; `push` deletes them.
        names = _files_in(self._system, self._root)
        lanes = [name for name in names if name.removesuffix(_NEWER).endswith(LANES_FILE)]
        self._copied.update(dict.fromkeys(lanes, _UNKNOWN))

    def _begins_with(self, name: str, info: Any) -> bool:
        """Whether a file of the run begins with the content of its copy."""
        path = self._folder / name
        if not path.is_file() or info.size > path.stat().st_size:
            return False
        with self._system.open_input_stream(info.path) as stream, path.open("rb") as local:
            content = stream.read(info.size)
            return bool(content == local.read(len(content)))

    def push(self) -> None:
        """Copy the files that have changed since the last time, and delete those that are gone.

        The study is written after the files that it refers to. Lanes are read before the study,
        which would score newer lanes at the wrong step; in the copy they stay beside the older ones
        until the study is there.

        Raises:
            OSError: the storage does not answer; files that were copied stay there.
            WorkError: another launch writes to the same storage.
        """
        self._check_no_conflict()
        names = self._names()
        first = {JOB_FILE, *(name for name in names if name.endswith(LANES_FILE))}
        for name in sorted(first):
            self._copy(name)
        study = self._read_changed(self._study_name)
        for name in names:
            if name not in {self._study_name, *first}:
                self._copy(name)
        if study:
            self._check_no_conflict()  # copying may have taken long
            self._write(self._study_name, *study)
            self._study_there = _state(self._study_info())
        for name in sorted(self._newer):
            self._replace(f"{self._root}/{name}")
            self._newer.remove(name)
        for name in set(self._copied).difference(names):
            self._delete(name)

    def _check_no_conflict(self) -> None:
        """Check that the study in the copy is the one that this launch wrote there."""
        info = self._study_info()
        if _state(info) == self._study_there:
            return
        if not info.is_file:  # for example while a network folder is not mounted
            raise OSError(f"{info.path} does not exist any longer")
        if not self._begins_with(self._study_name, info):
            raise WorkError(
                f"storage {self._url}: another launch copies to it, so this launch has stopped"
                f" copying; `{self._resume} --set storage=FOLDER` copies this run elsewhere"
            )
        self._study_there = _state(info)  # a write that was reported as failed did succeed

    @property
    def _study_name(self) -> str:
        """Name of the file that identifies a run: its study, or the record of a shared study."""
        return SHARED_FILE if (self._folder / SHARED_FILE).is_file() else STUDY_FILE

    def _study_info(self) -> Any:
        return self._system.get_file_info(f"{self._root}/{self._study_name}")

    def _names(self) -> list[str]:
        """Return the names of all files to copy; links are not followed."""
        paths = [p for p in self._folder.rglob("*") if p.is_file() and not p.is_symlink()]
        names = [path.relative_to(self._folder).as_posix() for path in paths]
        return sorted(n for n in names if n not in LOCAL_FILES and not n.endswith(".tmp"))

    def _copy(self, name: str) -> None:
        if changed := self._read_changed(name):
            self._write(name, *changed)

    def _read_changed(self, name: str) -> tuple[_Version, bytes] | None:
        """Return the version and content of a file; None if it was copied already or is gone."""
        path = self._folder / name
        try:
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size)
            return None if self._copied.get(name) == version else (version, path.read_bytes())
        except FileNotFoundError:  # lanes of a trial that has just ended
            return None

    def _write(self, name: str, version: _Version, content: bytes) -> None:
        if name == STUDY_FILE:  # without a last record that is only half written
            content = content[: content.rfind(b"\n") + 1]
        lanes = name.endswith(LANES_FILE)
        target = f"{self._root}/{name}{_NEWER if lanes else ''}"
        self._system.create_dir(target.rpartition("/")[0], recursive=True)
        if self._is_local:
            write_atomic(Path(target), content)
        else:  # an object appears only when it is complete
            with self._system.open_output_stream(target) as stream:
                stream.write(content)
        self._copied[name] = version
        if lanes:
            self._newer.add(name)

    def _replace(self, older: str) -> None:
        newer = older + _NEWER
        if self._is_local:
            Path(newer).replace(older)
        else:  # not every bucket can move objects
            self._system.copy_file(newer, older)
            self._system.delete_file(newer)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):  # deleted by another program
            self._system.delete_file(f"{self._root}/{name}")
        del self._copied[name]

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """Update the copy every `EVERY_S` seconds in this context, and once more at its end.

        Raises:
            WorkError: another launch writes to the same storage, or the storage did not answer at
                the end and for `END_WITHIN_S` after it.
            RunInterruptedError: Ctrl-C ended the wait for the storage.
        """
        over = threading.Event()
        thread = threading.Thread(target=self._keep_up, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        except BaseException:  # the launch failed, and its error is the one to report
            over.set()
            thread.join()
            if not self._try_to_push() and not self._conflict:
                log.warning("%s", self._incomplete)
            raise
        over.set()
        thread.join()
        self._finish()

    def _keep_up(self, over: threading.Event) -> None:
        wait_s = EVERY_S
        while not over.wait(wait_s):
            wait_s = EVERY_S if self._try_to_push() else AGAIN_AFTER_S

    def _finish(self) -> None:
        """Update the copy for the last time, and try again for up to `END_WITHIN_S`."""
        until_s, warned = time.monotonic() + END_WITHIN_S, False
        try:
            while not self._try_to_push():
                if self._conflict:
                    raise WorkError(self._conflict)
                if time.monotonic() > until_s:
                    raise WorkError(self._incomplete)
                if not warned:
                    log.warning(
                        "the run is over; waiting up to %.0f minutes for its storage",
                        END_WITHIN_S / 60,
                    )
                warned = True
                time.sleep(AGAIN_AFTER_S)
        except KeyboardInterrupt:
            raise RunInterruptedError(f"stopped; {self._incomplete}") from None

    @property
    def _incomplete(self) -> str:
        return f"the copy at {self._url} is incomplete; `{self._resume}` completes it"

    @property
    def _resume(self) -> str:
        return f"nst-tuner resume {shlex.quote(str(self._folder))}"

    def _try_to_push(self) -> bool:
        """Update the copy; return whether it is complete. Warn when an outage begins and ends."""
        if self._conflict:
            return False
        try:
            self.push()
        except WorkError as error:
            self._conflict = str(error)
            log.warning("%s", error)
            return False
        except Exception as error:  # an error of any library must not stop the run
            level = logging.INFO if self._unreachable else logging.WARNING
            log.log(level, "storage %s: %s; missing files are copied later", self._url, error)
            self._unreachable = True
            return False
        if self._unreachable:
            log.warning("storage %s: is back, and the copy is up to date", self._url)
        self._unreachable = False
        return True


def _state(info: Any) -> tuple[int | None, int | None]:
    """Return size and modification time of a file in the copy; both are None without a file."""
    return info.size, info.mtime_ns


def fetch(url: str, folder: Path) -> list[str]:
    """Copy a mirrored run to a new or empty folder; return the names of its files.

    Raises:
        InputError: the URL holds no run, one of its files is too large, or the folder is not empty.
        WorkError: the storage stopped answering, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not empty; name a new folder for the run")
    system, root = open_store(url)
    try:
        files = answered(lambda: _files_in(system, root))
    except store_errors() as error:
        raise InputError(
            f"{url}: {service_of(url)} cannot be read ({reason_of(error)}); expected the value of"
            " `storage:` in a job"
        ) from None
    # Files of an update that was interrupted are not part of the run.
    sizes = {name: size for name, size in files.items() if not name.endswith((_NEWER, ".tmp"))}
    study = {STUDY_FILE, SHARED_FILE} & set(sizes)
    if JOB_FILE not in sizes or not study:
        raise InputError(
            f"{url}: not a mirrored run (expected {JOB_FILE}, and {STUDY_FILE} or {SHARED_FILE})"
        )
    for name, size in sizes.items():
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{url}: {name!r} would be written outside {folder}")
        if size > MAX_BYTES:
            raise InputError(f"{url}: {name} has {size:,} bytes, expected at most {MAX_BYTES:,}")
    try:
        for name in sorted(sizes, key=lambda name: name in study):  # last: it makes a run of it
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, answered(partial(_read, system, f"{root}/{name}", sizes[name])))
    except store_errors() as error:
        raise WorkError(
            f"{url}: {reason_of(error)}; {folder} is incomplete, fetch again into a new folder"
        ) from None
    return list(sizes)


def _read(system: Any, path: str, most: int) -> bytes:
    with system.open_input_stream(path) as stream:
        content: bytes = stream.read(most)
    return content


def _files_in(system: Any, root: str) -> dict[str, int]:
    """Return the files of a folder or bucket, at any depth: name -> size in bytes."""
    from pyarrow.fs import FileSelector

    infos = system.get_file_info(FileSelector(root, recursive=True))
    return {info.path[len(root) :].lstrip("/"): info.size for info in infos if info.is_file}
