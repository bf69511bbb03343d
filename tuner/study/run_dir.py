"""The run directory: its layout, made in one place."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from nst_core.errors import RunError
from nst_core.files import check_writable, is_utf8, write_atomic
from search_spaces import CATALOGUE
from tuner.job.spec import JobSpec, PairSpec
from tuner.study.lock import HOLDER_FILE, LOCK_FILE, Holder, check_unused, held, user_of
from tuner.study.run_files import JOB_FILE, LOCKS, STUDY_FILE, holds_study

LOG_FILE = "log.jsonl"
LANES_FILE = "lanes.safetensors"
#: Of a file of a run, which somebody else may have made; the largest are saved lanes.
MAX_BYTES = 4 * 2**30
_INPUTS = "inputs"
#: What only this machine needs.
LOCAL_FILES = frozenset({LOCK_FILE, HOLDER_FILE})
#: What is there before the study is, beside files that were being written.
_BEGUN = frozenset({JOB_FILE, _INPUTS, LOCK_FILE, HOLDER_FILE, LOG_FILE, *LOCKS})
_HALF_WRITTEN = ".*.tmp"


class RunDir:
    """A run's folder, laid out as follows.

    ::

        job.yaml               the job as started; a valid job file by itself
        inputs/                copies of the images and the space file that it names
        study.journal          the Optuna study: the only truth about the run
        study.json             or where it is, if several drivers share it
        trials/0007/pair0.png  each trial's best image, one per pair
        trials/0012/steps-00040-pair0.png  the images on the way of a final
        trials/0007/lanes.safetensors  where it was at its last rung, until it is over
        contact-sheet.jpg      the best beside the baselines
        report.html            the page that `nst-tuner report` writes
        log.jsonl              what happened, one JSON object a line
        launch.json            the process that works on it
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def job_file(self) -> Path:
        """The job as started."""
        return self.path / JOB_FILE

    @property
    def log_file(self) -> Path:
        """What happened."""
        return self.path / LOG_FILE

    @property
    def contact_sheet(self) -> Path:
        """The best beside the baselines, as one picture."""
        return self.path / "contact-sheet.jpg"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        return self.job_file.is_file() and holds_study(self.path)

    def require(self) -> RunDir:
        """Itself, if the folder holds a run.

        Raises:
            RunError: it does not, or it leads out of itself by a link.
        """
        if not os.path.isdir(self.path):  # noqa: PTH112  # see `is_file`
            raise RunError(f"{self.path}: no such run directory")
        if not self.is_run:
            raise RunError(
                f"{self.path}: not a run directory (expected {JOB_FILE} and {STUDY_FILE} in it);"
                " `nst-tuner launch JOB.yaml --run-dir DIR` makes one"
            )
        if link := next(_links(self.path), None):
            raise RunError(
                f"{link}: is a link, by which a run would be written or read elsewhere; put what it"
                " leads to in its place"
            )
        return self

    def held(self, command: str = "launch") -> contextlib.AbstractContextManager[None]:
        """Keep other commands out of the folder; see `lock.held`.

        Args:
            command: of ours, that those are told of who are kept out.
        """
        return held(self.path, command)

    @property
    def user(self) -> Holder | None:
        """The process that works on it now."""
        return user_of(self.path)

    @property
    def is_held(self) -> bool:
        """Whether a process works on it now."""
        return self.user is not None

    def check_new(self) -> None:
        """Raise RunError if `begin` would refuse the folder for what is in it; writes nothing."""
        try:
            self._check_free()
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be used ({error.strerror}); name another folder"
            ) from None

    def begin(self) -> RunDir:
        """Itself, if a run can be started here; a start that was broken off is in nobody's way.

        Raises:
            RunError: there is one already, or the folder is in use or cannot be written.
        """
        try:
            self._check_free()
            self.path.mkdir(parents=True, exist_ok=True)
            check_writable(self.path)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error.strerror}); name a folder that can"
            ) from None
        return self

    def _check_free(self) -> None:
        check_unused(self.path)
        if not is_utf8(self.path.resolve()):
            raise RunError(
                f"{self.path}: the name of the folder is not UTF-8, expected one that is; name"
                " another folder"
            )
        if self.is_run:
            raise RunError(
                f"{self.path}: holds a run already; go on with `nst-tuner resume {self.path}`"
                " or name another folder"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: is a file, expected a folder for the run")
        if self.path.is_dir() and not self._only_begun():
            raise RunError(f"{self.path}: is not empty; name a new folder for the run")

    def _only_begun(self) -> bool:
        """Whether there is nothing but what a start leaves that was broken off."""
        found = {path.name for path in self.path.iterdir()}
        found -= set(fnmatch.filter(found, _HALF_WRITTEN))
        begun = LOCK_FILE in found and found <= _BEGUN and not any(_links(self.path))
        return not found or begun

    def take_back(self, *, with_study: bool = False) -> None:
        """Undo `begin` where nothing came of the run."""
        if with_study:
            (self.path / STUDY_FILE).unlink(missing_ok=True)
        if self.path.is_dir() and not self.is_run and self._only_begun():
            shutil.rmtree(self.path, ignore_errors=True)

    def write_job(self, job: JobSpec) -> JobSpec:
        """Copy what the job names into the run and write the job that refers to the copies.

        Returns:
            That job, with paths relative to the run.
        """
        inputs = self.path / _INPUTS
        inputs.mkdir(exist_ok=True)

        def keep(file: str, name: str) -> str:
            target = inputs / f"{name}{Path(file).suffix}"
            if not (target.exists() and target.samefile(file)):
                shutil.copyfile(file, target)
            return f"{_INPUTS}/{target.name}"

        def kept_pairs(pairs: Sequence[PairSpec], kind: str) -> list[PairSpec]:
            return [
                pair.placed(lambda file, role, i=i: keep(file, f"{kind}{i}-{role}"))  # type: ignore[misc]
                for i, pair in enumerate(pairs)
            ]

        pairs, holdout = kept_pairs(job.pairs, "pair"), kept_pairs(job.holdout, "holdout")
        space = job.space if job.space in CATALOGUE else keep(job.space, "space")
        kept = job.model_copy(update={"pairs": pairs, "holdout": holdout, "space": space})
        write_atomic(self.job_file, kept.to_yaml().encode())
        return kept

    def image(self, trial: int, pair: int) -> str:
        """Path of a trial's image, relative to the run."""
        return f"trials/{trial:04d}/pair{pair}.png"

    def frame(self, trial: int, steps: int, pair: int) -> str:
        """Path of the image of a final after so many steps, relative to the run."""
        return f"trials/{trial:04d}/steps-{steps:05d}-pair{pair}.png"

    def save_images(
        self, trial: int, pngs: Sequence[bytes], *, best: bool = True, steps: int | None = None
    ) -> None:
        """Write a trial's images, one per pair, each atomically.

        Args:
            trial: its number.
            pngs: their files.
            best: whether they are the best of the trial so far.
            steps: after how many they were taken, if they are to be kept as a `frame`.
        """
        for pair, content in enumerate(pngs):
            names = [self.image(trial, pair)] if best else []
            names += [self.frame(trial, steps, pair)] if steps is not None else []
            for name in names:
                path = self.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, content)

    def lanes_file(self, trial: int) -> Path:
        """Where a trial's lanes are kept while it is not over."""
        return self.path / "trials" / f"{trial:04d}" / LANES_FILE

    def save_lanes(self, trial: int, content: bytes) -> None:
        """Keep where a trial was at its last rung."""
        path = self.lanes_file(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)


def _links(folder: str | Path) -> Iterator[str]:
    """Links in a folder, at any depth, but for the one by which Optuna locks a journal."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                if not entry.name.startswith(LOCKS):
                    yield entry.path
            elif entry.is_dir():
                yield from _links(entry.path)
