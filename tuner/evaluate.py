"""What a run works on and is scored against: its pairs at the job's size, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nst_core.images import from_uint8, load_image, resize, to_uint8
from nst_core.losses import Materials
from nst_core.metrics import Judge, baselines
from tuner.job import PairSpec

Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One pair, ready to run: pictures scaled, the reference at the result's size, 8 bit."""

    materials: Materials
    reference_HW3: np.ndarray


def load_pair(spec: PairSpec, size_px: int) -> Pair:
    """Read and scale the pictures of a pair.

    Raises:
        ImageError: a picture cannot be read.
    """
    styles = [(load_image(image), weight) for image, weight in spec.styles]
    materials = Materials.at_size(load_image(spec.content), styles, size_px)
    reference = resize(load_image(spec.reference), *materials.height_width)
    return Pair(materials=materials, reference_HW3=to_uint8(reference))


def baseline_scores(pairs: Sequence[Pair], judge: Judge) -> dict[str, dict[str, float]]:
    """Mean scores over the pairs of what any result must beat, by the baseline's name."""
    per_pair = []
    for pair in pairs:
        images = baselines(
            pair.materials.content_3HW,
            pair.materials.styles[0][0],
            from_uint8(pair.reference_HW3),
        )
        per_pair.append(
            {name: judge.score(image, pair.reference_HW3) for name, image in images.items()}
        )
    return {name: mean_scores([scores[name] for scores in per_pair]) for name in per_pair[0]}


def mean_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """Mean of each metric."""
    return {metric: sum(s[metric] for s in scores) / len(scores) for metric in scores[0]}
