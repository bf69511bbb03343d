"""Metric disagreement: pictures that LPIPS and ST-LPIPS order differently.

LPIPS also counts where exactly a brush stroke is; ST-LPIPS hardly does. Where the two disagree, it
is worth looking at the pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any, ClassVar

import numpy as np

from nst_core.errors import InputError, RunError, Say
from nst_core.files import is_file
from nst_core.images.tensors import load_image, to_uint8
from nst_core.metrics.registry import METRICS, weights_of
from nst_core.metrics.suite import MetricSuite
from tuner.apply.metric_check import Ranking, pairs_of_job
from tuner.apply.weights_files import WeightsFiles
from tuner.job.load import load_job
from tuner.study.records import Scores, TrialRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records

#: The metrics that are compared.
COMPARED = ("lpips", "stlpips")

#: Largest number of trials whose pictures are compared: 50 pictures of 256 px take about 12 seconds
#: on one CPU core.
MAX_TRIALS = 50


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Two pictures that the metrics order differently.

    Attributes:
        preferred: metric -> name of the picture that it scores better.
        scores: name of each of the two pictures -> its scores.
        certainty: how clear the order is for the less certain of both metrics: the difference of
            the scores, divided by their standard deviation over all pictures.
    """

    preferred: Mapping[str, str]
    scores: Mapping[str, Scores]
    certainty: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Orders of the same pictures by both metrics.

    Attributes:
        metrics: names of the two metrics.
        pictures: number of pictures.
        pairs: number of pairs of pictures with the same reference.
        disagreements: pairs of pictures that the metrics order differently, the most certain first.
    """

    metrics: ClassVar[Sequence[str]] = COMPARED
    pictures: int
    pairs: int
    disagreements: Sequence[Disagreement]

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``nst-tuner metrics --json`` prints."""
        return {
            "metrics": list(self.metrics),
            "pictures": self.pictures,
            "pairs": self.pairs,
            "ordered_differently": len(self.disagreements),
            "disagreements": [
                {
                    "preferred": dict(each.preferred),
                    "scores": {name: dict(scores) for name, scores in each.scores.items()},
                    "certainty": each.certainty,
                }
                for each in self.disagreements
            ],
        }


def compare(by_reference: Sequence[Mapping[str, Scores]]) -> Comparison:
    """Return which pictures the metrics order differently.

    Args:
        by_reference: for each reference, the name of a picture -> its scores, which contain both
            metrics. Only pictures of the same reference are compared.
    """
    disagreements, pairs = [], 0
    for scores in by_reference:
        spreads = {m: pstdev(each[m] for each in scores.values()) for m in COMPARED if scores}
        for two in itertools.combinations(scores, 2):
            pairs += 1
            if found := _disagreement({name: scores[name] for name in two}, spreads):
                disagreements.append(found)
    return Comparison(
        pictures=sum(map(len, by_reference)),
        pairs=pairs,
        disagreements=sorted(disagreements, key=lambda each: -each.certainty),
    )


def _disagreement(
    scores: Mapping[str, Scores], spreads: Mapping[str, float]
) -> Disagreement | None:
    """Return the disagreement on two pictures; None if both metrics prefer the same, or neither."""
    one, other = scores
    preferred = {}
    for metric in COMPARED:
        better = METRICS[metric].better
        if better(scores[one][metric], scores[other][metric]):
            preferred[metric] = one
        elif better(scores[other][metric], scores[one][metric]):
            preferred[metric] = other
    if set(preferred.values()) != {one, other}:
        return None
    return Disagreement(
        preferred=preferred,
        scores={name: {m: each[m] for m in COMPARED} for name, each in scores.items()},
        certainty=min(abs(scores[one][m] - scores[other][m]) / spreads[m] for m in COMPARED),
    )


def compare_rankings(rankings: Sequence[Ranking]) -> Comparison | None:
    """Return the comparison of the images of a metric check; None if it lacks one of the metrics.

    Args:
        rankings: one for each metric of the check.
    """
    scores = {ranking.metric: ranking.scores for ranking in rankings}
    if not set(COMPARED) <= set(scores):
        return None
    return compare([{name: {m: scores[m][name] for m in COMPARED} for name in scores[COMPARED[0]]}])


def compare_run(
    folder: Path,
    weights: Sequence[str],
    say: Say,
    on_start: Callable[[int], None] = lambda _: None,
    on_score: Callable[[], None] = lambda: None,
) -> Comparison:
    """Score the pictures of a run's trials by both metrics, and compare the orders.

    Of each trial it takes the pictures of the best report. Finals are left out, since they repeat
    other trials. The names of the pictures are their paths in the run directory.

    Args:
        folder: the run directory.
        weights: weights files, each as ``NAME=FILE``.
        say: gets a line about downloads, and about trials that are left out.
        on_start: called with the number of pictures.
        on_score: called after each picture.

    Raises:
        RunError: the folder is no run directory, or has fewer than two trials with pictures.
        InputError: a picture cannot be used, or weights are not available.
    """
    run = RunDir(folder).require()
    pairs, of_job, _ = pairs_of_job(run.job_file, None, say)
    names = _pictures(run, len(pairs), say)
    source = WeightsFiles(weights, say, of_job)
    source.check_used(weights_of(COMPARED))
    suite = MetricSuite.load(source, metrics=COMPARED)
    on_start(sum(map(len, names)))
    by_reference: list[dict[str, Scores]] = []
    for pair, names_of_pair in zip(pairs, names, strict=True):
        by_reference.append({})
        for name in names_of_pair:
            image = _load(run.path / name, pair.reference_HW3.shape)
            by_reference[-1][name] = suite.score(image, pair.reference_HW3)
            on_score()
    return compare(by_reference)


def _pictures(run: RunDir, pairs: int, say: Say) -> list[list[str]]:
    """Return for each pair the pictures of the best trials, at most `MAX_TRIALS`, best first."""
    job, _ = load_job(run.job_file)

    def values(record: TrialRecord) -> tuple[float, ...]:
        best = record.best_rung(job.goals)
        assert best is not None
        return job.goals.values(best[1].scores)

    records, _ = load_records(run.path)
    with_pictures = [
        record
        for record in records
        if record.final_of is None
        and record.rungs
        and all(is_file(run.path / run.image(record.trial, pair)) for pair in range(pairs))
    ]
    if len(with_pictures) < 2:
        raise RunError(
            f"{run.path}: number of trials with pictures is {len(with_pictures)}, expected at"
            " least 2 to compare; wait until more trials have reported"
        )
    best = sorted(with_pictures, key=values)[:MAX_TRIALS]
    if len(best) < len(with_pictures):
        say(f"comparing the best {len(best)} of {len(with_pictures)} trials with pictures")
    return [[run.image(record.trial, pair) for record in best] for pair in range(pairs)]


def _load(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    image_HW3 = to_uint8(load_image(file))
    if image_HW3.shape != shape:
        raise InputError(
            f"{file}: {image_HW3.shape[1]}x{image_HW3.shape[0]}, expected {shape[1]}x{shape[0]} as"
            " the other pictures of this pair; restore the file from a backup, or delete it"
        )
    return image_HW3
