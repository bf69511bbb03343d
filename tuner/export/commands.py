"""A pair of a job in the words of the command line. No torch here."""

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
    """The options of `nst-tuner stylize` that name what went into a pair's score.

    Args:
        folder: that its files are relative to.
        pair: content, styles with weights and masks, and the picture to start from.
        config: settings; the start is named only where they ask for one.
        weights: files of the job by network; that of the settings' own network is named.
    """
    words = ["--content", str(folder / pair.content)]
    # `stylize` refuses weights that `style_blend` overrides.
    blended = config.get("style_blend") and config.get("init") != "feed_forward"
    for style in pair.style:
        words += ["--style", _style(folder, style, weighed=not blended)]
    if pair.start and config.get("init") == "image":
        words += ["--start", str(folder / pair.start)]
    if file := (weights or {}).get(config.get("extractor", "")):
        words += ["--weights", f"{config['extractor']}={folder / file}"]
    return shlex.join(words)


def _style(folder: Path, style: StyleImage, *, weighed: bool) -> str:
    """A style as `tuner.job.style_arguments.parse_style` reads it."""
    weight = f":{style.weight:.9g}" if weighed and style.weight != 1 else ""
    masks = [str(folder / mask) if mask else "" for mask in (style.region, style.style_region)]
    return "@".join([f"{folder / style.image}{weight}", *masks]).rstrip("@")
