"""Commands that a page or a message shows: a pair of a job as options of `nst-tuner stylize`.

This module must not import torch: pages of a run use it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.job.spec import PairSpec, StyleImage


def stylize_inputs(
    folder: Path,
    pair: PairSpec,
    config: Mapping[str, Any],
    weights: Mapping[str, str] | None = None,
) -> str:
    """Return the options of `nst-tuner stylize` that name the inputs of a pair's stylization.

    Args:
        folder: folder that the file names of the pair are relative to.
        pair: content, styles with weights and masks, and the picture to start from.
        config: settings; the start is named only if they ask for one.
        weights: weights files of the job by network; only the network of `config` is named.
    """
    words = ["--content", str(folder / pair.content)]
    # `stylize` refuses weights of styles that `style_blend` overrides.
    blended = config.get("style_blend") and config.get("init") != "feed_forward"
    for style in pair.style:
        words += ["--style", _style_argument(folder, style, with_weight=not blended)]
    if pair.start and config.get("init") == "image":
        words += ["--start", str(folder / pair.start)]
    if file := (weights or {}).get(config.get("extractor", "")):
        words += ["--weights", f"{config['extractor']}={folder / file}"]
    return shlex.join(words)


def _style_argument(folder: Path, style: StyleImage, *, with_weight: bool) -> str:
    """Return a style in the format that `tuner.job.style_arguments.parse_style` reads."""
    weight = f":{style.weight:.9g}" if with_weight and style.weight != 1 else ""
    masks = [str(folder / mask) if mask else "" for mask in (style.region, style.style_region)]
    return "@".join([f"{folder / style.image}{weight}", *masks]).rstrip("@")
