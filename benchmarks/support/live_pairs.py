"""Pairs of `benchmarks.live`: photos and styles of scikit-image, or pictures of the user.

A pair's source is what made its reference: a feed-forward network, a long optimization by our
engine, or another engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import skimage.data
from torch import Tensor

from benchmarks.support.common import Pair
from nst_core.config import StyleConfig
from nst_core.errors import InputError, WorkError, near_miss
from nst_core.images.tensors import digest, from_uint8, load_image, resize_longer_side, save_image
from nst_core.lanes.batch import Outcome
from nst_core.networks.weights import cache_dir, get_weights
from nst_core.sample_pictures import sample_content, sample_style
from nst_core.stylization import default_device, stylize

FEED_FORWARD, LONG, OTHER = SOURCES = ("feed-forward", "long-optimization", "other-engine")

#: Longer side in pixels of references that are made once and scaled down.
REFERENCE_PX = 256

PHOTOS: Mapping[str, Callable[[], Tensor]] = {
    "chelsea": sample_content,
    "coffee": lambda: from_uint8(skimage.data.coffee()),
    "astronaut": lambda: from_uint8(skimage.data.astronaut()),
    "rocket": lambda: from_uint8(skimage.data.rocket()),
}
STYLES: Mapping[str, Callable[[], Tensor]] = {
    "painting": lambda: sample_style(seed=0),
    "painting2": lambda: sample_style(seed=1),
    "cells": lambda: from_uint8(skimage.data.immunohistochemistry()),
    "galaxies": lambda: from_uint8(skimage.data.hubble_deep_field()),
}
#: Built-in pairs, ``PHOTO-STYLE``; the first one is that of ``--quick``.
BUILT_IN = (
    *("chelsea-painting", "coffee-cells", "astronaut-galaxies"),
    *("rocket-painting2", "chelsea-galaxies", "rocket-cells"),
)

#: Settings of the long optimization. Its network input (``half``), its layers, its start image and
#: its seed are in no search space, so that no search can find exactly these settings again.
LONG_CONFIG = StyleConfig(
    extractor="vgg16",
    normalization="half",
    pooling="average",
    padding="replicate_first",
    content_layers={"conv3_3": 0.3, "conv4_2": 0.7},
    style_layers={"conv1_2": 0.3, "conv2_2": 0.25, "conv3_2": 0.2, "conv4_2": 0.15, "conv5_1": 0.1},
    style_loss="wasserstein",
    content_weight=0.1,
    style_weight=1.0,
    tv_weight=2.0,
    optimizer="lbfgs",
    lr=1.0,
    lbfgs_history=20,
    steps=300,
    scales=4,
    init="mix",
    init_noise=0.2,
    seed=20261,
    size_px=REFERENCE_PX,
    clamp="save",
    keep="best",
)

#: Settings of pystiche: L-BFGS from the content, with Gatys' layer weights 1 / channels², relative
#: to the first layer.
PYSTICHE: Mapping[str, Any] = {
    "steps": 150,
    "style_weight": 1e3,
    "layer_weights": (1.0, 1 / 4, 1 / 16, 1 / 64, 1 / 64),
}


@dataclass(frozen=True, kw_only=True)
class PairSource:
    """Where the pictures of a pair are.

    Attributes:
        source: what makes or made the reference, one of `SOURCES`.
        name: name of the pair.
        files: content, style and perhaps reference; empty for a built-in pair.
    """

    source: str
    name: str
    files: tuple[str, ...] = ()


def chosen_pairs(sources: Sequence[str], texts: Sequence[str]) -> list[PairSource]:
    """Return the pairs of the options ``--source`` and ``--pair``.

    Args:
        sources: what makes the references.
        texts: names of built-in pairs, or ``NAME=CONTENT,STYLE[,REFERENCE]``; none: all built-in
            pairs.

    Raises:
        InputError: a text or a source is not valid; the error lists all problems.
    """
    problems: list[str] = []
    pairs: list[PairSource] = []
    for source in sources:
        if source not in SOURCES:
            hint = near_miss(source, SOURCES)
            problems.append(f"--source {source}: expected one of {', '.join(SOURCES)}{hint}")
    for text in texts or BUILT_IN:
        name, equals, listed = text.partition("=")
        files = tuple(file for file in listed.split(",") if file)
        if not equals and name not in BUILT_IN:
            hint = near_miss(name, BUILT_IN)
            problems.append(
                f"--pair {text}: expected one of {', '.join(BUILT_IN)}, or"
                f" NAME=CONTENT,STYLE,REFERENCE{hint}"
            )
        elif equals and not (name and 2 <= len(files) <= 3):
            problems.append(
                f"--pair {text}: expected NAME=CONTENT,STYLE,REFERENCE, or NAME=CONTENT,STYLE for a"
                " reference that the benchmark makes"
            )
        elif len(files) == 3:
            pairs.append(PairSource(source=OTHER, name=name, files=files))
        else:
            pairs += [PairSource(source=s, name=name, files=files) for s in sources]
    if problems:
        raise InputError("\n".join(problems))
    return pairs


@cache
def pictures_of(source: PairSource) -> str:
    """Return a digest of a pair's pictures; for a reference that is made once, of its settings."""
    content_3HW, style_3HW, *given = _images(source)
    parts = [digest(image) for image in (content_3HW, style_3HW, *given)]
    if not given and source.source != FEED_FORWARD:
        settings = LONG_CONFIG.to_dict() if source.source == LONG else PYSTICHE
        parts.append(json.dumps(settings, sort_keys=True))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def check_references(sources: Sequence[PairSource], size_px: int) -> None:
    """Raise InputError if references of the pairs cannot be made, or are below ``size_px``."""
    if any(s.source == OTHER and len(s.files) < 3 for s in sources) and not find_spec("pystiche"):
        raise InputError(
            f"--source {OTHER}: pystiche, which makes these references, is not installed; run"
            " `pip install pystiche==1.0.1`, or name your own with"
            " --pair NAME=CONTENT,STYLE,REFERENCE"
        )
    if size_px > REFERENCE_PX and any(
        s.source != FEED_FORWARD and len(s.files) < 3 for s in sources
    ):
        raise InputError(
            f"--size {size_px}: references that are made once have {REFERENCE_PX} px; expected at"
            f" most that, or --source {FEED_FORWARD}"
        )


