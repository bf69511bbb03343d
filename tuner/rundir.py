"""The run directory: its layout, made in one place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from nst_core.errors import RunError
from nst_core.files import check_writable, write_atomic
from search_spaces import CATALOGUE
from tuner.job import JobSpec, PairSpec
from tuner.storage import STUDY_FILE, holds_study

JOB_FILE = "job.yaml"


class RunDir:
    """A run's folder, laid out as follows.

    ::

        job.yaml               the job as started; a valid job file by itself
        inputs/                copies of the images and the space file that it names
        study.journal          the Optuna study: the only truth about the run
        study.json             or where it is, if several drivers share it
        trials/0007/pair0.png  each trial's best image, one per pair
        trials/0007/lanes.safetensors  where it was at its last rung, until it is over
        contact-sheet.jpg      the best beside the baselines
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def job_file(self) -> Path:
        """The job as started."""
        return self.path / JOB_FILE

    @property
    def contact_sheet(self) -> Path:
        """The best beside the baselines, as one picture."""
        return self.path / "contact-sheet.jpg"

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        return self.job_file.is_file() and holds_study(self.path)

    def require(self) -> RunDir:
        """Itself, if the folder holds a run.

        Raises:
            RunError: it does not.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run directory")
        if not self.is_run:
            raise RunError(
                f"{self.path}: not a run directory (expected {JOB_FILE} and {STUDY_FILE} in it);"
                " `nst-tuner launch JOB.yaml --run-dir DIR` makes one"
            )
        return self

    def leave_if_empty(self) -> None:
        """Take back `require_new` where nothing came of the run."""
        with contextlib.suppress(OSError):  # what is not empty, stays
            self.path.rmdir()

    def require_new(self) -> RunDir:
        """Itself, if a run can be started here.

        Raises:
            RunError: there is one already, or the folder is in use or cannot be written.
        """
        if self.is_run:
            raise RunError(
                f"{self.path}: holds a run already; go on with `nst-tuner resume {self.path}`"
                " or name another folder"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: is a file, expected a folder for the run")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(f"{self.path}: is not empty; name a new folder for the run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            check_writable(self.path)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error.strerror}); name a folder that can"
            ) from None
        return self

    def write_job(self, job: JobSpec) -> JobSpec:
        """Copy what the job names into the run and write the job that refers to the copies.

        Returns:
            That job, with absolute paths.
        """
        inputs = self.path / "inputs"
        inputs.mkdir(exist_ok=True)

        def keep(file: str, name: str) -> str:
            target = inputs / f"{name}{Path(file).suffix}"
            if not target.exists():
                shutil.copyfile(file, target)
            return f"inputs/{target.name}"

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

    def save_images(self, trial: int, pngs: Sequence[bytes]) -> None:
        """Write a trial's images, one per pair, each atomically."""
        for pair, content in enumerate(pngs):
            path = self.path / self.image(trial, pair)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)

    def lanes_file(self, trial: int) -> Path:
        """Where a trial's lanes are kept while it is not over."""
        return self.path / "trials" / f"{trial:04d}" / "lanes.safetensors"

    def save_lanes(self, trial: int, content: bytes) -> None:
        """Keep where a trial was at its last rung."""
        path = self.lanes_file(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
