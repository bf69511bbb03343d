"""How metrics rank what should not win, on pictures of one's own: which of them can be trusted?

Scored are the baselines and copies of each reference that lost something. A metric that puts the
untouched content before such a copy rewards doing nothing.
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

#: Longer side at which pictures are compared that come without a job, whose default it is too.
SIZE_PX: int = JobSpec.model_fields["size_px"].default

#: Copies that still look like the reference: to score the content better than one of these is to
#: prefer doing nothing.
LOOKS_ALIKE = {
    "shifted_reference": "shifted by a few pixels",
    "jpeg_reference": "saved as a poor JPEG",
    "noisy_reference": "with noise",
    "half_reference": "half faded into the content",
}
#: Copies that lost what a stylization is made of, and what that is.
LOST = {"blurred_reference": "its detail", "grey_reference": "its colour"}


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What one metric makes of the images.

    Attributes:
        metric: its name.
        scores: by image, mean over the pairs.
    """

    metric: str
    scores: Scores

    @property
    def order(self) -> list[str]:
        """The images, best first."""
        higher = METRICS[self.metric].higher_is_better
        return sorted(self.scores, key=self.scores.__getitem__, reverse=higher)

    @property
    def content_beats(self) -> list[str]:
        """The copies of the reference that score worse than the untouched content."""
        better = METRICS[self.metric].better
        content = self.scores["content"]
        copies = (name for name in (*LOOKS_ALIKE, *LOST) if name in self.scores)
        return [name for name in copies if better(content, self.scores[name])]

    @property
    def prefers_doing_nothing(self) -> bool:
        """Whether the content beats a copy that still looks like the reference."""
        return any(name in LOOKS_ALIKE for name in self.content_beats)

    @property
    def warning(self) -> str | None:
        """One sentence about what the content beats, if anything."""
        beaten = self.content_beats
        if not beaten:
            return None
        if METRICS[self.metric].against == "content":
            return f"{self.metric} compares with the content: doing nothing is its best score."
        if self.prefers_doing_nothing:
            alike = [how for name, how in LOOKS_ALIKE.items() if name in beaten]
            lost = [f"without {what}" for name, what in LOST.items() if name in beaten]
            return (
                f"{self.metric} prefers doing nothing: the untouched content scores better than the"
                f" reference {_listed(alike + lost)}."
            )
        lost = [what for name, what in LOST.items() if name in beaten]
        return (
            f"{self.metric} would rather do nothing than lose something: the untouched content"
            f" scores better than the reference without {_listed(lost)}."
        )

    @property
    def faults(self) -> int:
        """Number of copies that look like the reference and that the content beats."""
        return sum(name in LOOKS_ALIKE for name in self.content_beats)

    def to_json(self) -> dict[str, Any]:
        """What ``nst-tuner metrics --json`` prints of it."""
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
    """Which metric to use as objective, None if none is safe, and why in one sentence."""

    metric: str | None
    reason: str


def advice(rankings: Sequence[Ranking]) -> Advice:
    """The metric to search by on these pictures.

    The first, in the order of `METRICS`, of those that put the fewest copies that look like the
    reference behind the untouched content. A copy that lost its detail or its color does not count:
    to put it behind the content is no fault. `color` is never advised: it says nothing of where the
    colors are.
    """
    known = [r for r in rankings if r.metric in OBJECTIVES and r.metric != "color"]
    if not known:
        return Advice(None, "None of these metrics can be an objective by itself.")
    best = min(known, key=lambda ranking: ranking.faults)
    if best.faults:
        return Advice(
            None,
            f"No metric is safe on these pictures: even {best.metric} puts the untouched content"
            f" before {best.faults} of {len(LOOKS_ALIKE)} copies that look like the reference;"
            " compare results by eye with `nst-tuner prefer`.",
        )
    worse = [ranking.metric for ranking in known if ranking.faults]
    do_not = f" ({_listed(worse, 'and')} {'does' if len(worse) == 1 else 'do'} not)"
    seen = ", and of all metrics it is nearest to what people see"
    return Advice(
        best.metric,
        f"Use `objective: {best.metric}`: on these pictures it puts every copy that looks like the"
        f" reference before the untouched content{do_not if worse else ''}"
        f"{seen if best.metric == 'lpips' else ''}.",
    )


#: Images that are scored of each pair: the baselines and the copies of the reference.
IMAGES = 2 + len(LOST) + len(LOOKS_ALIKE)


def rank(
    pairs: Sequence[Pair], judge: MetricSuite, on_score: Callable[[], None] = lambda: None
) -> list[Ranking]:
    """The images of all pairs, ranked by each metric of the judge.

    Args:
        pairs: what is looked at.
        judge: scores.
        on_score: told of each of the `IMAGES` of a pair.
    """
    scores = mean_baselines(baseline_scores(pairs, judge, degraded, on_score))
    return [
        Ranking(metric=metric, scores={name: values[metric] for name, values in scores.items()})
        for metric in judge.measures
    ]


def judge_of_all(
    weights: Callable[[str], Weights],
    have: Callable[[str], bool],
    say: Say,
    metrics: Sequence[str] = tuple(METRICS),
) -> MetricSuite:
    """A judge of every metric whose weights can be had.

    Args:
        weights: gives weights by name.
        have: whether they can be had.
        say: told of metrics that are left out.
        metrics: those that are asked for.
    """
    found = []
    for name in metrics:
        metric = METRICS[name]
        missing = [needed for needed in metric.weights if not have(needed)]
        if missing:
            say(f"{name}: left out, no weights of {', '.join(missing)}")
        else:
            found.append(name)
    return MetricSuite.load(weights, metrics=found)


class Checked(NamedTuple):
    """Pairs to look at, ``NAME=FILE`` of weights files, and measures that a job asks for."""

    pairs: list[Pair]
    weights: Sequence[str] = ()
    measures: Collection[str] = ()


def pairs_of_job(job_file: Path, size_px: int | None, say: Say) -> Checked:
    """All pairs of a job, with references made where it asks for that, and its weights files.

    Returns:
        The pairs at ``size_px`` or the job's own size.

    Raises:
        InputError: the job or a file that it names cannot be used.
    """
    overrides = [] if size_px is None else [f"size_px={size_px}"]
    job, _ = load_job(job_file, overrides)
    with tempfile.TemporaryDirectory() as made:
        job = with_references(job, Path(made), say)
        pairs = [load_pair(pair, job.size_px) for pair in job.pairs]
    weights = [f"{name}={file}" for name, file in job.weights.items()]
    return Checked(pairs, weights, job.goals.measures)


def pair_of_files(content: Path, style: Path, reference: Path, size_px: int | None) -> Pair:
    """One pair of three files.

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
    """What ``nst-tuner metrics --json`` prints of a check."""
    return {
        "sizes": [list(pair.reference_HW3.shape[1::-1]) for pair in pairs],
        "recommended": advice(rankings)._asdict(),
        "prefer_doing_nothing": [r.metric for r in rankings if r.prefers_doing_nothing],
        "metrics": {ranking.metric: ranking.to_json() for ranking in rankings},
    }
