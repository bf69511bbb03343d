"""Preparation of a run: images, weights, presets, initial points and baselines."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from nst_core.errors import ConfigError, InputError, RunError, Say
from nst_core.losses.laplacian import check_photorealism
from nst_core.metrics.registry import weights_of, with_default
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights, get_weights, is_cached, tensor_digest
from nst_core.presets.built_in import BASELINES, runnable
from nst_core.presets.preset import Preset
from nst_core.references import LONG_RUN_CONFIG
from search_spaces import CATALOGUE, Params, Space, space_from_dict
from tuner.engine.costs import check_costs
from tuner.engine.pairs import baseline_scores, load_pair, with_references
from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec, ReferenceSpec, StylizerSpec
from tuner.run.replay import replay_of
from tuner.sampling.sobol_grid import grid_size
from tuner.search.precision import precision_problems
from tuner.study.preflight_checks import check_runs_of
from tuner.study.records import Scores
from tuner.study.run_dir import RunDir
from tuner.study.storage import SPACE, check_database
from tuner.transfer.warm_start import warm_starts


class Prepared(NamedTuple):
    """Everything that a run needs before its first trial.

    Attributes:
        job: the job; its paths are those of the copies in the run directory.
        workload: the pairs, weights and metrics of all trials.
        presets: baseline presets, each with a note or None.
        initial_points: parameters of the first trials after the presets.
        replay: recorded parameters to use instead of drawing, or None.
        baselines: for each pair, the scores of its baselines; empty in a run that is resumed.
    """

    job: JobSpec
    workload: Workload
    presets: list[tuple[Preset, str | None]]
    initial_points: Sequence[Params]
    replay: Sequence[Params] | None
    baselines: Sequence[Mapping[str, Scores]] = ()


def prepare(
    job: JobSpec, space: Space, run: RunDir, say: Say, doing: Say = lambda _: None
) -> Prepared:
    """Check the job, load its files and write the job to the run directory as the last step.

    Args:
        job: the job, as `load_job` returns it.
        space: the job's search space.
        run: the new run directory.
        say: receives lines about downloads, fallbacks and settings without effect.
        doing: receives the present activity; see `Callback.doing`.

    Raises:
        InputError: something that the job names cannot be used; then nothing of the run is written.
    """
    refuse_unused_keys(job, space)
    if job.resources.device == "cpu":
        check_costs(job, gpu=False)
    for line in _without_effect(job, space):
        say(line)
    if any(space.may_set("photo_weight")):
        check_photorealism()
    if job.stylizer is not None:
        doing(f"loading {job.stylizer.name}")
        _check_stylizer(job.stylizer)
    if job.search.study:
        check_database(job.search.study, job.name, job.goals.directions)
    check_runs_of(job)  # before references are computed, which may take long
    with tempfile.TemporaryDirectory() as folder:
        job = with_references(job, Path(folder), say)
        doing("reading images and weights")
        workload = load_workload(job, space, say)
        presets = baseline_presets(job, workload.weights, say)
        replay = replay_of(job, space, presets=len(presets))
        doing("scoring the baselines")
        suite = MetricSuite.load(workload.weights.__getitem__, metrics=workload.metrics)
        baselines = baseline_scores([*workload.pairs, *workload.holdout], suite)
        if job.search.warm_start:
            doing("choosing initial points")
        points, remarks = warm_starts(job.search.warm_start, space, job.search.trials, job.goals)
        for remark in remarks:
            say(remark)
        first = [] if space.defaults is None else [space.defaults]
        points = list({repr(p): p for p in [*first, *points, *space.initial_points]}.values())
        return Prepared(
            job=run.write_job(job),
            workload=workload,
            presets=presets,
            initial_points=points,
            replay=replay,
            baselines=baselines,
        )


def refuse_unused_keys(job: JobSpec, space: Space) -> None:
    """Refuse keys of a job that the run would never use.

    Limits that are useful for a quick try, such as ``finals.count: 0`` with held-out pairs, are
    not refused but reported (`_without_effect`).

    Raises:
        ConfigError: the job has such keys; the error names all of them.
    """
    problems = []
    if job.search.replay and job.search.warm_start:
        problems.append(
            "search.warm_start: has no effect together with search.replay; remove one of them"
        )
    if job.resources.device == "cpu":
        problems += [
            f"resources.{key}: contradicts `device: cpu`; remove one of them"
            for key, unused in (("gpus", None), ("engines_per_gpu", 1))
            if getattr(job.resources, key) != unused
        ]
    problems += precision_problems(job, space)
    uses_start = "image" in space.may_set("init")
    for key, pairs in (("pairs", job.pairs), ("holdout", job.holdout)):
        for index, pair in enumerate(pairs):
            if pair.start and not uses_start:
                problems.append(
                    f"{key}.{index}.start: no trial in the space {space.name} starts from an image;"
                    " remove this key, or choose a space with `init: image`"
                )
            per_region = Counter(style.region for style in pair.style)
            problems += [
                f"{key}.{index}.style.{k}.weight: divides a region among several style images, but"
                " this image has its region to itself; remove this key"
                for k, style in enumerate(pair.style)
                if style.weight != 1 and per_region[style.region] < 2
            ]
    networks = {*weights_of(with_default(job.goals.measures)), *space.may_set("extractor")}
    if job.search.presets:
        networks |= {"vgg16", *(preset.config.extractor for preset in BASELINES.values())}
    if any(isinstance(p.reference, ReferenceSpec) for p in [*job.pairs, *job.holdout]):
        networks.add(LONG_RUN_CONFIG.extractor)
    problems += [
        f"weights.{name}: the run does not use this network, only {', '.join(sorted(networks))};"
        " remove this key"
        for name in job.weights
        if name not in networks
    ]
    if problems:
        raise ConfigError(f"job {job.name}", problems)


def _check_stylizer(stylizer: StylizerSpec) -> None:
    """Raise InputError if a stylizer cannot be loaded: every trial would fail for that reason."""
    from tuner.stylizers.once import check_loads

    if problem := check_loads(stylizer.to_plain()):
        raise InputError(f"stylizer: {stylizer.name} cannot be loaded: {problem}")


def _without_effect(job: JobSpec, space: Space) -> list[str]:
    """Return a line about each setting that has no effect together with the others."""
    lines = []
    if job.holdout and not job.finals.count:
        lines.append("holdout: has no effect, because only finals use it and finals.count is 0")
    if job.stylizer is not None and space.defaults is None:
        lines.append(
            f"{space.name}: has no `defaults`, so no trial shows what {job.stylizer.name} does"
            " without tuning"
        )
    if job.search.sampler == "grid":
        size = grid_size(space)
        if size < job.search.trials:
            lines.append(
                f"search.trials: the grid of {space.name} has only {size} points, which are then"
                " tried again"
            )
    return lines


def prepare_resumed(
    job: JobSpec, space: Space, notes: Mapping[str, Any], run: RunDir, say: Say
) -> Prepared:
    """Load everything that a run needs to be resumed.

    Args:
        job: the job in the run directory.
        space: the job's search space.
        notes: notes of the run's study.
        run: the run directory.
        say: receives lines about downloads and fallbacks.

    Raises:
        InputError: an image or a file of weights is missing.
        RunError: the run has a preset that this version does not have.
    """
    workload = load_workload(job, space, say)
    presets = _presets_of(job, notes, workload.weights, run.path)
    return Prepared(
        job=job,
        workload=workload,
        presets=presets,
        initial_points=notes.get("starts", space.initial_points),
        replay=replay_of(job, space, presets=len(presets)),
    )


def space_of_run(job: JobSpec, space: Space, notes: Mapping[str, Any]) -> Space:
    """Return the search space that a run began with, for its continuation.

    A named space is read from the study: this version may declare another one by that name. The
    space of a file is the file's, which is in the run directory.

    Args:
        job: the job in the run directory.
        space: the job's search space in this version.
        notes: notes of the run's study.
    """
    if job.space_name not in CATALOGUE or SPACE not in notes:  # older runs have no such note
        return space
    return space_from_dict(notes[SPACE], f"the search space of {job.name}")


def load_workload(job: JobSpec, space: Space, say: Say) -> Workload:
    """Load the images, and the weights of all networks that a trial or a metric may use."""
    metrics = with_default(job.goals.measures)
    needed = {*weights_of(metrics), *space.may_set("extractor")}
    if job.search.presets:
        needed |= {"vgg16"}  # it replaces the network of a preset whose weights are missing
    weights: dict[str, Weights] = {
        name: get_weights(name, file=job.weights.get(name), say=say) for name in sorted(needed)
    }
    if job.search.presets:
        for name in sorted({preset.config.extractor for preset in BASELINES.values()} - needed):
            if name in job.weights or is_cached(name):
                weights[name] = get_weights(name, file=job.weights.get(name), say=say)
    feed_forward = "feed_forward" in space.may_set("init")
    pairs, holdout = (
        [load_pair(pair, job.size_px, feed_forward=feed_forward) for pair in pairs_of_job]
        for pairs_of_job in (job.pairs, job.holdout)
    )
    return Workload(
        pairs=pairs,
        weights=weights,
        holdout=holdout,
        metrics=metrics,
        precision=job.resources.precision,
        stylizer=None if job.stylizer is None else job.stylizer.to_plain(),
    )


def weight_digests(job: JobSpec, workload: Workload) -> dict[str, str]:
    """Return a digest of each network's weights that the job names, to detect other weights."""
    named = {name: workload.weights[name] for name in job.weights if name in workload.weights}
    return {name: tensor_digest(weights) for name, weights in named.items()}


