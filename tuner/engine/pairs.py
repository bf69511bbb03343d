"""What a run works on and is scored against: its pairs at the job's size, and the baselines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.errors import Say
from nst_core.images.colors import luminance
from nst_core.images.tensors import from_uint8, load_image, resize, save_image, to_uint8
from nst_core.lanes.initialization import feed_forward_start
from nst_core.lanes.memory import needed_bytes
from nst_core.losses.inputs import LossInputs, Style
from nst_core.metrics.baselines import baselines
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import get_weights
from nst_core.references import make_reference
from tuner.job.spec import JobSpec, PairSpec, ReferenceSpec, StyleImage

Make = Callable[[Tensor, Tensor, Tensor], Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One pair, ready to run: pictures scaled, the reference at the result's size, 8 bit."""

    materials: LossInputs
    reference_HW3: np.ndarray

    @functools.cached_property
    def content_HW3(self) -> np.ndarray:
        """The untouched content as metrics see it, of the reference's size."""
        return to_uint8(self.materials.content_3HW)


def memory_gb(pairs: Iterable[Pair], config: StyleConfig, device: torch.device | str) -> float:
    """Estimated memory of the largest pair alone on a device, in GB."""
    kinds = {(*pair.materials.height_width, pair.materials.masks) for pair in pairs}
    needed = (needed_bytes(config, *size, device=device, masks=n) for *size, n in kinds)
    return max(needed) / 1e9


def load_pair(spec: PairSpec, size_px: int, *, feed_forward: bool = False) -> Pair:
    """Read and scale the pictures of a pair.

    Args:
        spec: which pictures.
        size_px: longer side of the results.
        feed_forward: also make a feed-forward result to start from.

    Raises:
        InputError: a picture cannot be read, or an optional dependency is missing.
    """
    content = load_image(spec.content)
    styles = [load_style(style) for style in spec.style]
    starts = {"image": load_image(spec.start)} if spec.start else {}
    if feed_forward:
        starts["feed_forward"] = feed_forward_start(content, styles, size_px)
    materials = LossInputs.at_size(content, styles, size_px, starts)
    reference = resize(load_image(spec.reference_file), *materials.height_width)
    return Pair(materials=materials, reference_HW3=to_uint8(reference))


def load_style(spec: StyleImage) -> Style:
    """Read a style image and its masks; a mask's brightness counts."""
    return Style(
        image_3HW=load_image(spec.image),
        weight=spec.weight,
        region_HW=luminance(load_image(spec.region))[0] if spec.region else None,
        style_region_HW=luminance(load_image(spec.style_region))[0] if spec.style_region else None,
    )


def baseline_scores(
    pairs: Sequence[Pair],
    judge: MetricSuite,
    make: Make = baselines,
    on_score: Callable[[], None] = lambda: None,
) -> list[dict[str, dict[str, float]]]:
    """For each pair the scores of what any result must beat, by the baseline's name.

    Args:
        pairs: of the job.
        judge: what scores.
        make: content, style and reference -> the images to score, by name.
        on_score: told of each image that has been scored.
    """
    per_pair = []
    for pair in pairs:
        images = make(
            pair.materials.content_3HW,
            pair.materials.styles[0][0],
            from_uint8(pair.reference_HW3),
        )
        scores = {}
        for name, image in images.items():
            scores[name] = judge.score(image, pair.reference_HW3, pair.content_HW3)
            on_score()
        per_pair.append(scores)
    return per_pair


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
            [load_style(style) for style in pair.style],
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
