"""Configurations for a pair that was never tuned, from pairs that were.

Pairs whose pictures have similar statistics want similar settings, so a configuration is judged by
what it reached on the pairs that were tuned, the more similar ones counting more.
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

#: Two suggestions are at least so far apart: a second one like the first tells little.
APART = 0.2


@dataclass(frozen=True, kw_only=True)
class Experience:
    """What was tried on one pair.

    Attributes:
        name: of the pair.
        features_F: statistics of its pictures.
        params: that were tried.
        share_N: the objective of each, at its best step, as a share of the untouched content's.
        steps_N: at which step.
    """

    name: str
    features_F: np.ndarray
    params: Sequence[Params]
    share_N: np.ndarray
    steps_N: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A configuration worth trying first.

    Attributes:
        params: of the space.
        steps: where similar pairs were best.
        share: expected objective as a share of the untouched content's; lower is better.
        like: the tuned pairs that count most, with their weights.
    """

    params: Params
    steps: int
    share: float
    like: Sequence[tuple[str, float]]


def experiences_of(curves: Curves, metric: str = "lpips") -> list[Experience]:
    """One for each recorded pair; a metric where lower is better."""
    index = curves.metrics.index(metric)
    found = []
    for pair in curves.pairs.values():
        share_NS = pair.score_NSM[:, :, index] / pair.untouched[metric]
        share_NS = np.where(np.isnan(share_NS), np.inf, share_NS)
        at_N = share_NS.argmin(1)
        found.append(
            Experience(
                name=pair.name,
                features_F=pair.features_F,
                params=curves.params,
                share_N=np.minimum(share_NS.min(1), 2.0),  # a lane that diverged is just bad
                steps_N=np.asarray(curves.steps)[at_N],
            )
        )
    return found


def experience_of_run(folder: Path, space: Space) -> Experience:
    """What a run of ours found, on the first of its pairs.

    Raises:
        RunError: it is no run.
        InputError: it searched another space or objective, or found nothing.
    """
    run = RunDir(folder).require()
    job, searched = load_job(run.job_file)
    if searched.name != space.name or job.goals.name != "lpips":
        raise InputError(
            f"{folder}: searched the space {searched.name} for {job.goals.name}, expected"
            f" {space.name} for lpips"
        )
    results = load_results(folder)
    # A space may have changed between versions, and one of the user's own may have that name.
    found = [
        f
        for f in results.ranked()
        if f.record.searched and fitting(f.record.params, space) == f.record.params
    ]
    if not found:
        raise InputError(f"{folder}: has found nothing yet that fits the space {space.name}")
    untouched = results.pair_baselines[0]["content"]["lpips"]
    if untouched <= 0:
        raise InputError(f"{folder}: the reference of its first pair is the content as it is")
    pair = load_pair(job.pairs[0], job.size_px)
    return Experience(
        name=job.name,
        features_F=np.asarray(picture_features(pair.inputs)),
        params=[f.record.params for f in found],
        share_N=np.asarray([f.rung.on_pair(0)["lpips"] / untouched for f in found]),
        steps_N=np.asarray([f.steps for f in found]),
    )


def fitting(params: Params, space: Space) -> Params:
    """The values that a space has a place for; the others are left to the sampler."""
    fits: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if name in params and space.active(name, fits) and parameter.contains(params[name]):
            fits[name] = params[name]
    return fits


def suggest(
    materials: LossInputs,
    experiences: Sequence[Experience],
    space: Space,
    kernel: Kernel,
    *,
    top: int = 3,
) -> list[Suggestion]:
    """The most promising configurations for a pair, best first, none like another.

    Args:
        materials: its pictures.
        experiences: at least one.
        space: that all were searched in.
        kernel: how alike its configurations are expected to score.
        top: how many.
    """
    features_F = np.asarray(picture_features(materials))
    return suggest_for(features_F, experiences, space, kernel, top=top)


def suggest_for(
    features_F: np.ndarray,
    experiences: Sequence[Experience],
    space: Space,
    kernel: Kernel,
    *,
    top: int = 3,
) -> list[Suggestion]:
    """As `suggest`, of pictures with these statistics."""
    weight_P = similarities(features_F, [one.features_F for one in experiences])
    candidates, points_CD = _candidates(experiences, space)
    found_C2 = np.zeros((len(candidates), 2))
    for weight, one in zip(weight_P, experiences, strict=True):
        tried_N2 = np.stack([one.share_N, np.log(one.steps_N)], 1)
        found_C2 += weight * GaussianProcess(encode_all(space, one.params), tried_N2, kernel)(
            points_CD
        )
    share_C, steps_C = found_C2.T
    like = sorted(
        zip([one.name for one in experiences], weight_P.tolist(), strict=True), key=lambda x: -x[1]
    )
    return [
        Suggestion(
            params=candidates[index],
            steps=round(float(np.exp(steps_C[index]))),
            share=float(share_C[index]),
            like=like[:3],
        )
        for index in apart(np.argsort(share_C, kind="stable").tolist(), points_CD, top)
    ]


def similarities(features_F: np.ndarray, known: Iterable[np.ndarray]) -> np.ndarray:
    """Weights of the known pairs, summing to 1: a bell curve over the distance of statistics.

    Each statistic counts by how much it varies among the known pairs; the bell is as wide as the
    distance to the second nearest, so that a few count wherever the pair lies: what one alone
    says is its own luck, too (`benchmarks.search` leaves pairs out to see).
    """
    known_PF = np.stack(list(known))
    spread_F = np.maximum(known_PF.std(0), 0.05)
    distance_P = np.linalg.norm((known_PF - features_F) / spread_F, axis=1)
    width = max(float(np.sort(distance_P)[:2][-1]), 1e-6)
    weight_P = np.exp(-((distance_P / width) ** 2))
    return np.asarray(weight_P / weight_P.sum())


def _candidates(experiences: Sequence[Experience], space: Space) -> tuple[list[Params], np.ndarray]:
    """Every configuration that was tried on any of the pairs, once."""
    unique = {tuple(sorted(params.items())): params for one in experiences for params in one.params}
    candidates = list(unique.values())
    return candidates, encode_all(space, candidates)


def apart(ranked: Iterable[int], points_CD: np.ndarray, top: int) -> list[int]:
    """The first ``top`` indices of a ranking whose points are not like one before them."""
    chosen: list[int] = []
    for index in ranked:
        gaps = [float(np.linalg.norm(points_CD[index] - points_CD[c])) for c in chosen]
        if all(gap >= APART for gap in gaps):
            chosen.append(index)
        if len(chosen) == top:
            break
    return chosen
