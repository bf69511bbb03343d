"""What the loss weights of public engines are in ours. No torch here.

Engines of one family differ in what they divide by: the same "style weight 100" means another
picture in each. `ENGINES` says for each of them by which factor its terms differ from those of
`nst_core.functional`, taken from its source code, and `to_style_config` multiplies the factors
into weights of ours, so that the two losses are equal, not only proportional.

``python -m nst_core.conversions`` prints the table as docs/conversions.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nst_core.errors import InputError, near_miss
from nst_core.networks import EXTRACTORS, NETWORKS

#: Channels of VGG's five blocks (Simonyan & Zisserman, arXiv 1409.1556, table 1).
VGG_CHANNELS = (64, 128, 256, 512, 512)


class Grid(NamedTuple):
    """What a layer's features look like: C channels at M positions, of an image of H W pixels."""

    channels: int
    positions: int
    pixels: int


class Factor(NamedTuple):
    """A factor that may depend on the layer, and the formula as people write it."""

    formula: str
    of: Callable[[Grid], float]


ONE = Factor("1", lambda grid: 1.0)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """The total variation of an engine.

    Attributes:
        norm: ours that it is a multiple of: ``l1`` or ``l2``.
        formula: as people write it; n is `differences`.
        of: factor of ours, a function of height and width, for pixels in the engine's own range.
        exact: where the two are equal.
    """

    norm: str
    formula: str
    of: Callable[[int, int], float]
    exact: str


#: Ways to put a term's layers together: layer weights w of n layers -> factors.
LAYER_RULES: Mapping[str, Callable[[float, float, int], float]] = {
    "sum": lambda weight, total, count: weight,
    "mean": lambda weight, total, count: weight / count,
    "shares": lambda weight, total, count: weight / total,
}

