"""Pair: content, styles and reference at the size of the job; scores of the baselines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
from tuner.engine.reference_process import long_run_reference

if TYPE_CHECKING:  # engines also run where Pydantic is not installed
    from tuner.job.spec import JobSpec, PairSpec, StyleImage

#: Makes images to score, by name, from (content_3HW, style_3HW, reference_3HW) in [0, 1].
MakeImages = Callable[[Tensor, Tensor, Tensor], Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One pair, scaled to the size of the results.

    Attributes:
        inputs: content image, style images and masks.
        reference_HW3: uint8 reference.
    """

    inputs: LossInputs
    reference_HW3: np.ndarray

    @functools.cached_property
    def content_HW3(self) -> np.ndarray:
        """The untouched content image for metrics, uint8, of the reference's size."""
        return to_uint8(self.inputs.content_3HW)


def memory_gb(pairs: Iterable[Pair], config: StyleConfig, device: torch.device | str) -> float:
    """Return the estimated memory in GB that the largest pair needs on a device, alone."""
    kinds = {(*pair.inputs.height_width, pair.inputs.masks) for pair in pairs}
    needed = (needed_bytes(config, *size, device=device, masks=n) for *size, n in kinds)
    return max(needed) / 1e9


def load_pair(spec: PairSpec, size_px: int, *, feed_forward: bool = False) -> Pair:
    """Read the images of a pair and scale them.

    Args:
        spec: paths of the images.
        size_px: longer side of the results in pixels.
        feed_forward: whether to make a feed-forward result to start from.

    Raises:
        InputError: an image cannot be read, or an optional extra is missing.
    """
    content, styles = load_pair_images(spec)
    starts = {"image": load_image(spec.start)} if spec.start else {}
    if feed_forward:
        starts["feed_forward"] = feed_forward_start(content, styles, size_px)
    inputs = LossInputs.at_size(content, styles, size_px, starts)
    reference = resize(load_image(spec.reference_file), *inputs.height_width)
    return Pair(inputs=inputs, reference_HW3=to_uint8(reference))


def load_pair_images(spec: PairSpec) -> tuple[Tensor, list[Style]]:
    """Read content (3HW, float32 in [0, 1]) and styles of a pair at the size of their files."""
    return load_image(spec.content), [load_style(style) for style in spec.style]


def load_style(spec: StyleImage) -> Style:
    """Read a style image and its masks; the brightness of a mask image is the mask."""
    return Style(
        image_3HW=load_image(spec.image),
        weight=spec.weight,
        region_HW=luminance(load_image(spec.region))[0] if spec.region else None,
        style_region_HW=luminance(load_image(spec.style_region))[0] if spec.style_region else None,
    )


def baseline_scores(
    pairs: Sequence[Pair],
    suite: MetricSuite,
    make: MakeImages = baselines,
    on_score: Callable[[], None] = lambda: None,
) -> list[dict[str, dict[str, float]]]:
    """Return for each pair the scores of its baselines: baseline name -> metric name -> score.

    Args:
        pairs: pairs of the job.
        suite: the metrics.
        make: makes the images to score.
        on_score: called after each image.
    """
    per_pair = []
    for pair in pairs:
        images = make(
            pair.inputs.content_3HW,
            pair.inputs.styles[0][0],
            from_uint8(pair.reference_HW3),
        )
        scores = {}
        for name, image in images.items():
            scores[name] = suite.score(image, pair.reference_HW3, pair.content_HW3)
            on_score()
        per_pair.append(scores)
    return per_pair


def with_references(job: JobSpec, folder: Path, say: Say) -> JobSpec:
    """Return the job with paths of references in place of instructions to make references.

    Args:
        job: the job.
        folder: where to save the references that are made.
        say: called with progress messages.

    Raises:
        InputError: an optional extra is missing, or a file cannot be read.
        WorkError: a long optimization for a reference diverged, failed or was killed.
    """

    def with_reference(pair: PairSpec, name: str) -> PairSpec:
        if isinstance(pair.reference, str):
            return pair
        say(f"making the reference of {name} ({pair.reference.source})")
        file = folder / f"{name.replace(' ', '')}.png"
        made = pair.model_copy(update={"reference": str(file)})
        if pair.reference.source == "long-run":
            long_run_reference(
                made.model_dump(),
                file,
                size_px=job.size_px,
                weights=job.weights,
                device=job.resources.device,
                say=say,
            )
            return made
        image = make_reference(
            pair.reference.source,
            load_image(pair.content),
            [load_style(style) for style in pair.style],
            size_px=job.size_px,
            weights=lambda name: get_weights(name, file=job.weights.get(name), say=say),
            encoder=Path(pair.reference.encoder) if pair.reference.encoder else None,
            decoder=Path(pair.reference.decoder) if pair.reference.decoder else None,
        )
        save_image(image, file)
        return made

    pairs = [with_reference(pair, f"pair {i}") for i, pair in enumerate(job.pairs)]
    holdout = [with_reference(pair, f"held-out pair {i}") for i, pair in enumerate(job.holdout)]
    return job.model_copy(update={"pairs": pairs, "holdout": holdout})
