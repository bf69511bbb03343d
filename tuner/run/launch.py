"""Launch: `run_job` starts a run and `resume_run` continues one, each until the run is over."""

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
from nst_core.lanes.device import cuda_graphs_enabled
from search_spaces import Space, space_to_dict
from tuner.engine.costs import known_costs
from tuner.job.load import fingerprint, load_job
from tuner.job.spec import BaselinesSpec, JobSpec, PresentSpec
from tuner.job.yaml_file import read_yaml
from tuner.results.results import load_results
from tuner.results.verdict import NOT_PRESENTED
from tuner.run.backend_protocol import Backend
from tuner.run.change_job import change_job
from tuner.run.mirror import Mirror
from tuner.run.prepare import Prepared, prepare, prepare_resumed, space_of_run, weight_digests
from tuner.run.present import present
from tuner.run.run_log import logged
from tuner.run.trackers import make_callbacks
from tuner.search.interrupt import interruptible
from tuner.search.precision import with_known_precision
from tuner.search.protocol import Callback
from tuner.search.rungs import with_first_rung
from tuner.search.search import Search
from tuner.study.run_dir import RunDir
from tuner.study.storage import ASKED, SPACE, database_explained
from tuner.study.study import RunStudy

log = logging.getLogger(__name__)


def run_job(
    job: JobSpec, space: Space, folder: Path, backend: Backend, *, callback: Callback, say: Say
) -> None:
    """Start a run and carry out its trials until it is over.

    Args:
        job: the job, as `load_job` returns it.
        space: the job's search space, as `load_job` returns it.
        folder: the new run directory.
        backend: carries out the trials.
        callback: receives every event of the run.
        say: receives lines about downloads, fallbacks and settings without effect.

    Raises:
        InputError: something that the job names cannot be used; then ``folder`` is unchanged.
        RunInterruptedError: a signal ended the launch before the run was over.
        WorkError: every trial failed, or the backend or the disk did.
    """
    cuda_graphs_enabled()  # a wrong value of the variable must not end every engine
    run = RunDir(folder).begin()
    with run.held(), logged(run.log_file, say), _explain_interrupts(run):
        with _deleted_on_error(run):
            callbacks, mirror = make_callbacks(job, run, callback), _mirror(job, run)
            job = with_first_rung(with_known_precision(job, say), say)
            prepared = prepare(job, space, run, say, callback.doing)
            study = _create_study(job, space, folder, prepared)
        if study.shared:
            study.note("over", None)
        # All drivers of a shared study use the initial points of the driver that created it.
        prepared = prepared._replace(initial_points=study.notes["starts"])
        with (
            _explain_write_errors(run),
            mirror,
            _deleted_if_refused(run, study),
            callbacks as notified,
        ):
            _search(study, run, space, prepared, notified, backend, say)


def _create_study(job: JobSpec, space: Space, folder: Path, prepared: Prepared) -> RunStudy:
    """Create the study of a new run, or join one in a database, with notes about the run."""
    presets = [preset.name for preset, _ in prepared.presets]
    notes = {
        "pair_baselines": prepared.baselines,
        "presets": presets,
        "starts": [dict(params) for params in prepared.initial_points],
        "environment": environment(),
        SPACE: space_to_dict(space),
        ASKED: fingerprint(job, space, presets),
        "weights": weight_digests(job, prepared.workload),
    }
    url, goals = job.search.study, prepared.job.goals
    with database_explained():
        return RunStudy.create(folder, url=url, name=job.name, notes=notes, goals=goals)


