"""Mirror: a copy of the run directory in a folder or a bucket, kept up while the run goes on.

The run itself works on a local folder: a study is written many times a second, and a bucket can
neither append nor lock. What the mirror has is always a whole run, if an older one, wherever
copying breaks off: the study is read before the pictures and copied after them, and saved lanes
take the place of older ones when the study is there that speaks of them.
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
from tuner.job.object_store import answered, asked_at, open_store, reason_of, store_errors
from tuner.study.run_dir import LANES_FILE, LOCAL_FILES, MAX_BYTES
from tuner.study.run_files import JOB_FILE, SHARED_FILE, STUDY_FILE

log = logging.getLogger(__name__)

#: Seconds between two copies, and after one that failed.
EVERY_S, AGAIN_AFTER_S = 30.0, 10.0
#: How long a run that is over waits for a storage that is away.
END_WITHIN_S = 600.0

#: Ending of saved lanes that are newer than the study in the copy.
_NEWER = ".newer"
#: Version of a file in the copy that an earlier launch brought there.
_UNKNOWN = (0, 0)

#: What a file is, at one moment: when it was written, and its bytes.
_Seen = tuple[tuple[int, int], bytes]


class Mirror:
    """Copies what changed.

    Args:
        folder: the run directory.
        url: a folder, or a URL of a file system that pyarrow knows: s3://, gs://, abfs://.

    Raises:
        InputError: there is no such file system, it does not answer, or what is there is no
            older copy of this run.
    """

    def __init__(self, folder: Path, url: str):
        self._folder, self._url = folder, url
        self._system, self._root = open_store(url)
        self._is_local = self._system.type_name == "local"
        self._copied: dict[str, tuple[int, int]] = {}
        #: Lanes that are in the copy beside older ones, whose place they are to take.
        self._newer: set[str] = set()
        #: What the study in the copy was when it was last looked at: size and time of writing.
        self._study_there: tuple[int | None, int | None] | None = None
        self._away = False
        self._taken: str | None = None
        if self._is_local:
            self._check_apart()
        try:
            answered(self._check_ours)
        except store_errors() as error:
            raise InputError(
                f"storage {url}: {asked_at(url)} cannot be read ({reason_of(error)}); check the"
                " URL, the network, and the credentials in the environment"
            ) from None

    def _check_apart(self) -> None:
        run, copy = self._folder.resolve(), Path(self._root).resolve()
        if run.is_relative_to(copy) or copy.is_relative_to(run):
            raise InputError(
                f"storage {self._url}: is, contains or lies in the run directory {self._folder};"
                " name another folder"
            )

    def _check_ours(self) -> None:
        """A copy of this run begins as this run does; anything else would be overwritten."""
        from pyarrow.fs import FileSelector

        name_another = f"name another folder, or `nst-tuner fetch {self._url} DIR` and go on there"
        for name in (STUDY_FILE, SHARED_FILE, JOB_FILE):
            info = self._system.get_file_info(f"{self._root}/{name}")
            if info.is_file:
                if not self._begins_with(name, info):
                    raise InputError(
                        f"storage {self._url}: holds another run, or more of this one than"
                        f" {self._folder} does; {name_another}"
                    )
                self._copied.update(dict.fromkeys(self._lanes_there(), _UNKNOWN))
                self._study_there = _version(self._study_info())
                return
        self._study_there = _version(self._study_info())
        if self._system.get_file_info(FileSelector(self._root, allow_not_found=True)):
            raise InputError(
                f"storage {self._url}: is not empty, and no copy of this run; name a new folder"
            )

    def _begins_with(self, name: str, info: Any) -> bool:
        path = self._folder / name
        if not path.is_file() or info.size > path.stat().st_size:
            return False
        with self._system.open_input_stream(info.path) as stream, path.open("rb") as own:
            kept = stream.read(info.size)
            return bool(kept == own.read(len(kept)))

    def _lanes_there(self) -> list[str]:
        """Saved lanes that earlier launches left in the copy, whose trials may be over now."""
        names = _files_in(self._system, self._root)
        return [name for name in names if name.removesuffix(_NEWER).endswith(LANES_FILE)]

    def push(self) -> None:
        """Copy what changed since the last time.

        The study comes after what it speaks of. Lanes are read before it, as it would score newer
        ones at the wrong step, and stand beside the older ones until it is there.

        Raises:
            OSError: the storage is away; what was copied, stays.
            WorkError: another launch copies to it.
        """
        self._check_alone()
        names = self._names()
        first = {JOB_FILE, *(name for name in names if name.endswith(LANES_FILE))}
        for name in sorted(first):
            self._push(name)
        of_study = self._study_name
        study = self._changed(of_study)
        for name in names:
            if name not in {of_study, *first}:
                self._push(name)
        if study:
            self._check_alone()  # copying may have taken long
            self._write(of_study, study)
            self._study_there = _version(self._study_info())
        for name in sorted(self._newer):
            self._replace(f"{self._root}/{name}")
            self._newer.remove(name)
        for name in set(self._copied).difference(names):
            self._delete(name)

    def _check_alone(self) -> None:
        """Whether the study in the copy is the one that this launch left there."""
        info = self._study_info()
        if _version(info) == self._study_there:
            return
        if not info.is_file:  # as while a folder of somebody else's machine is not mounted
            raise OSError(f"{info.path} is not there any more")
        if not self._begins_with(self._study_name, info):
            raise WorkError(
                f"storage {self._url}: another launch copies to it; what is there is the other's"
                f" from here on; `{self._resume} --set storage=FOLDER` copies this run elsewhere"
            )
        self._study_there = _version(info)  # written, as it turns out, when it was taken for lost

    @property
    def _study_name(self) -> str:
        """The file that tells this run from others: its study, or which of its drivers it is."""
        return SHARED_FILE if (self._folder / SHARED_FILE).is_file() else STUDY_FILE

    def _study_info(self) -> Any:
        return self._system.get_file_info(f"{self._root}/{self._study_name}")

    def _replace(self, older: str) -> None:
        newer = older + _NEWER
        if self._is_local:
            Path(newer).replace(older)
        else:  # not every bucket can move
            self._system.copy_file(newer, older)
            self._system.delete_file(newer)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):  # somebody else did
            self._system.delete_file(f"{self._root}/{name}")
        del self._copied[name]

    def _names(self) -> list[str]:
        paths = [p for p in self._folder.rglob("*") if p.is_file() and not p.is_symlink()]
        names = [path.relative_to(self._folder).as_posix() for path in paths]
        return sorted(n for n in names if n not in LOCAL_FILES and not n.endswith(".tmp"))

    def _push(self, name: str) -> None:
        if seen := self._changed(name):
            self._write(name, seen)

    def _changed(self, name: str) -> _Seen | None:
        """A file as it is, if it is another than was copied."""
        path = self._folder / name
        try:
            found = path.stat()
            version = (found.st_mtime_ns, found.st_size)
            return None if self._copied.get(name) == version else (version, path.read_bytes())
        except FileNotFoundError:  # a trial's lanes, over meanwhile
            return None

    def _write(self, name: str, seen: _Seen) -> None:
        version, content = seen
        if name == STUDY_FILE:  # whole records only
            content = content[: content.rfind(b"\n") + 1]
        lanes = name.endswith(LANES_FILE)
        target = f"{self._root}/{name}{_NEWER if lanes else ''}"
        self._system.create_dir(target.rpartition("/")[0], recursive=True)
        if self._is_local:
            write_atomic(Path(target), content)
        else:  # an object is there when all of it is
            with self._system.open_output_stream(target) as stream:
                stream.write(content)
        self._copied[name] = version
        if lanes:
            self._newer.add(name)

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """Copy every `EVERY_S` seconds, and what is left at the end.

        Raises:
            WorkError: another launch copies to the same storage, or it was away at the end, and for
                `END_WITHIN_S` after it.
            RunInterruptedError: somebody would not wait for it.
        """
        over = threading.Event()
        keeper = threading.Thread(target=self._keep_up, args=(over,), daemon=True)
        keeper.start()
        try:
            yield
        except BaseException:  # which is what is to be said of the launch
            over.set()
            keeper.join()
            if not self._try_to_push() and not self._taken:
                log.warning("%s", self._not_whole)
            raise
        over.set()
        keeper.join()
        self._finish()

    def _keep_up(self, over: threading.Event) -> None:
        wait_s = EVERY_S
        while not over.wait(wait_s):
            wait_s = EVERY_S if self._try_to_push() else AGAIN_AFTER_S

    def _finish(self) -> None:
        """Copy what is left, with some patience: nobody comes later."""
        until_s, said = time.monotonic() + END_WITHIN_S, False
        try:
            while not self._try_to_push():
                if self._taken:
                    raise WorkError(self._taken)
                if time.monotonic() > until_s:
                    raise WorkError(self._not_whole)
                if not said:
                    log.warning(
                        "the run is over; waiting up to %.0f minutes for its storage",
                        END_WITHIN_S / 60,
                    )
                said = True
                time.sleep(AGAIN_AFTER_S)
        except KeyboardInterrupt:
            raise RunInterruptedError(f"stopped; {self._not_whole}") from None

    @property
    def _not_whole(self) -> str:
        return f"the copy at {self._url} is not whole; `{self._resume}` finishes it"

    @property
    def _resume(self) -> str:
        return f"nst-tuner resume {shlex.quote(str(self._folder))}"

    def _try_to_push(self) -> bool:
        """Whether the copy is up to date; of an outage, people are told its beginning and end."""
        if self._taken:
            return False
        try:
            self.push()
        except WorkError as error:
            self._taken = str(error)
            log.warning("%s", error)
            return False
        except Exception as error:  # whatever a storage's library does, the run goes on
            log.log(
                logging.INFO if self._away else logging.WARNING,
                "storage %s: %s; what is missing there is copied later",
                *(self._url, error),
            )
            self._away = True
            return False
        if self._away:
            log.warning("storage %s: is back, and the copy is up to date", self._url)
        self._away = False
        return True


def _version(info: Any) -> tuple[int | None, int | None]:
    """What tells one version of a file from another; what is not there has no size."""
    return info.size, info.mtime_ns


def fetch(url: str, folder: Path) -> list[str]:
    """Bring a mirrored run to an empty or new folder; returns the files' names.

    Raises:
        InputError: there is none, a file of it is too large, or the folder is in use.
        WorkError: the storage went away, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not empty; name a new folder for the run")
    system, root = open_store(url)
    try:
        found = answered(lambda: _files_in(system, root))
    except store_errors() as error:
        raise InputError(
            f"{url}: {asked_at(url)} cannot be read ({reason_of(error)}); expected what `storage:`"
            " of a job names"
        ) from None
    # What copying that was broken off has left is no part of the run.
    sizes = {name: size for name, size in found.items() if not name.endswith((_NEWER, ".tmp"))}
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
        for name in sorted(sizes, key=lambda name: name in study):  # a run when all is there
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, answered(partial(_read, system, f"{root}/{name}", sizes[name])))
    except store_errors() as error:
        raise WorkError(
            f"{url}: {reason_of(error)}; {folder} is not whole, try again with a new one"
        ) from None
    return list(sizes)


def _read(system: Any, path: str, most: int) -> bytes:
    with system.open_input_stream(path) as stream:
        content: bytes = stream.read(most)
    return content


def _files_in(system: Any, root: str) -> dict[str, int]:
    """Files of a folder or bucket, at any depth, with their sizes."""
    from pyarrow.fs import FileSelector

    found = system.get_file_info(FileSelector(root, recursive=True))
    return {info.path[len(root) :].lstrip("/"): info.size for info in found if info.is_file}