@cache
def load_pair(source: PairSource) -> Pair:
    """Return the pictures of a pair; makes a reference that is made once if it is not in the cache.

    Raises:
        InputError: a file cannot be read, or pystiche is not installed.
        WorkError: the long optimization diverged.
    """
    content_3HW, style_3HW, *given = _images(source)
    if not given and source.source != FEED_FORWARD:
        given = [_made_once(source, content_3HW, style_3HW)]
    return Pair(
        name=source.name,
        content_3HW=content_3HW,
        style_3HW=style_3HW,
        reference_3HW=given[0] if given else None,
    )


def reference_file(source: PairSource) -> Path:
    """Return the file in the cache of a reference that is made once."""
    return cache_dir() / "benchmarks" / f"{source.source}-{source.name}-{pictures_of(source)}.png"


def _images(source: PairSource) -> list[Tensor]:
    """Return content_3HW, style_3HW and perhaps the given reference_3HW."""
    if source.files:
        return [load_image(file) for file in source.files]
    return [_built_in(part) for part in source.name.split("-")]


@cache
def _built_in(name: str) -> Tensor:
    return {**PHOTOS, **STYLES}[name]()


def _made_once(source: PairSource, content_3HW: Tensor, style_3HW: Tensor) -> Tensor:
    file = reference_file(source)
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        make = long_optimization if source.source == LONG else _by_pystiche
        save_image(make(content_3HW, style_3HW), file)
    return load_image(file)


def long_optimization(content_3HW: Tensor, style_3HW: Tensor) -> Tensor:
    """Return image_3HW in [0, 1], the result of `LONG_CONFIG`.

    Raises:
        WorkError: the optimization diverged.
    """
    image_3HW = content_3HW
    for step in stylize(LONG_CONFIG, content_3HW, [(style_3HW, 1.0)], every=LONG_CONFIG.steps):
        image_3HW = step.image_3HW
        if step.outcome is not Outcome.RUNNING:
            raise WorkError(f"the long optimization ended at step {step.step}: {step.outcome}")
    return image_3HW


def _by_pystiche(content_3HW: Tensor, style_3HW: Tensor) -> Tensor:
    from benchmarks.support.rivals import pystiche_stylized  # pystiche is optional

    return pystiche_stylized(
        resize_longer_side(content_3HW, REFERENCE_PX),
        resize_longer_side(style_3HW, REFERENCE_PX),
        get_weights("vgg16"),
        default_device(),
        **PYSTICHE,
    )
