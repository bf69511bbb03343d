"""The page about loss weights of public engines, from the table of these engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from nst_core.presets.conversions import to_style_config
from nst_core.presets.public_engines import ENGINES, WITHOUT_CONVERSION, Engine

_INTRODUCTION = """\
# Loss weights of other engines

<!-- Written by `python -m docs.generate` from nst_core/presets/public_engines.py; do not edit. -->

Engines that descend from Gatys et al. (CVPR 2016) compare the same features, but scale their losses
differently. This page says how to convert their loss weights into ours. In short: multiply a weight of
theirs by the factor in the table. `nst_core.presets.conversions.to_style_config` does this for you.

In the table, each loss term of an engine is `weight × factor × our term`. Our terms
(`nst_core.losses.functional`) are:

- style of a layer: mean over C² of `(F Fᵀ/M - S Sᵀ/Mₛ)²`, for features F with C channels at M
  positions, and style features S at Mₛ positions. With `gram: per_element` the matrices are also
  divided by C, so the loss is divided by C²;
- content of a layer: mean of `(F - F꜀)²`;
- total variation: mean of `d²` (l2) or `|d|` (l1) over the differences d of pixels in [0, 1] to
  their right neighbors, plus the same for their lower neighbors. `n = 3 (2 H W - H - W) / 2` is the
  number of differences in one direction, averaged over the two directions; in a square both are n.

After the conversion the losses are equal, not only proportional. This matters for optimizers that
depend on the size of the loss (L-BFGS in its first step, Adam's epsilon).
`tests/nst_core/presets/test_conversions.py` compares every engine's formula with ours, in value and in
gradient.

Column "layers": `sum` uses layer weights as they are, `mean` divides them by the number of layers,
`shares` divides them by their sum.
"""

_LEARNING_RATES = """\
## Learning rates

Some engines optimize pixels from 0 to R instead of 0 to 1. Convert their learning rate like this:

- Adam: divide by R.
- Gradient descent: divide by R², since the gradient also grows by R.
- L-BFGS: keep it.

Two quantities are not converted: the first step of L-BFGS, which is a multiple of the gradient and so
depends on the unit, and Adam's epsilon, which would be R times as large and matters only for vanishing
gradients.
"""

_FEATURES = """\
## Features

The factors hold for the same features. Caffe's VGG and torchvision's VGG were trained separately, so no
factor converts one into the other. To use Caffe's weights, pass `--weights vgg19=FILE`, and set
`normalization: caffe` (which `to_style_config` does) to give the network the pixels that it expects.
"""


def to_markdown() -> str:
    """Return the page: factors, sources and an example."""
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
    """Return the formula of a factor, with the power of the weight that it multiplies."""
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