def resume_run(
    folder: Path,
    backend: Backend,
    *,
    callback: Callback,
    say: Say,
    changes: Sequence[str] = (),
) -> None:
    """Continue a run until it is over, after optional changes to its job.

    Args:
        folder: the run directory.
        backend: carries out the trials.
        callback: receives every event of the run.
        say: receives lines about downloads and fallbacks.
        changes: assignments that change the job; see `change_job`.

    Raises:
        InputError: the folder holds no run, another launch uses it, or a change is not allowed.
        RunInterruptedError: a signal ended the launch before the run was over.
        WorkError: every trial failed, or the backend or the disk did.
    """
    cuda_graphs_enabled()
    run = RunDir(folder).require()
    with (
        run.held("resume"),
        logged(run.log_file, say),
        _explain_interrupts(run),
        _explain_write_errors(run),
    ):
        if changes:
            change_job(folder, changes)
        job, space = load_job(run.job_file)
        if "baselines" not in read_yaml(run.job_file).data:
            # The run is of an older version, which did not run presets with all of their steps.
            job = job.model_copy(update={"baselines": BaselinesSpec(full=False)})
        if "present" not in read_yaml(run.job_file).data:  # nor did it render anything again
            job = job.model_copy(update={"present": PresentSpec(size_px=0)})
        mirror, callbacks = _mirror(job, run), make_callbacks(job, run, callback)
        callback.doing("reading the study, pictures and weights")
        study = RunStudy.open(folder, goals=job.goals)
        space = space_of_run(job, space, study.notes)
        prepared = prepare_resumed(job, space, study.notes, run, say)
        study.note("over", None)
        with mirror, callbacks as notified:
            _search(study, run, space, prepared, notified, backend, say)


@contextmanager
def _explain_interrupts(run: RunDir) -> Iterator[None]:
    """Turn KeyboardInterrupt into a RunInterruptedError that says what to do next."""
    try:
        yield
    except KeyboardInterrupt:
        if run.is_run:
            log.info("stopped at once")  # for the log file: the terminal may be closed
            raise RunInterruptedError(f"stopped; {_how_to_continue(run)}") from None
        raise RunInterruptedError(
            f"interrupted before the first trial; {run.path} holds no run yet, launch the job again"
        ) from None


@contextmanager
def _explain_write_errors(run: RunDir) -> Iterator[None]:
    """Turn an error of a file or database into a WorkError that names it and says what to do."""
    try:
        with database_explained():
            yield
    except OSError as error:
        raise WorkError(
            f"{error.filename or run.path}: {error.strerror or error}; {_how_to_continue(run)}"
        ) from None


@contextmanager
def _deleted_on_error(run: RunDir) -> Iterator[None]:
    """Delete a new run after any error; turn an OSError into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        run.take_back()
        raise RunError(f"{error.filename or run.path}: {error.strerror or error}") from None
    except BaseException:
        run.take_back()
        raise


@contextmanager
def _deleted_if_refused(run: RunDir, study: RunStudy) -> Iterator[None]:
    """Delete a new run if the backend refuses it before the first trial."""
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
    """Run the trials of a study until the search is over or a signal ends the launch."""
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
    how_to_continue = _how_to_continue(run)
    if search.paused:
        search.lift_pause()
        say("the run was paused by `nst-tuner ctl`; it goes on")
    if not search.over:
        try:
            with interruptible(search.interrupt, say, f"stopped; {how_to_continue}"):
                backend.run(search, prepared.workload, prepared.job)
        except WorkError as error:
            raise WorkError(f"{error}; {how_to_continue}") from None
    if search.has_stopped or search.unfinished:
        log.info("stopped after a rung of each trial")  # for the log file, as above
        raise RunInterruptedError(
            f"interrupted with {len(search.unfinished)} unfinished trials; {how_to_continue}"
        )
    search.refuse_commands()
    records = study.records()
    if not search.others_running:
        _present(study, run, prepared, callback, say)
        study.note("over", search.reason)
    if records and all(record.state == "failed" for record in records):
        raise WorkError(
            f"all {len(records)} trials failed; the first: trial {records[0].trial}:"
            f" {records[0].reason}"
        )


def _present(
    study: RunStudy, run: RunDir, prepared: Prepared, callback: Callback, say: Say
) -> None:
    """Render the best results larger. A launch that ends here is completed by `resume`."""
    results, size_px = load_results(run.path), prepared.job.presented_px
    if size_px and results.ranked():
        weights = prepared.workload.weights.__getitem__
        reason = present(results, size_px, weights=weights, doing=callback.doing, say=say)
        study.note(NOT_PRESENTED, reason)


def _how_to_continue(run: RunDir) -> str:
    return f"all reports are kept, continue with `nst-tuner resume {run.path}`"


def environment() -> dict[str, object]:
    """Return the versions of Python and packages, the platform, and the present time."""
    packages = ("nst-tuner", "torch", "torchvision", "ray", "optuna", "scikit-image", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {name: version(name) for name in packages},
    }
