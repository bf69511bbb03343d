"""Suggest: configurations for a new pair, from pairs that were tuned before.

Pairs whose pictures have similar statistics need similar settings. So a configuration is judged by
its scores on the tuned pairs, and more similar pairs have a larger weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nst_core.errors import InputError
from nst_core.losses.inputs import LossInputs
from search_spaces import Params, Space
from tuner.engine.pairs import load_pair
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.sampling.encoding import encode_all
from tuner.sampling.gaussian_process import GaussianProcess, Kernel
from tuner.study.run_dir import RunDir
from tuner.transfer.curves import Curves
from tuner.transfer.picture_statistics import picture_features

#: Least distance between two suggestions in encoded coordinates: a second suggestion that is like
#: the first adds little.
APART = 0.2


@dataclass(frozen=True, kw_only=True)
class Experience:
    """Configurations that were tried on one pair, with their results.

    Attributes:
        name: name of the pair.
        features_F: statistics of its pictures, see `picture_statistics.FEATURES`.
        params: parameters of the N configurations.
        share_N: objective of each at its best step, divided by that of the untouched content.
        steps_N: best step of each.
    """

    name: str
    features_F: np.ndarray
    params: Sequence[Params]
    share_N: np.ndarray
    steps_N: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A promising configuration for a new pair.

    Attributes:
        params: parameters of the space.
        steps: number of steps after which similar pairs were best.
        share: expected objective divided by that of the untouched content; lower is better.
        like: the most similar tuned pairs, with their weights.
    """

    params: Params
    steps: int
    share: float
    like: Sequence[tuple[str, float]]


def experiences_of(curves: Curves, metric: str = "lpips") -> list[Experience]:
    """Return an experience for each recorded pair.

    Args:
        curves: recorded curves.
        metric: name of the objective, a metric for which lower is better.
    """
    index = curves.metrics.index(metric)
    experiences = []
    for pair in curves.pairs.values():
        share_NS = pair.score_NSM[:, :, index] / pair.untouched[metric]
        share_NS = np.where(np.isnan(share_NS), np.inf, share_NS)
        best_N = share_NS.argmin(1)
        experiences.append(
            Experience(
                name=pair.name,
                features_F=pair.features_F,
                params=curves.params,
                share_N=np.minimum(share_NS.min(1), 2.0),  # a diverged lane counts as a bad one
                steps_N=np.asarray(curves.steps)[best_N],
            )
        )
    return experiences


def experience_of_run(folder: Path, space: Space) -> Experience:
    """Return the experience of a run with the first of its pairs.

    Args:
        folder: the run directory.
        space: space of the suggestions.

    Raises:
        RunError: the folder is not a run directory.
        InputError: the run searched another space or objective, or has no usable trial yet.
    """
    run = RunDir(folder).require()
    job, searched = load_job(run.job_file)
    if searched.name != space.name or job.goals.name != "lpips":
        raise InputError(
            f"{folder}: searched the space {searched.name} for {job.goals.name}, expected"
            f" {space.name} for lpips"
        )
    results = load_results(folder)
    # The space may have changed between versions, or the user's own space may have the same name.
    trials = [
        trial
        for trial in results.ranked()
        if trial.record.searched and fitting(trial.record.params, space) == trial.record.params
    ]
    if not trials:
        raise InputError(f"{folder}: no trial of this run fits the space {space.name} so far")
    untouched = results.pair_baselines[0]["content"]["lpips"]
    if untouched <= 0:
        raise InputError(
            f"{folder}: the reference of its first pair equals its content, so scores cannot be"
            " compared with those of other pairs"
        )
    pair = load_pair(job.pairs[0], job.size_px)
    return Experience(
        name=job.name,
        features_F=np.asarray(picture_features(pair.inputs)),
        params=[trial.record.params for trial in trials],
        share_N=np.asarray([trial.rung.on_pair(0)["lpips"] / untouched for trial in trials]),
        steps_N=np.asarray([trial.steps for trial in trials]),
    )