#: What the learning rate is divided by for pixels of a range R: a step of Adam is as long as its
#: rate, one of gradient descent has the range once more in the gradient, and L-BFGS' steps are
#: those of a quasi-Newton method, which do not depend on the scale of the variable.
LR_DIVISORS: Mapping[str, Callable[[int], float]] = {
    "adam": lambda pixel_range: pixel_range,
    "sgd": lambda pixel_range: pixel_range**2,
    "lbfgs": lambda pixel_range: 1,
}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How one engine computes its loss, compared with ours on the same features.

    Attributes:
        name: what `to_style_config` calls it.
        source: repository and file that the formulas were read in.
        style_loss: ours that its style term is a multiple of.
        gram: our normalisation of Gram matrices that it shares.
        style: its style term of one layer, as a multiple of ours with that normalisation.
        content: its content term of one layer, as a multiple of ours.
        style_layers: key of `LAYER_RULES`.
        content_layers: likewise.
        style_power: the weight of the style enters the gradient with this power.
        content_power: likewise.
        tv: its total variation, None where it has none or one that is no multiple of ours.
        pixel_range: the pixels that it optimises go from 0 to this, before a mean is subtracted.
        normalization: ours that pixels enter its network with, None where we have none like it.
        padding: likewise.
        note: what else to know.
    """

    name: str
    source: str
    style_loss: str = "gram"
    gram: str = "per_element"
    style: Factor = ONE
    content: Factor = ONE
    style_layers: str = "sum"
    content_layers: str = "sum"
    style_power: int = 1
    content_power: int = 1
    tv: Variation | None = None
    pixel_range: int = 255
    normalization: str | None = "caffe"
    padding: str = "zeros"
    note: str = ""

    def style_factor(self, grid: Grid) -> float:
        """Its style term of one layer as a multiple of ours over ``per_pixel`` Grams."""
        return self.style.of(grid) / (grid.channels**2 if self._divides_by_channels else 1)

    @property
    def style_formula(self) -> str:
        """`style_factor` as people write it."""
        return "1/C²" if self._divides_by_channels else self.style.formula

    @property
    def _divides_by_channels(self) -> bool:
        return self.style_loss == "gram" and self.gram == "per_element"

    def tv_factor(self, height: int, width: int) -> float:
        """Its total variation as a multiple of ours, on pixels in [0, 1].

        Raises:
            InputError: it has none, or one that is no multiple of ours.
        """
        if self.tv is None:
            raise InputError(
                f"{self.name}: no total variation, or none that ours repeats;"
                " expected `tv_weight` 0"
            )
        power = 1 if self.tv.norm == "l1" else 2
        return self.tv.of(height, width) * float(self.pixel_range) ** power

    @property
    def tv_formula(self) -> str:
        """`tv_factor` as people write it, with the norm of ours that it is a multiple of."""
        if self.tv is None:
            return "-"
        scale = {"l1": f"{self.pixel_range} ", "l2": f"{self.pixel_range}² "}[self.tv.norm]
        of = "" if self.tv.formula == "1" else self.tv.formula
        factor = f"{'' if self.pixel_range == 1 else scale}{of}".strip()
        return f"{self.tv.norm}: {factor or 1}, {self.tv.exact}"


def differences(height: int, width: int) -> float:
    """How many differences of neighbours an image has in a direction: 3 (2 H W - H - W) / 2.

    A mean over the two directions, which have 3 H (W - 1) and 3 (H - 1) W; no other in a square.
    """
    return 3 * (2 * height * width - height - width) / 2


def _cropped_mean(height: int, width: int) -> float:
    """A mean over the block without the last row and column, but for those two."""
    return differences(height, width) / (3 * (height - 1) * (width - 1))


_SUM_OF_ABSOLUTES = Variation(norm="l1", formula="n", of=differences, exact="equal in squares")

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            name="neural-style-pt",
            source="ProGamerGov/neural-style-pt: neural_style.py",
            tv=_SUM_OF_ABSOLUTES,
            pixel_range=256,
            note="Pixels are multiplied by 256 and Caffe's mean for 255 is subtracted, so that its"
            " network sees 0.4 % more contrast than ours. Not with `-normalize_weights`.",
        ),
        Engine(
            name="neural-style-lua",
            source="jcjohnson/neural-style: neural_style.lua",
            tv=Variation(
                norm="l2",
                formula="n/2",
                of=lambda height, width: differences(height, width) / 2,
                exact="equal in squares but for the last row and column",
            ),
            pixel_range=256,
            note="Its total variation is a gradient only: the loss that it reports and that L-BFGS"
            " sees is without it. Pixels as neural-style-pt. Not with `-normalize_gradients`.",
        ),
        Engine(
            name="anishathalye",
            source="anishathalye/neural-style: stylize.py",
            style_layers="shares",
            content_layers="shares",
            tv=Variation(norm="l2", formula="1", of=lambda height, width: 1.0, exact="equal"),
            note="Weighs the losses of several styles, not their Grams: a constant more than ours,"
            " with the same gradient. Early versions summed layers and squared differences.",
        ),
        Engine(
            name="gordicaleksa",
            source="gordicaleksa/pytorch-neural-style-transfer: neural_style_transfer.py and"
            " utils/utils.py",
            gram="per_pixel",
            style_layers="mean",
            tv=_SUM_OF_ABSOLUTES,
            normalization=None,
            note="Sums over the entries of Grams divided by C M, which are our means over those"
            " divided by M. Its `conv4_2` is relu4_2: the ReLU after it works in place."
            " torchvision's weights see pixels of 0 to 255 less the mean, which no normalisation"
            " of ours repeats.",
        ),
        Engine(
            name="pystiche",
            source="pystiche/pystiche 1.0.1: pystiche/loss",
            gram="per_pixel",
            style_layers="mean",
            tv=Variation(
                norm="l2",
                formula="n / (3 (H-1) (W-1))",
                of=_cropped_mean,
                exact="equal in squares but for the last row and column",
            ),
            pixel_range=1,
            normalization="imagenet",
            note="With the exponent 2 and layer weights left at `mean`; a list of weights is taken"
            " as it stands, so give it times the number of layers.",
        ),
        Engine(
            name="gatys-code",
            source="leongatys/PytorchNeuralStyleTransfer: NeuralStyleTransfer.ipynb",
            note="Its list of style weights is 1e3/C²: the style weight here is the 1e3.",
        ),
        Engine(
            name="gatys-paper",
            source="Gatys, Ecker, Bethge, CVPR 2016, eq. 1 to 7",
            gram="per_pixel",
            style=Factor("1/4", lambda grid: 0.25),
            content=Factor("C M / 2", lambda grid: grid.channels * grid.positions / 2),
            style_layers="mean",
            note="Style image and result of one size. Its VGG19 was normalised to mean activations"
            " of one and pooled by average.",
        ),
        Engine(
            name="pytorch-tutorial",
            source="pytorch/tutorials: advanced_source/neural_style_tutorial.py",
            pixel_range=1,
            normalization="imagenet",
            note="Reads convolutions, not ReLUs: conv_1 to conv_5 are conv1_1, conv1_2, conv2_1,"
            " conv2_2 and conv3_1.",
        ),
        Engine(
            name="keras",
            source="keras-team/keras-io: examples/generative/neural_style_transfer.py",
            gram="per_pixel",
            style=Factor(
                "(C M / (6 H W))²",
                lambda grid: (grid.channels * grid.positions / (6 * grid.pixels)) ** 2,
            ),
            content=Factor("C M", lambda grid: float(grid.channels * grid.positions)),
            style_layers="mean",
            note="Style image and result of one size. Its total variation is the sum of"
            " (dx² + dy²)^1.25, which is no multiple of ours. Its SGD has no momentum.",
        ),
        Engine(
            name="crowsonkb",
            source="crowsonkb/style-transfer-pytorch: style_transfer/style_transfer.py, versions"
            " with StyleLossW2",
            style_loss="wasserstein",
            gram="per_pixel",
            style_layers="shares",
            content_layers="mean",
            tv=Variation(
                norm="l2",
                formula="1",
                of=lambda height, width: 1.0,
                exact="in smooth pictures, 5/6 in noise, 2/3 in a checkerboard",
            ),
            pixel_range=1,
            normalization="imagenet",
            padding="replicate_first",
            note="Wasserstein-2 over C: equal but for what is added to the covariances, 1e-4 there"
            " and 1e-4 of their mean variance here, and but for its root, found by 12 Newton-Schulz"
            " iterations. Its total variation also counts diagonals.",
        ),
        Engine(
            name="maua",
            source="JCBrouwer/maua-style: loss.py, versions with dynamic_loss",
            style_power=3,
            content_power=2,
            tv=_SUM_OF_ABSOLUTES,
            note="Its `normalize` is on by default and acts on the loss, a scalar: gradients are"
            " multiplied by the weight once or twice more, and the loss that it reports is not the"
            " one it descends. With `-no_grad_norm` it is neural-style-pt's, with 255."
            " Early versions have 256.",
        ),
        Engine(
            name="maua-early",
            source="JCBrouwer/maua-style: loss.py, versions without dynamic_loss",
            style_power=2,
            content_power=2,
            tv=_SUM_OF_ABSOLUTES,
            note="As maua; which of the two is the younger is told from what they can do.",
        ),
    )
}

#: Losses that no weights of ours repeat, and why.
WITHOUT_CONVERSION: Mapping[str, str] = {
    "crowsonkb-gram": "crowsonkb/style-transfer-pytorch, versions with ScaledMSELoss: squared"
    " differences are divided by the sum of absolute ones, so the factor changes in every step",
    "neural-style-lua with -normalize_gradients": "each term's gradient is divided by its own L1"
    " norm in every step; `weight_schedule: balance` is the nearest of ours",
    "pystiche's MRFLoss": "matches patches of features, which no style loss of ours does",
    "pystiche's TotalVariationLoss with another exponent than 2": "joins the two directions under"
    " one root",
}


def to_style_config(
    engine: str,
    *,
    content_weight: float,
    style_weight: float,
    content_layers: Mapping[str, float] | Iterable[str],
    style_layers: Mapping[str, float] | Iterable[str],
    height: int,
    width: int,
    tv_weight: float = 0.0,
    lr: float | None = None,
    optimizer: str = "adam",
    extractor: str = "vgg19",
) -> dict[str, Any]:
    """Fields of `StyleConfig` whose loss is the engine's, given the engine's own weights.

    On the same features the two losses are equal: the common factor is one, except where
    `Engine.note` tells a gradient from a reported loss. Features are the same only with the
    engine's own weights of the network (Caffe's, for most).

    Args:
        engine: a key of `ENGINES`.
        content_weight: as the engine is given it, as all that follows.
        style_weight: likewise.
        content_layers: layers, with the weights that the engine multiplies them with, if it does.
        style_layers: likewise.
        height: of the result in pixels, since many engines sum over pixels.
        width: likewise.
        tv_weight: likewise.
        lr: in the engine's pixel units; None leaves ours.
        optimizer: ``adam``, ``sgd`` or ``lbfgs``; they scale differently with pixels.
        extractor: the network whose layers these are.

    Raises:
        InputError: no such engine, or no weights of ours repeat what is asked for.
    """
    known = _engine(engine)
    grids = _Grids(extractor, height, width)
    fields: dict[str, Any] = {
        "extractor": extractor,
        "content_weight": float(content_weight) ** known.content_power,
        "content_layers": _weighed(content_layers, known.content_layers, known.content, grids),
        "style_weight": float(style_weight) ** known.style_power,
        "style_layers": _weighed(style_layers, known.style_layers, known.style, grids),
        "style_loss": known.style_loss,
        "gram": known.gram,
        "padding": known.padding,
        "tv_weight": 0.0,
        "optimizer": optimizer,
    }
    if known.normalization is not None:
        fields["normalization"] = known.normalization
    if tv_weight:
        fields["tv_weight"] = tv_weight * known.tv_factor(height, width)
        fields["tv_norm"] = known.tv.norm if known.tv else "l2"
    if optimizer not in LR_DIVISORS:
        raise InputError(f"`{optimizer}`: no conversion; expected one of {', '.join(LR_DIVISORS)}")
    if lr is not None:
        fields["lr"] = lr / LR_DIVISORS[optimizer](known.pixel_range)
    return fields


def _engine(name: str) -> Engine:
    if name in ENGINES:
        return ENGINES[name]
    if name in WITHOUT_CONVERSION:
        raise InputError(f"{name} has no conversion: {WITHOUT_CONVERSION[name]}")
    hint = near_miss(name, ENGINES)
    raise InputError(f"`{name}`: no such engine{hint} (known: {', '.join(ENGINES)})")


@dataclass(frozen=True)
class _Grids:
    """The layers of a network on an image of a given size."""

    extractor: str
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.extractor not in EXTRACTORS:
            hint = near_miss(self.extractor, EXTRACTORS)
            raise InputError(f"`{self.extractor}`: no such network{hint}")
        if min(self.height, self.width) < 2:
            raise InputError(f"{self.width}x{self.height}: expected at least 2x2 pixels")

    def of(self, layer: str) -> Grid:
        """Grid of a VGG layer; its poolings halve and round down."""
        if problem := NETWORKS[self.extractor].problem_with(layer):
            raise InputError(problem)
        if not self.extractor.startswith("vgg"):
            raise InputError(f"`{layer}`: known are the channels of vgg16 and vgg19 only")
        block = int(next(character for character in layer if character.isdigit()))
        halvings = block if layer.startswith("pool") else block - 1
        return Grid(
            channels=VGG_CHANNELS[block - 1],
            positions=(self.height >> halvings) * (self.width >> halvings),
            pixels=self.height * self.width,
        )


def _weighed(
    layers: Mapping[str, float] | Iterable[str], rule: str, factor: Factor, grids: _Grids
) -> dict[str, float]:
    """Our layer weights for an engine's."""
    given = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    total = sum(given.values())
    if not total > 0:
        raise InputError(f"{given}: expected at least one layer with a weight above 0")
    return {
        layer: LAYER_RULES[rule](weight, total, len(given))
        # Other networks than VGG have their uses where nothing depends on the layer.
        * (1.0 if factor is ONE else factor.of(grids.of(layer)))
        for layer, weight in given.items()
    }


_INTRODUCTION = """\
# Loss weights of public engines in ours

Written by `python -m nst_core.conversions`; change `nst_core/conversions.py`, not this file.

Engines that descend from Gatys et al. (CVPR 2016) compare the same features and divide by other
numbers. For each engine, its term is `weight × factor × ours`, with these terms of ours
(`nst_core.functional`):

- style of a layer: mean over C² of `(F Fᵀ/M - S Sᵀ/Mₛ)²`, for F of C channels at M positions and
  the style's S at Mₛ; `gram: per_element` divides the matrices by C too, so the loss by C²;
- content of a layer: mean of `(F - F꜀)²`;
- total variation: mean of `d²` (l2) or `|d|` (l1) over the differences d of pixels in [0, 1] to
  their right neighbours, plus that to their lower ones. `n = 3 (2 H W - H - W) / 2` is how many
  there are in a direction, in the mean of the two; in a square it is both.

`to_style_config` multiplies the factors into weights of ours. The losses are then equal: **the
common factor is one**, so that optimizers that mind the loss's size (L-BFGS in its first step,
Adam's epsilon) see the same size. `tests/nst_core/test_conversions.py` compares every engine's
formula with ours, in value and in gradient.

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
    sys.stdout.write(to_markdown())
