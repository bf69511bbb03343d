"""What a run starts with: pictures, weights, presets, starts, baselines."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from nst_core.errors import ConfigError, RunError, Say
from nst_core.losses.laplacian import check_photorealism
from nst_core.metrics.registry import weights_of, with_default
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights, get_weights, is_cached, tensor_digest
from nst_core.presets.built_in import BASELINES, runnable
from nst_core.presets.preset import Preset
from nst_core.references import LONG_RUN_CONFIG
from search_spaces import Params, Space
from tuner.engine.costs import check_costs
from tuner.engine.pairs import baseline_scores, load_pair, with_references
from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec, ReferenceSpec
from tuner.run.replay import replay_of
from tuner.sampling.sobol_grid import grid_size
from tuner.study.early_checks import check_runs_of
from tuner.study.records import Scores
from tuner.study.run_dir import RunDir
from tuner.study.storage import check_database
from tuner.transfer.warm_start import warm_starts


class Prepared(NamedTuple):
    """What a run starts with; ``job`` names the copies in the run directory."""

    job: JobSpec
    workload: Workload
    presets: list[tuple[Preset, str | None]]
    initial_points: Sequence[Params]
    replay: Sequence[Params] | None
    baselines: Sequence[Mapping[str, Scores]] = ()


def prepare(
    job: JobSpec, space: Space, run: RunDir, say: Say, doing: Say = lambda _: None
) -> Prepared:
    """Everything that may refuse the job, before the first trial; the job is written last.

    Args:
        job: as `load_job` returns it.
        space: its space.
        run: its directory.
        say: is told of downloads and fallbacks.
        doing: is told what is being done, as `Callback.doing` is.

    Raises:
        InputError: something that it names cannot be used; of the run nothing is written.
    """
    refuse_vain_keys(job, space)
    if job.resources.device == "cpu":
        check_costs(job, gpu=False)
    for remark in _without_effect(job, space):
        say(remark)
    if space.may_set("photo_weight") != (0.0,):
        check_photorealism()
    if job.search.study:
        check_database(job.search.study, job.name, job.goals.directions)
    check_runs_of(job)  # before references are made, which may take long
    with tempfile.TemporaryDirectory() as made:
        job = with_references(job, Path(made), say)
        doing("reading pictures and weights")
        workload = load_workload(job, space, say)
        presets = baseline_presets(job, workload.weights, say)
        replay = replay_of(job, space, presets=len(presets))
        doing("scoring the untouched pictures")
        judge = MetricSuite.load(workload.weights.__getitem__, metrics=workload.metrics)
        baselines = baseline_scores([*workload.pairs, *workload.holdout], judge)
        if job.search.warm_start:
            doing("choosing starting points")
        starts, remarks = warm_starts(
            job.search.warm_start, space, workload.pairs[0].inputs, job.search.trials, job.goals
        )
        for remark in remarks:
            say(remark)
        starts = [*starts, *(start for start in space.initial_points if start not in starts)]
        return Prepared(
            job=run.write_job(job),
            workload=workload,
            presets=presets,
            initial_points=starts,
            replay=replay,
            baselines=baselines,
        )


def refuse_vain_keys(job: JobSpec, space: Space) -> None:
    """Refuse keys that name files or numbers which the run would never look at.

    Limits that a quick try may set, such as ``finals.count: 0`` beside held-out pairs, are only
    remarked on (`_without_effect`).

    Raises:
        ConfigError: with all of them at once.
    """
    problems = []
    if job.search.replay and job.search.warm_start:
        problems.append("search.warm_start: changes nothing beside search.replay; leave one out")
    if job.resources.device == "cpu" and job.resources.gpus:
        problems.append("resources.gpus: contradicts device: cpu; leave one out")
    starts = "image" in space.may_set("init")
    for key, pairs in (("pairs", job.pairs), ("holdout", job.holdout)):
        for index, pair in enumerate(pairs):
            if pair.start and not starts:
                problems.append(
                    f"{key}.{index}.start: the space {space.name} never starts from it; leave it"
                    " out, or take a space that fixes init: image"
                )
            together = Counter(style.region for style in pair.style)
            problems += [
                f"{key}.{index}.style.{k}.weight: divides a region between several style images,"
                " and this one is alone there; leave it out"
                for k, style in enumerate(pair.style)
                if style.weight != 1 and together[style.region] < 2
            ]
    networks = {*weights_of(with_default(job.goals.measures)), *space.may_set("extractor")}
    if job.search.presets:
        networks |= {"vgg16", *(preset.config.extractor for preset in BASELINES.values())}
    if any(isinstance(p.reference, ReferenceSpec) for p in [*job.pairs, *job.holdout]):
        networks.add(LONG_RUN_CONFIG.extractor)
    problems += [
        f"weights.{name}: the run reads {', '.join(sorted(networks))} and not this; leave it out"
        for name in job.weights
        if name not in networks
    ]
    if problems:
        raise ConfigError(f"job {job.name}", problems)


def _without_effect(job: JobSpec, space: Space) -> list[str]:
    """What the job asks for that does nothing beside its other settings."""
    remarks = []
    if job.holdout and not job.finals.count:
        remarks.append("holdout: only finals are scored on it, and finals.count is 0")
    if job.search.replay and job.search.warm_start:
        remarks.append("search.warm_start: without effect beside search.replay")
    if job.resources.device == "cpu" and job.resources.gpus:
        remarks.append("resources.gpus: without effect beside device: cpu")
    if job.search.sampler == "grid":
        size = grid_size(space)
        if size < job.search.trials:
            remarks.append(
                f"search.trials: the grid of {space.name} has {size} points, which begin anew"
                " after that"
            )
    return remarks


def prepared_before(
    job: JobSpec, space: Space, notes: Mapping[str, Any], run: RunDir, say: Say
) -> Prepared:
    """What a run started with that goes on.

    Args:
        job: as the run keeps it.
        space: its space.
        notes: of its study.
        run: its directory.
        say: is told of downloads.

    Raises:
        InputError: a picture or weights are not there any more.
        RunError: it began with a preset that this version does not have.
    """
    workload = load_workload(job, space, say)
    presets = _presets_of(notes, workload.weights, run.path)
    return Prepared(
        job=job,
        workload=workload,
        presets=presets,
        initial_points=notes.get("starts", space.initial_points),
        replay=replay_of(job, space, presets=len(presets)),
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
            if name in job.weights or is_cached(name):
                weights[name] = get_weights(name, file=job.weights.get(name), say=say)
    feed_forward = "feed_forward" in space.may_set("init")
    pairs, holdout = (
        [load_pair(pair, job.size_px, feed_forward=feed_forward) for pair in listed]
        for listed in (job.pairs, job.holdout)
    )
    return Workload(pairs=pairs, weights=weights, holdout=holdout, metrics=metrics)


def digests_of(job: JobSpec, workload: Workload) -> dict[str, str]:
    """Of the weights that come from files of the job, to know them again by; by network."""
    read = {name: workload.weights[name] for name in job.weights if name in workload.weights}
    return {name: tensor_digest(weights) for name, weights in read.items()}


def baseline_presets(
    job: JobSpec, weights: Mapping[str, Weights], say: Say
) -> list[tuple[Preset, str | None]]:
    """The built-in presets to run first, at most half of the trials, each with a note."""
    if not job.search.presets:
        return []
    chosen = list(BASELINES.values())[: job.search.trials // 2]
    found = [runnable(preset, lambda name: name in weights) for preset in chosen]
    if line := _substitutions(found):
        say(line)
    return found


def _substitutions(found: Sequence[tuple[Preset, str | None]]) -> str:
    """In one line, how presets run otherwise than published, and what helps; empty if none does."""
    moved = [p for p, _ in found if p.config.extractor != BASELINES[p.name].config.extractor]
    cast = [p.name for p, _ in found if p.config.precision != BASELINES[p.name].config.precision]
    parts = []
    if moved:
        lacking = dict.fromkeys(BASELINES[preset.name].config.extractor for preset in moved)
        parts.append(
            f"{len(moved)} of {len(found)} presets run on {moved[0].config.extractor}, as weights"
            f" of {' and '.join(lacking)} are missing:"
            f" `nst-tuner weights fetch {' '.join(lacking)}` fetches them"
        )
    if cast:
        parts.append(f"{' and '.join(cast)}: float32, as float16 is for GPUs")
    return "; ".join(parts)


def _presets_of(
    notes: Mapping[str, Any], weights: Mapping[str, Weights], folder: Path
) -> list[tuple[Preset, str | None]]:
    """The presets that a run began with, which its first trials are by their numbers."""
    names = notes.get("presets", [])
    if unknown := [name for name in names if name not in BASELINES]:
        began = notes.get("environment", {}).get("packages", {}).get("nst-tuner", "another version")
        raise RunError(
            f"{folder}: began with the preset {unknown[0]!r}, which nst-tuner"
            f" {version('nst-tuner')} does not have; go on with the one that began it ({began})"
        )
    return [runnable(BASELINES[name], lambda network: network in weights) for name in names]
