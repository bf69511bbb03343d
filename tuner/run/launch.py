"""run_job and resume_run: a whole run, readable as a sentence."""

from __future__ import annotations

import functools
import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from nst_core.errors import InputError, RunError, RunInterruptedError, Say, WorkError
from search_spaces import Space
from tuner.engine.costs import known_costs
from tuner.job.load import fingerprint, load_job
from tuner.job.spec import BaselinesSpec, JobSpec
from tuner.job.yaml_file import read_yaml
from tuner.run.backend import Backend
from tuner.run.change_job import extend
from tuner.run.mirror import Mirror
from tuner.run.prepare import Prepared, digests_of, prepare, prepared_before
from tuner.run.run_log import logged
from tuner.run.trackers import watchers_of
from tuner.sampling.lengthscales import LENGTHS
from tuner.search.interrupt import interruptible
from tuner.search.protocol import Callback
from tuner.search.search import Search
from tuner.study.run_dir import RunDir
from tuner.study.storage import ASKED, database_explained
from tuner.study.study import RunStudy
from tuner.transfer.curves import lengths_for, load_curves

log = logging.getLogger(__name__)


def run_job(
    job: JobSpec, space: Space, folder: Path, backend: Backend, *, callback: Callback, say: Say
) -> None:
    """Start a run in ``folder`` and carry it to the job's target.

    Args:
        job: as `load_job` returns it, with its space.
        folder: becomes the run directory.
        backend: where trials run.
        callback: is told of every trial.
        say: is told in one line of downloads and fallbacks.

    Raises:
        InputError: something the job names cannot be used; the folder is left untouched.
        WorkError: every trial failed.
    """
    run = RunDir(folder).begin()
    with run.held(), logged(run.log_file, say), _stops_explained(run):
        try:
            callbacks = watchers_of(job, run, callback)
            mirror = _mirror(job, run)
            prepared = prepare(job, space, run, say, callback.doing)
            presets = [preset.name for preset, _ in prepared.presets]
            lengths, remark = lengths_for(space, job.goals, load_curves())
            if remark and job.search.sampler == "gp":
                say(remark)
            notes = {
                "pair_baselines": prepared.baselines,
                "presets": presets,
                "starts": [dict(params) for params in prepared.initial_points],
                LENGTHS: lengths,
                "environment": environment(),
                ASKED: fingerprint(job, space, presets),
                "weights": digests_of(job, prepared.workload),
            }
            with database_explained():
                study = RunStudy.create(
                    folder,
                    url=job.search.study,
                    name=job.name,
                    notes=notes,
                    goals=prepared.job.goals,
                )
        except OSError as error:
            run.take_back()
            raise RunError(f"{error.filename or folder}: {error.strerror or error}") from None
        except BaseException:
            run.take_back()
            raise
        if study.shared:
            study.note("over", None)
        # Of a study that another driver began its starts, since all drivers draw by their order.
        prepared = prepared._replace(initial_points=study.notes["starts"])
        with _files_explained(run), mirror, _taken_back(run, study), callbacks as told:
            _search(study, run, space, prepared, told, backend, say)


def resume_run(
    folder: Path,
    backend: Backend,
    *,
    callback: Callback,
    say: Say,
    changes: Sequence[str] = (),
) -> None:
    """Carry a run to its job's target, or to a new one.

    Args:
        folder: the run directory.
        backend: where trials run.
        callback: is told of every trial.
        say: is told in one line of downloads and fallbacks.
        changes: to the job, as `extend` takes them.

    Raises:
        InputError: it is no run, another launch works on it, or a change is not allowed.
        WorkError: every trial failed.
    """
    run = RunDir(folder).require()
    with (
        run.held("resume"),
        logged(run.log_file, say),
        _stops_explained(run),
        _files_explained(run),
    ):
        if changes:
            extend(folder, changes)
        job, space = load_job(run.job_file)
        if "baselines" not in read_yaml(run.job_file).data:
            # An older version began it and knew no presets in full: it stays as it was asked for.
            job = job.model_copy(update={"baselines": BaselinesSpec(full=False)})
        mirror, callbacks = _mirror(job, run), watchers_of(job, run, callback)
        callback.doing("reading the study, pictures and weights")
        study = RunStudy.open(folder, goals=job.goals)
        prepared = prepared_before(job, space, study.notes, run, say)
        study.note("over", None)
        with mirror, callbacks as told:
            _search(study, run, space, prepared, told, backend, say)


@contextmanager
def _stops_explained(run: RunDir) -> Iterator[None]:
    """Say in one line what is left of a launch that was stopped at once, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        if run.is_run:
            log.info("stopped at once")  # a closed terminal shows nothing
            raise RunInterruptedError(
                f"stopped; nothing finished is lost, go on with `nst-tuner resume {run.path}`"
            ) from None
        raise RunInterruptedError(
            f"interrupted before the first trial; {run.path} holds no run yet, launch it again"
        ) from None


@contextmanager
def _files_explained(run: RunDir) -> Iterator[None]:
    """Say in one line which file could not be written, or which database, and what to do."""
    try:
        with database_explained():
            yield
    except OSError as error:
        raise WorkError(
            f"{error.filename or run.path}: {error.strerror or error}; nothing finished is lost,"
            f" go on with `nst-tuner resume {run.path}`"
        ) from None


@contextmanager
def _taken_back(run: RunDir, study: RunStudy) -> Iterator[None]:
    """Leave no run behind where the cluster was refused before the first trial."""
    try:
        yield
    except InputError:
        if not len(study) and not study.shared:
            run.take_back(with_study=True)
        raise


def _mirror(job: JobSpec, run: RunDir) -> AbstractContextManager[None]:
    return Mirror(run.path, job.storage).kept_up() if job.storage else nullcontext()


def _search(
    study: RunStudy,
    run: RunDir,
    space: Space,
    prepared: Prepared,
    callback: Callback,
    backend: Backend,
    say: Say,
) -> None:
    search = Search(
        study,
        run,
        prepared.job,
        space,
        presets=prepared.presets,
        initial_points=prepared.initial_points,
        replay=prepared.replay,
        costs=functools.partial(known_costs, prepared.workload, prepared.job.goals),
        callback=callback,
    )
    go_on = f"go on with `nst-tuner resume {run.path}`"
    if not search.over:
        try:
            with interruptible(
                search.interrupt, say, f"stopped; nothing finished is lost, {go_on}"
            ):
                backend.run(search, prepared.workload, prepared.job)
        except WorkError as error:
            raise WorkError(f"{error}; {go_on}") from None
    if search.wound_up or search.unfinished:
        log.info("stopped after the rungs under way")  # a closed terminal shows nothing
        raise RunInterruptedError(
            f"interrupted with {len(search.unfinished)} trials under way; nothing finished is lost,"
            f" {go_on}"
        )
    if not search.others_run:
        study.note("over", search.reason)
    records = study.records()
    if records and all(record.state == "failed" for record in records):
        raise WorkError(
            f"all {len(records)} trials failed; the first: trial {records[0].trial}:"
            f" {records[0].reason}"
        )


def environment() -> dict[str, object]:
    """Versions and machine, for the record of a run."""
    packages = ("nst-tuner", "torch", "torchvision", "ray", "optuna", "scikit-image", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {name: version(name) for name in packages},
    }