def fitting(params: Params, space: Space) -> Params:
    """Return the values that are valid in a space; the sampler chooses all others."""
    valid: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if name in params and space.active(name, valid) and parameter.contains(params[name]):
            valid[name] = params[name]
    return valid


def suggest(
    inputs: LossInputs,
    experiences: Sequence[Experience],
    space: Space,
    kernel: Kernel,
    *,
    top: int = 3,
) -> list[Suggestion]:
    """Return the most promising configurations for a pair, best first, all of them different.

    Args:
        inputs: pictures of the pair.
        experiences: experiences with other pairs, at least one.
        space: search space of all experiences.
        kernel: kernel of the Gaussian process that predicts scores in this space.
        top: number of configurations to return.
    """
    features_F = np.asarray(picture_features(inputs))
    return suggest_for(features_F, experiences, space, kernel, top=top)


def suggest_for(
    features_F: np.ndarray,
    experiences: Sequence[Experience],
    space: Space,
    kernel: Kernel,
    *,
    top: int = 3,
) -> list[Suggestion]:
    """Like `suggest`, from precomputed statistics of the pictures."""
    weight_P = similarities(features_F, [experience.features_F for experience in experiences])
    candidates, points_CD = _candidates(experiences, space)
    predicted_C2 = np.zeros((len(candidates), 2))
    for weight, experience in zip(weight_P, experiences, strict=True):
        values_N2 = np.stack([experience.share_N, np.log(experience.steps_N)], 1)
        points_ND = encode_all(space, experience.params)
        predicted_C2 += weight * GaussianProcess(points_ND, values_N2, kernel)(points_CD)
    share_C, log_steps_C = predicted_C2.T
    names = [experience.name for experience in experiences]
    like = sorted(zip(names, weight_P.tolist(), strict=True), key=lambda pair: -pair[1])
    return [
        Suggestion(
            params=candidates[index],
            steps=round(float(np.exp(log_steps_C[index]))),
            share=float(share_C[index]),
            like=like[:3],
        )
        for index in apart(np.argsort(share_C, kind="stable").tolist(), points_CD, top)
    ]


def similarities(features_F: np.ndarray, known: Iterable[np.ndarray]) -> np.ndarray:
    """Return a weight for each known pair: a Gaussian of the distance between the statistics.

    Each statistic is divided by its standard deviation among the known pairs. The width of the
    Gaussian is the distance to the second nearest pair, so that always several pairs count: the
    results of a single pair also depend on chance (`benchmarks.search` measures that by leaving
    pairs out).

    Args:
        features_F: statistics of the new pair.
        known: statistics of the known pairs.

    Returns:
        Weights that sum to 1.
    """
    known_PF = np.stack(list(known))
    spread_F = np.maximum(known_PF.std(0), 0.05)
    distance_P = np.linalg.norm((known_PF - features_F) / spread_F, axis=1)
    width = max(float(np.sort(distance_P)[:2][-1]), 1e-6)
    weight_P = np.exp(-((distance_P / width) ** 2))
    return np.asarray(weight_P / weight_P.sum())


def _candidates(experiences: Sequence[Experience], space: Space) -> tuple[list[Params], np.ndarray]:
    """Return every configuration that was tried on any pair, once, and its encoded points."""
    unique = {tuple(sorted(params.items())): params for e in experiences for params in e.params}
    candidates = list(unique.values())
    return candidates, encode_all(space, candidates)


def apart(ranked: Iterable[int], points_CD: np.ndarray, top: int) -> list[int]:
    """Return the first ``top`` indices of a ranking whose points are at least `APART` apart."""
    chosen: list[int] = []
    for index in ranked:
        gaps = [float(np.linalg.norm(points_CD[index] - points_CD[c])) for c in chosen]
        if all(gap >= APART for gap in gaps):
            chosen.append(index)
        if len(chosen) == top:
            break
    return chosen
