"""The run directory: its layout, and the only functions that write files to it."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from nst_core.errors import RunError
from nst_core.files import check_writable, is_utf8, write_atomic
from tuner.job.spec import JobSpec, PairSpec
from tuner.job.yaml_file import read_yaml, set_key, yaml_text
from tuner.study.lock import HOLDER_FILE, LOCK_FILE, Holder, check_unused, held, user_of
from tuner.study.run_files import JOB_FILE, LOCKS, STUDY_FILE, holds_study

LOG_FILE = "log.jsonl"
LANES_FILE = "lanes.safetensors"
#: Largest file of a run that is read; somebody else may have made the run. The largest files are
#: saved lanes.
MAX_BYTES = 4 * 2**30
_INPUTS = "inputs"
#: Files that have a meaning only on this machine, so they are not mirrored.
LOCAL_FILES = frozenset({LOCK_FILE, HOLDER_FILE})
#: Files that an interrupted start may leave, besides temporary files.
_BEGUN = frozenset({JOB_FILE, _INPUTS, LOCK_FILE, HOLDER_FILE, LOG_FILE, *LOCKS})
_TEMPORARY = ".*.tmp"


class RunDir:
    """A run's folder, laid out as follows.

    ::

        job.yaml               the job as started; a valid job file by itself
        inputs/                copies of the images and the space file that the job names
        study.journal          the Optuna study: the only record of what was tried
        study.json             in its place, the address of a study that several drivers share
        trials/0007/pair0.png  each trial's best image, one per pair
        trials/0012/steps-00040-pair0.png  intermediate images of a final
        trials/0007/lanes.safetensors  saved lanes of a trial that is not finished
        presented/trial0007-steps00090-pair0.png  a result, rendered larger than it was tuned
        contact-sheet.jpg      the best results beside the baselines
        report.html            the page that `nst-tuner report` writes
        log.jsonl              events, one JSON object per line
        launch.json            the process that works on the run
        commands/              commands that the search has not carried out yet
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def job_file(self) -> Path:
        """Path of the job as started."""
        return self.path / JOB_FILE

    @property
    def log_file(self) -> Path:
        """Path of the event log."""
        return self.path / LOG_FILE

    @property
    def contact_sheet(self) -> Path:
        """Path of the picture that shows the best results beside the baselines."""
        return self.path / "contact-sheet.jpg"

    @property
    def report(self) -> Path:
        """Path of the report page."""
        return self.path / "report.html"

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        return self.job_file.is_file() and holds_study(self.path)

    def require(self) -> RunDir:
        """Return this object if the folder holds a run.

        Raises:
            RunError: the folder holds no run, or a link in it leads out of it.
        """
        if not os.path.isdir(self.path):  # noqa: PTH112  # see `is_file`
            raise RunError(f"{self.path}: no such run directory; check the path")
        if not self.is_run:
            raise RunError(
                f"{self.path}: not a run directory (expected {JOB_FILE} and {STUDY_FILE} in it);"
                " `nst-tuner launch JOB.yaml --run-dir DIR` makes one"
            )
        if link := next(_links(self.path), None):
            raise RunError(
                f"{link}: is a link, and a run directory must not read or write files elsewhere;"
                " replace the link by the file it points to"
            )
        return self

    def held(self, command: str = "launch") -> contextlib.AbstractContextManager[None]:
        """Return a context in which other commands may not use the folder; see `lock.held`.

        Args:
            command: name of the running command, for the error that other commands show.
        """
        return held(self.path, command)

    @property
    def user(self) -> Holder | None:
        """The process that works on the run now, or None."""
        return user_of(self.path)

    @property
    def is_held(self) -> bool:
        """Whether a process works on the run now."""
        return self.user is not None

    def check_new(self) -> None:
        """Raise RunError if `begin` would refuse the folder for its content. Nothing is written."""
        try:
            self._check_free()
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be used ({error.strerror}); name another folder"
            ) from None

    def begin(self) -> RunDir:
        """Create the folder of a new run and return this object.

        The leftovers of an interrupted start are no obstacle.

        Raises:
            RunError: the folder holds a run or other files, is in use, or cannot be written.
        """
        try:
            self._check_free()
            self.path.mkdir(parents=True, exist_ok=True)
            check_writable(self.path)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error.strerror}); name a folder that this user"
                " may write to"
            ) from None
        return self

    def _check_free(self) -> None:
        check_unused(self.path)
        if not is_utf8(self.path.resolve()):
            raise RunError(
                f"{self.path}: the name of the folder is not valid UTF-8; name another folder"
            )
        if self.is_run:
            raise RunError(
                f"{self.path}: holds a run already; continue it with `nst-tuner resume"
                f" {self.path}`, or name another folder"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(
                f"{self.path}: is a file, expected a folder; name a new folder for the run"
            )
        if self.path.is_dir() and not self._only_begun():
            raise RunError(f"{self.path}: is not empty; name a new folder for the run")

    def _only_begun(self) -> bool:
        """Whether the folder is empty, or contains only what an interrupted start leaves."""
        names = {path.name for path in self.path.iterdir()}
        names -= set(fnmatch.filter(names, _TEMPORARY))
        interrupted = LOCK_FILE in names and names <= _BEGUN and not any(_links(self.path))
        return not names or interrupted

    def take_back(self, *, with_study: bool = False) -> None:
        """Undo `begin` if the run could not be started; delete the study, too, if asked."""
        if with_study:
            (self.path / STUDY_FILE).unlink(missing_ok=True)
        if self.path.is_dir() and not self.is_run and self._only_begun():
            shutil.rmtree(self.path, ignore_errors=True)

    def write_job(self, job: JobSpec) -> JobSpec:
        """Copy the files of the job into the run, and write a job file that names the copies.

        Returns:
            The written job, with paths relative to the run.
        """
        inputs = self.path / _INPUTS
        inputs.mkdir(exist_ok=True)

        def copy(file: str, name: str) -> str:
            target = inputs / f"{name}{Path(file).suffix}"
            if not (target.exists() and target.samefile(file)):
                shutil.copyfile(file, target)
            return f"{_INPUTS}/{target.name}"

        def copy_pairs(pairs: Sequence[PairSpec], kind: str) -> list[PairSpec]:
            return [
                pair.placed(lambda file, role, i=i: copy(file, f"{kind}{i}-{role}"))  # type: ignore[misc]
                for i, pair in enumerate(pairs)
            ]

        pairs, holdout = copy_pairs(job.pairs, "pair"), copy_pairs(job.holdout, "holdout")
        space = job.space_placed(lambda file: copy(file, "space"))
        written = job.model_copy(update={"pairs": pairs, "holdout": holdout, "space": space})
        write_atomic(self.job_file, written.to_yaml().encode())
        return written

    def change_job(self, assignments: Sequence[str]) -> None:
        """Change keys of the job file; the caller has checked the assignments."""
        content = read_yaml(self.job_file).data
        for assignment in assignments:
            set_key(content, assignment)
        write_atomic(self.job_file, yaml_text(content).encode())

    def image(self, trial: int, pair: int) -> str:
        """Return the path of a trial's best image, relative to the run."""
        return f"trials/{trial:04d}/pair{pair}.png"

    def frame(self, trial: int, steps: int, pair: int) -> str:
        """Return the path of a trial's image after ``steps`` steps, relative to the run."""
        return f"trials/{trial:04d}/steps-{steps:05d}-pair{pair}.png"

    def presented(self, trial: int, steps: int, pair: int) -> str:
        """Return the path of a result that was rendered larger, relative to the run."""
        return f"presented/trial{trial:04d}-steps{steps:05d}-pair{pair}.png"

    def save_images(
        self, trial: int, pngs: Sequence[bytes], *, best: bool = True, steps: int | None = None
    ) -> None:
        """Write a trial's images, one per pair, each atomically.

        Args:
            trial: number of the trial.
            pngs: content of the PNG files.
            best: whether these are the trial's best images so far.
            steps: steps done, to save the images as a `frame`, too; None for no frame.
        """
        for pair, content in enumerate(pngs):
            names = [self.image(trial, pair)] if best else []
            names += [self.frame(trial, steps, pair)] if steps is not None else []
            for name in names:
                path = self.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, content)

    def lanes_file(self, trial: int) -> Path:
        """Return the path of the saved lanes of an unfinished trial."""
        return self.path / "trials" / f"{trial:04d}" / LANES_FILE

    def save_lanes(self, trial: int, content: bytes) -> None:
        """Write the saved lanes of a trial, from which it can be resumed."""
        path = self.lanes_file(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)


def free_run_dir(folder: Path, name: str) -> Path:
    """Return the path of a new run in a folder: its name, with a number if that is taken.

    Args:
        folder: the folder of runs; it need not exist.
        name: name of the job; characters that are no letters or digits become hyphens.
    """
    base = re.sub(r"[^\w.]+", "-", name).strip("-.")[:80] or "run"
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    return next(folder / each for each in names if not (folder / each).exists())


def _links(folder: str | Path) -> Iterator[str]:
    """Yield the links in a folder, at any depth, except Optuna's lock of a journal."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                if not entry.name.startswith(LOCKS):
                    yield entry.path
            elif entry.is_dir():
                yield from _links(entry.path)