def baseline_presets(
    job: JobSpec, weights: Mapping[str, Weights], say: Say
) -> list[tuple[Preset, str | None]]:
    """Return the built-in presets to run first, for at most half of the trials, with notes.

    Args:
        job: the job.
        weights: the weights that are present, by network.
        say: receives a line if presets run with other settings than published.
    """
    if not job.search.presets:
        return []
    chosen = list(BASELINES.values())[: job.search.trials // 2]
    presets = _runnable(chosen, job, weights)
    if line := _substitutions(presets):
        say(line)
    return presets


def _substitutions(presets: Sequence[tuple[Preset, str | None]]) -> str:
    """Return one line about presets that differ from the published ones, with a remedy, or ""."""
    moved = [p for p, _ in presets if p.config.extractor != BASELINES[p.name].config.extractor]
    cast = [p.name for p, _ in presets if p.config.precision != BASELINES[p.name].config.precision]
    parts = []
    if moved:
        missing = dict.fromkeys(BASELINES[preset.name].config.extractor for preset in moved)
        parts.append(
            f"{len(moved)} of {len(presets)} presets run on {moved[0].config.extractor}, because"
            f" weights of {' and '.join(missing)} are missing;"
            f" `nst-tuner weights fetch {' '.join(missing)}` downloads them"
        )
    if cast:
        parts.append(f"{' and '.join(cast)}: float32, because float16 needs a GPU")
    return "; ".join(parts)


def _presets_of(
    job: JobSpec, notes: Mapping[str, Any], weights: Mapping[str, Weights], folder: Path
) -> list[tuple[Preset, str | None]]:
    """Return the presets of a run, with notes, in the order of its first trials."""
    names = notes.get("presets", [])
    if unknown := [name for name in names if name not in BASELINES]:
        packages = notes.get("environment", {}).get("packages", {})
        began = packages.get("nst-tuner", "another version")
        raise RunError(
            f"{folder}: the run has the preset {unknown[0]!r}, which nst-tuner"
            f" {version('nst-tuner')} does not have; resume it with the version that began it"
            f" ({began})"
        )
    return _runnable([BASELINES[name] for name in names], job, weights)


def _runnable(
    presets: Sequence[Preset], job: JobSpec, weights: Mapping[str, Weights]
) -> list[tuple[Preset, str | None]]:
    """Return presets as they can run here, with notes; the job's precision replaces their own."""
    replaced = job.resources.precision is not None
    return [runnable(preset, weights.__contains__, half=replaced) for preset in presets]
