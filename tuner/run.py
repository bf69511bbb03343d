"""run_job and resume_run: a whole run, readable as a sentence."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from nst_core.built_in import BASELINES, runnable
from nst_core.errors import InputError, RunError, RunInterruptedError, WorkError
from nst_core.images import load_image, save_image
from nst_core.laplacian import check_photorealism
from nst_core.metric_names import weights_of, with_default
from nst_core.metrics import Judge
from nst_core.presets import Preset
from nst_core.references import make_reference
from nst_core.weights import Say, Weights, cached_path, get_weights
from search_spaces import Params, Space
from tuner.backend import Backend, Workload
from tuner.evaluate import baseline_scores, load_pair
from tuner.extend import extend
from tuner.interrupt import interruptible
from tuner.job import JobSpec, PairSpec, ReferenceSpec
from tuner.jobfile import load_job
from tuner.mirror import Mirror
from tuner.plan import Watcher
from tuner.records import Scores
from tuner.replay import check_replay
from tuner.rundir import RunDir
from tuner.runlog import logged
from tuner.search import Search
from tuner.storage import check_database, database_explained
from tuner.study import RunStudy, load_records
from tuner.warm import warm_starts
from tuner.watchers import watchers_of


class _Prepared(NamedTuple):
    """What a run starts with; ``job`` names the copies in the run directory."""

    job: JobSpec
    workload: Workload
    presets: list[tuple[Preset, str | None]]
    starts: Sequence[Params]
    replay: Mapping[int, Params] | None
    baselines: Sequence[Mapping[str, Scores]] = ()


def run_job(
    job: JobSpec, space: Space, folder: Path, backend: Backend, *, watcher: Watcher, say: Say
) -> None:
    """Start a run in ``folder`` and carry it to the job's target.

    Args:
        job: as `load_job` returns it, with its space.
        folder: becomes the run directory.
        backend: where trials run.
        watcher: is told of every trial.
        say: is told in one line of downloads and fallbacks.

    Raises:
        InputError: something the job names cannot be used; the folder is left untouched.
        WorkError: every trial failed.
    """
    run = RunDir(folder).begin()
    with run.held(), logged(run.log_file, say):
        try:
            watcher = watchers_of(job, run, watcher)
            mirror = _mirror(job, run)
            prepared = _prepare(job, space, run, say)
            notes = {
                "pair_baselines": prepared.baselines,
                "presets": [preset.name for preset, _ in prepared.presets],
                "starts": [dict(params) for params in prepared.starts],
                "environment": environment(),
            }
            with database_explained():
                study = RunStudy.create(
                    folder,
                    url=job.search.study,
                    name=job.name,
                    notes=notes,
                    **_study_settings(prepared.job),
                )
        except OSError as error:
            run.take_back()
            raise RunError(f"{error.filename or folder}: {error.strerror or error}") from None
        except BaseException:
            run.take_back()
            raise
        with _files_explained(run), mirror, _taken_back(run, study):
            _search(study, run, space, prepared, watcher, backend, say)


def resume_run(
    folder: Path,
    backend: Backend,
    *,
    watcher: Watcher,
    say: Say,
    changes: Sequence[str] = (),
) -> None:
    """Carry a run to its job's target, or to a new one.

    Args:
        folder: the run directory.
        backend: where trials run.
        watcher: is told of every trial.
        say: is told in one line of downloads and fallbacks.
        changes: to the job, as `extend` takes them.

    Raises:
        InputError: it is no run, another launch works on it, or a change is not allowed.
        WorkError: every trial failed.
    """
    run = RunDir(folder).require()
    with run.held(), logged(run.log_file, say), _files_explained(run):
        if changes:
            extend(folder, changes)
        job, space = load_job(run.job_file)
        mirror = _mirror(job, run)
        workload = load_workload(job, space, say)
        study = RunStudy.open(folder, **_study_settings(job))
        prepared = _Prepared(
            job=job,
            workload=workload,
            presets=[
                runnable(BASELINES[name], lambda network: network in workload.weights)
                for name in study.notes.get("presets", [])
            ],
            starts=study.notes.get("starts", space.starts),
            replay=_replay(job, space),
        )
        study.note("over", None)
        with mirror:
            watcher = watchers_of(job, run, watcher)
            _search(study, run, space, prepared, watcher, backend, say)


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


def _prepare(job: JobSpec, space: Space, run: RunDir, say: Say) -> _Prepared:
    """Everything that may refuse the job, before the first trial; the job is written last."""
    if space.may_set("photo_weight") != (0.0,):
        check_photorealism()
    if job.search.study:
        check_database(job.search.study, job.name, job.goals.directions)
    with tempfile.TemporaryDirectory() as made:
        job = with_references(job, Path(made), say)
        workload = load_workload(job, space, say)
        presets = baseline_presets(job, workload.weights, say)
        replay = _replay(job, space)
        judge = Judge.load(workload.weights.__getitem__, metrics=workload.metrics)
        baselines = baseline_scores([*workload.pairs, *workload.holdout], judge)
        starts, remarks = warm_starts(
            job.search.warm_start, space, workload.pairs[0].materials, job.search.trials
        )
        for remark in remarks:
            say(remark)
        starts = [*starts, *space.starts]
        return _Prepared(
            job=run.write_job(job),
            workload=workload,
            presets=presets,
            starts=starts,
            replay=replay,
            baselines=baselines,
        )


def _search(
    study: RunStudy,
    run: RunDir,
    space: Space,
    prepared: _Prepared,
    watcher: Watcher,
    backend: Backend,
    say: Say,
) -> None:
    search = Search(
        study,
        run,
        prepared.job,
        space,
        presets=prepared.presets,
        starts=prepared.starts,
        replay=prepared.replay,
        watcher=watcher,
    )
    go_on = f"go on with `nst-tuner resume {run.path}`"
    if not search.over:
        say("starting the engines")
        try:
            with interruptible(search.interrupt, say):
                backend.run(search, prepared.workload, prepared.job)
        except WorkError as error:
            raise WorkError(f"{error}; {go_on}") from None
        except KeyboardInterrupt:
            raise RunInterruptedError(f"stopped; nothing finished is lost, {go_on}") from None
    if search.wound_up or search.unfinished:
        raise RunInterruptedError(
            f"interrupted with {len(search.unfinished)} trials under way; nothing finished is lost,"
            f" {go_on}"
        )
    study.note("over", search.reason)
    records = study.records()
    if records and all(record.state == "failed" for record in records):
        raise WorkError(
            f"all {len(records)} trials failed; the first: trial {records[0].trial}:"
            f" {records[0].reason}"
        )


def with_references(job: JobSpec, folder: Path, say: Say) -> JobSpec:
    """The job with every reference that it asks to be made, made, as files in ``folder``.

    Raises:
        InputError: an optional extra is missing, or a file is not what it should be.
        WorkError: a long run diverged.
    """

    def made(pair: PairSpec, name: str) -> PairSpec:
        if not isinstance(pair.reference, ReferenceSpec):
            return pair
        say(f"making the reference of {name} ({pair.reference.source})")
        image = make_reference(
            pair.reference.source,
            load_image(pair.content),
            [(load_image(style.image), style.weight) for style in pair.style],
            size_px=job.size_px,
            weights=lambda name: get_weights(name, file=job.weights.get(name), say=say),
            encoder=Path(pair.reference.encoder) if pair.reference.encoder else None,
            decoder=Path(pair.reference.decoder) if pair.reference.decoder else None,
        )
        file = folder / f"{name.replace(' ', '')}.png"
        save_image(image, file)
        return pair.model_copy(update={"reference": str(file)})

    return job.model_copy(
        update={
            "pairs": [made(pair, f"pair {i}") for i, pair in enumerate(job.pairs)],
            "holdout": [made(pair, f"held-out pair {i}") for i, pair in enumerate(job.holdout)],
        }
    )


def load_workload(job: JobSpec, space: Space, say: Say) -> Workload:
    """Pictures, and the weights of every network that a trial or a metric reads."""
    metrics = with_default(job.goals.measures)
    needed = {*weights_of(metrics), *space.may_set("extractor")}
    if job.search.presets:
        needed |= {"vgg16"}  # where a preset's own network has no weights
    weights: dict[str, Weights] = {
        name: get_weights(name, file=job.weights.get(name), say=say) for name in sorted(needed)
    }
    if job.search.presets:
        for name in sorted({preset.config.extractor for preset in BASELINES.values()} - needed):
            if name in job.weights or cached_path(name).is_file():
                weights[name] = get_weights(name, file=job.weights.get(name), say=say)
    feed_forward = "feed_forward" in space.may_set("init")
    pairs, holdout = (
        [load_pair(pair, job.size_px, feed_forward=feed_forward) for pair in listed]
        for listed in (job.pairs, job.holdout)
    )
    return Workload(pairs=pairs, weights=weights, holdout=holdout, metrics=metrics)


def baseline_presets(
    job: JobSpec, weights: Mapping[str, Weights], say: Say
) -> list[tuple[Preset, str | None]]:
    """The built-in presets to run first, at most half of the trials, each with a note."""
    if not job.search.presets:
        return []
    found = [runnable(preset, lambda name: name in weights) for preset in BASELINES.values()]
    for preset, note in found:
        if note:
            say(f"{preset.name}: {note}")
    return found[: job.search.trials // 2]


def _replay(job: JobSpec, space: Space) -> dict[int, Params] | None:
    if job.search.replay is None:
        return None
    records, _ = load_records(RunDir(Path(job.search.replay)).require().path)
    return check_replay(job, space, records)


def _study_settings(job: JobSpec) -> dict[str, Any]:
    return {
        "sampler": job.search.sampler,
        "seed": job.search.seed,
        "goals": job.goals,
    }


def environment() -> dict[str, object]:
    """Versions and machine, for the record of a run."""
    packages = ("nst-tuner", "torch", "torchvision", "ray", "optuna", "scikit-image", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {name: version(name) for name in packages},
    }
