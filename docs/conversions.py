"""Writes docs/conversions.md from the table of public engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from nst_core.presets.conversions import to_style_config
from nst_core.presets.public_engines import ENGINES, WITHOUT_CONVERSION, Engine

_INTRODUCTION = """\
# Loss weights of public engines in ours

Written by `python docs/conversions.py`; change `nst_core/presets/public_engines.py`, not this file.

Engines that descend from Gatys et al. (CVPR 2016) compare the same features and divide by other
numbers. For each engine, its term is `weight × factor × ours`, with these terms of ours
(`nst_core.losses.functional`):

- style of a layer: mean over C² of `(F Fᵀ/M - S Sᵀ/Mₛ)²`, for F of C channels at M positions and
  the style's S at Mₛ; `gram: per_element` divides the matrices by C too, so the loss by C²;
- content of a layer: mean of `(F - F꜀)²`;
- total variation: mean of `d²` (l2) or `|d|` (l1) over the differences d of pixels in [0, 1] to
  their right neighbours, plus that to their lower ones. `n = 3 (2 H W - H - W) / 2` is how many
  there are in a direction, in the mean of the two; in a square it is both.

`to_style_config` multiplies the factors into weights of ours. The losses are then equal: **the
common factor is one**, so that optimizers that mind the loss's size (L-BFGS in its first step,
Adam's epsilon) see the same size. `tests/nst_core/presets/test_conversions.py` compares every
engine's formula with ours, in value and in gradient.

Layers: `sum` takes layer weights as they are, `mean` divides them by the number of layers, `shares`
by their sum.
"""

_LEARNING_RATES = """\
## Learning rates

For pixels from 0 to R where ours go to 1, the rate of Adam is divided by R, that of gradient
descent by R² (the loss's slope grows by R where pixels shrink by R), and that of L-BFGS stays.
Not converted are the first step of L-BFGS, a multiple of the gradient, which depends on the unit,
and Adam's epsilon, which would be R times as large and matters to vanishing gradients only.
"""

_FEATURES = """\
## Features

The factors hold on the same features. Caffe's VGG and torchvision's were trained apart: no factor
turns the features of one into those of the other. `--weights vgg19=FILE` takes Caffe's, and
`normalization: caffe` (which `to_style_config` sets) gives it the pixels that it expects.
"""


def to_markdown() -> str:
    """The table as docs/conversions.md holds it."""
    parts = [
        _INTRODUCTION,
        "## Factors\n\n" + _table(_FACTOR_COLUMNS),
        "## Sources and notes\n\n" + _table(_NOTE_COLUMNS),
        _LEARNING_RATES,
        _FEATURES,
        "## Without a conversion\n\n"
        + "".join(f"- {name}: {why}.\n" for name, why in WITHOUT_CONVERSION.items()),
        _example(),
    ]
    return "\n".join(parts)


def _powered(formula: str, power: int) -> str:
    """A factor of a weight that enters with a power."""
    return formula if power == 1 else f"{formula}, weight to the {power}"


_Columns = Mapping[str, Callable[[Engine], str]]

_FACTOR_COLUMNS: _Columns = {
    "engine": lambda engine: engine.name,
    "style": lambda engine: (
        _powered(engine.style_formula, engine.style_power)
        + (f" ({engine.style_loss})" if engine.style_loss != "gram" else "")
    ),
    "layers": lambda engine: engine.style_layers,
    "content": lambda engine: _powered(engine.content.formula, engine.content_power),
    "layers ": lambda engine: engine.content_layers,
    "total variation": lambda engine: engine.tv_formula,
    "pixels to": lambda engine: str(engine.pixel_range),
}

_NOTE_COLUMNS: _Columns = {
    "engine": lambda engine: engine.name,
    "source": lambda engine: engine.source,
    "note": lambda engine: engine.note,
}


def _table(columns: _Columns) -> str:
    rows = [list(columns), ["---"] * len(columns)]
    rows += [[cell(engine) for cell in columns.values()] for engine in ENGINES.values()]
    return "".join("| " + " | ".join(cell.strip() for cell in row) + " |\n" for row in rows)


def _example() -> str:
    fields = to_style_config(
        "neural-style-pt",
        content_weight=5,
        style_weight=100,
        tv_weight=1e-3,
        lr=1,
        optimizer="lbfgs",
        content_layers=["relu4_2"],
        style_layers=["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"],
        height=384,
        width=512,
    )
    return (
        "## Example\n\nneural-style-pt's defaults (content 5, style 100, TV 1e-3, L-BFGS) for a"
        f" result of 512x384:\n\n```json\n{json.dumps(fields, indent=2)}\n```\n"
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(to_markdown(), encoding="utf-8")
