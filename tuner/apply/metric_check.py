"""Metric check: which metrics can be trusted on the user's own pictures?

Each metric scores the baselines and damaged copies of each reference. A metric that scores the
untouched content better than such a copy rewards doing nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nst_core.errors import InputError, Say
from nst_core.images.sizes import check_image
from nst_core.metrics.baselines import degraded
from nst_core.metrics.registry import METRICS, OBJECTIVES
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights
from tuner.engine.pairs import Pair, baseline_scores, load_pair, with_references
from tuner.job.load import load_job, shapes_differ
from tuner.job.spec import JobSpec, PairSpec, StyleImage
from tuner.study.records import Scores, mean_baselines

#: Longer side in pixels of pictures that are checked without a job: the default of jobs.
SIZE_PX: int = JobSpec.model_fields["size_px"].default

#: Copy -> how it was damaged, for copies that still look like the reference. A metric that scores
#: the content better than one of these prefers doing nothing.
LOOKS_ALIKE = {
    "shifted_reference": "shifted by a few pixels",
    "jpeg_reference": "saved as a poor JPEG",
    "noisy_reference": "with noise",
    "half_reference": "half faded into the content",
}
#: Copy -> what it lacks, for copies that lack an essential part of a stylization.
LACKS = {"blurred_reference": "its detail", "grey_reference": "its color"}


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranking of the images by one metric.

    Attributes:
        metric: name of the metric.
        scores: image -> mean score over the pairs.
    """

    metric: str
    scores: Scores

    @property
    def order(self) -> list[str]:
        """Names of the images, best first."""
        higher = METRICS[self.metric].higher_is_better
        return sorted(self.scores, key=self.scores.__getitem__, reverse=higher)

    @property
    def content_beats(self) -> list[str]:
        """Copies of the reference that score worse than the untouched content."""
        better = METRICS[self.metric].better
        content = self.scores["content"]
        copies = (name for name in (*LOOKS_ALIKE, *LACKS) if name in self.scores)
        return [name for name in copies if better(content, self.scores[name])]

    @property
    def prefers_doing_nothing(self) -> bool:
        """Whether the content beats a copy that still looks like the reference."""
        return any(name in LOOKS_ALIKE for name in self.content_beats)

    @property
    def warning(self) -> str | None:
        """A sentence about the copies that the content beats; None if it beats none."""
        beaten = self.content_beats
        if not beaten:
            return None
        if METRICS[self.metric].against == "content":
            return f"{self.metric} compares with the content: doing nothing gives its best score."
        lacks = [part for name, part in LACKS.items() if name in beaten]
        if self.prefers_doing_nothing:
            damages = [damage for name, damage in LOOKS_ALIKE.items() if name in beaten]
            damages += [f"without {part}" for part in lacks]
            return (
                f"{self.metric} prefers doing nothing: the untouched content scores better than the"
                f" reference {_listed(damages)}."
            )
        return (
            f"{self.metric} prefers doing nothing to losing a part: the untouched content scores"
            f" better than the reference without {_listed(lacks)}."
        )

    @property
    def faults(self) -> int:
        """Number of copies that look like the reference and score worse than the content."""
        return sum(name in LOOKS_ALIKE for name in self.content_beats)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``nst-tuner metrics --json`` prints for a metric."""
        return {
            "direction": METRICS[self.metric].direction,
            "against": METRICS[self.metric].against,
            "order": self.order,
            "scores": dict(self.scores),
            "content_beats": self.content_beats,
            "prefers_doing_nothing": self.prefers_doing_nothing,
            "warning": self.warning,
        }


def _listed(parts: Sequence[str], word: str = "or") -> str:
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


class Advice(NamedTuple):
    """Recommended objective.

    Attributes:
        metric: name of a metric; None if no metric is safe.
        reason: one sentence.
    """

    metric: str | None
    reason: str


def advice(rankings: Sequence[Ranking]) -> Advice:
    """Return the metric to search by on these pictures.

    It is the metric for which the fewest copies that look like the reference score worse than the
    untouched content; of several, the first in the order of `METRICS`. Copies without detail or
    color do not count, since they may score worse. `color` is never recommended, because it does
    not say where the colors are.

    Args:
        rankings: one for each metric, in the order of `METRICS`.
    """
    candidates = [r for r in rankings if r.metric in OBJECTIVES and r.metric != "color"]
    if not candidates:
        return Advice(None, "None of these metrics can be an objective by itself.")
    best = min(candidates, key=lambda ranking: ranking.faults)
    if best.faults:
        return Advice(
            None,
            f"No metric is safe on these pictures: even {best.metric} puts the untouched content"
            f" before {best.faults} of {len(LOOKS_ALIKE)} copies that look like the reference;"
            " compare results by eye with `nst-tuner prefer`.",
        )
    worse = [ranking.metric for ranking in candidates if ranking.faults]
    exceptions = f" ({_listed(worse, 'and')} {'does' if len(worse) == 1 else 'do'} not)"
    perception = ", and of all metrics it is nearest to what people see"
    return Advice(
        best.metric,
        f"Use `objective: {best.metric}`: on these pictures it puts every copy that looks like the"
        f" reference before the untouched content{exceptions if worse else ''}"
        f"{perception if best.metric == 'lpips' else ''}.",
    )


#: Number of images that are scored for each pair: two baselines and the copies of the reference.
IMAGES = 2 + len(LACKS) + len(LOOKS_ALIKE)


def rank(
    pairs: Sequence[Pair], suite: MetricSuite, on_score: Callable[[], None] = lambda: None
) -> list[Ranking]:
    """Return a ranking of the images for each metric of the suite.

    Args:
        pairs: pairs to score.
        suite: metrics to score with.
        on_score: called after each of the `IMAGES` of each pair.
    """
    scores = mean_baselines(baseline_scores(pairs, suite, degraded, on_score))
    return [
        Ranking(metric=metric, scores={name: values[metric] for name, values in scores.items()})
        for metric in suite.measures
    ]


def suite_of_available(
    weights: Callable[[str], Weights],
    available: Callable[[str], bool],
    say: Say,
    metrics: Sequence[str] = tuple(METRICS),
) -> MetricSuite:
    """Return a suite of all metrics whose weights are available.

    Args:
        weights: returns the weights of a network, given its name.
        available: returns whether the weights of a network are available, given its name.
        say: gets a line about each metric that is left out.
        metrics: names of the metrics to use.
    """
    usable = []
    for name in metrics:
        missing = [network for network in METRICS[name].weights if not available(network)]
        if missing:
            say(f"{name}: not checked, no weights of {', '.join(missing)}")
        else:
            usable.append(name)
    return MetricSuite.load(weights, metrics=usable)


class CheckInput(NamedTuple):
    """Input of a metric check.

    Attributes:
        pairs: pairs to score.
        weights: weights files, each as ``NAME=FILE``.
        measures: measures that a job optimizes.
    """

    pairs: list[Pair]
    weights: Sequence[str] = ()
    measures: Collection[str] = ()


def pairs_of_job(job_file: Path, size_px: int | None, say: Say) -> CheckInput:
    """Return all pairs of a job, with its weights files and measures.

    References that the job wants to have made are made.

    Args:
        job_file: file of the job.
        size_px: longer side of the pictures in pixels; that of the job if None.
        say: gets a line about each reference that is made.

    Raises:
        InputError: the job or a file that it names cannot be used.
    """
    overrides = [] if size_px is None else [f"size_px={size_px}"]
    job, _ = load_job(job_file, overrides)
    with tempfile.TemporaryDirectory() as folder:
        job = with_references(job, Path(folder), say)
        pairs = [load_pair(pair, job.size_px) for pair in job.pairs]
    weights = [f"{name}={file}" for name, file in job.weights.items()]
    return CheckInput(pairs, weights, job.goals.measures)


def pair_of_files(content: Path, style: Path, reference: Path, size_px: int | None) -> Pair:
    """Return a pair of three picture files.

    Args:
        content: content image.
        style: style image.
        reference: reference stylization, of the same frame as the content.
        size_px: longer side of the pictures in pixels; `SIZE_PX` if None.

    Raises:
        InputError: a picture cannot be read, or the reference shows another frame.
    """
    sizes = [check_image(file) for file in (content, reference)]
    if shapes_differ(*sizes):
        raise InputError(
            f"{reference}: {sizes[1][0]}x{sizes[1][1]} has another shape than the content's"
            f" {sizes[0][0]}x{sizes[0][1]}; crop the reference to the content's frame"
        )
    styles = [StyleImage(image=str(style))]
    spec = PairSpec(content=str(content), style=styles, reference=str(reference))
    return load_pair(spec, SIZE_PX if size_px is None else size_px)


def check_json(rankings: Sequence[Ranking], pairs: Sequence[Pair]) -> Mapping[str, Any]:
    """Return the object that ``nst-tuner metrics --json`` prints for a check."""
    return {
        "sizes": [list(pair.reference_HW3.shape[1::-1]) for pair in pairs],
        "recommended": advice(rankings)._asdict(),
        "prefer_doing_nothing": [r.metric for r in rankings if r.prefers_doing_nothing],
        "metrics": {ranking.metric: ranking.to_json() for ranking in rankings},
    }
