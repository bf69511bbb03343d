"""Loss formulas of public engines, as multiples of ours. This module does not load torch.

Engines divide their loss terms by different numbers, so that the same "style weight 100" gives a
different picture in each. `ENGINES` contains the factor between each term and the one of
`nst_core.losses.functional`, taken from the source code of the engine;
`nst_core.presets.conversions` applies the factors to weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nst_core.errors import InputError


class Grid(NamedTuple):
    """Size of a layer's features.

    Attributes:
        channels: number of channels, C in formulas.
        positions: number of positions, M in formulas.
        pixels: number of pixels of the image, H W in formulas.
    """

    channels: int
    positions: int
    pixels: int


class Factor(NamedTuple):
    """A factor that may depend on the layer.

    Attributes:
        formula: formula to be shown in a table.
        of: function that computes the factor.
    """

    formula: str
    of: Callable[[Grid], float]


ONE = Factor("1", lambda grid: 1.0)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """The total variation of an engine.

    Attributes:
        norm: our ``tv_norm`` of which it is a multiple: ``l1`` or ``l2``.
        formula: formula of the factor, to be shown in a table; n is `differences`.
        of: function from height and width to the factor, for pixels in the engine's own range.
        exact: pictures for which both are equal, to be shown in a table.
    """

    norm: str
    formula: str
    of: Callable[[int, int], float]
    exact: str


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Loss of one engine, compared with ours on the same features.

    Attributes:
        name: name of the engine in `to_style_config`.
        source: repository and file that contain the formulas.
        style_loss: our ``style_loss`` of which its style term is a multiple.
        gram: our normalization of Gram matrices that it uses.
        style: factor between its style term of one layer and ours with this normalization.
        content: factor between its content term of one layer and ours.
        style_layers: how it combines style layers, a key of `LAYER_RULES`.
        content_layers: how it combines content layers, a key of `LAYER_RULES`.
        style_power: power with which the style weight enters the gradient.
        content_power: power with which the content weight enters the gradient.
        tv: its total variation; None if it has none, or none that is a multiple of ours.
        pixel_range: largest value of the pixels that it optimizes, before a mean is subtracted.
        normalization: our normalization that it uses; None if we have no equal.
        padding: our padding that it uses.
        average_gain: factor after its average pooling; None if it is not known.
        note: other differences.
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
    average_gain: float | None = None
    note: str = ""

    def style_factor(self, grid: Grid) -> float:
        """Return the factor between its style term of a layer and ours with ``per_pixel`` Grams."""
        return self.style.of(grid) / (grid.channels**2 if self._divides_by_channels else 1)

    @property
    def style_formula(self) -> str:
        """Formula of `style_factor`, to be shown in a table."""
        return "1/C²" if self._divides_by_channels else self.style.formula

    @property
    def _divides_by_channels(self) -> bool:
        return self.style_loss == "gram" and self.gram == "per_element"

    def tv_factor(self, height: int, width: int) -> float:
        """Return the factor between its total variation and ours, for pixels in [0, 1].

        Raises:
            InputError: it has no total variation, or none that is a multiple of ours.
        """
        if self.tv is None:
            raise InputError(
                f"{self.name}: has no total variation, or none that is a multiple of ours; expected"
                " `tv_weight` 0"
            )
        power = 1 if self.tv.norm == "l1" else 2
        return self.tv.of(height, width) * float(self.pixel_range) ** power

    @property
    def tv_formula(self) -> str:
        """Formula of `tv_factor` with our norm, to be shown in a table."""
        if self.tv is None:
            return "-"
        scale = {"l1": f"{self.pixel_range} ", "l2": f"{self.pixel_range}² "}[self.tv.norm]
        of = "" if self.tv.formula == "1" else self.tv.formula
        factor = f"{'' if self.pixel_range == 1 else scale}{of}".strip()
        return f"{self.tv.norm}: {factor or 1}, {self.tv.exact}"


def differences(height: int, width: int) -> float:
    """Return the mean number of differences of neighbors per direction, 3 (2 H W - H - W) / 2.

    There are 3 H (W - 1) horizontal and 3 (H - 1) W vertical differences, as many in a square.
    """
    return 3 * (2 * height * width - height - width) / 2


def _cropped_mean(height: int, width: int) -> float:
    """Return the factor of a mean over the picture without its last row and column."""
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
            average_gain=1,
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
            average_gain=1,
            note="Its total variation is a gradient only: the loss that it reports and that L-BFGS"
            " sees is without it. Pixels as neural-style-pt. Not with `-normalize_gradients`.",
        ),
        Engine(
            name="anishathalye",
            source="anishathalye/neural-style: stylize.py",
            style_layers="shares",
            content_layers="shares",
            tv=Variation(norm="l2", formula="1", of=lambda height, width: 1.0, exact="equal"),
            average_gain=1,
            note="With several styles, it adds weighted losses instead of weighted Grams: the loss"
            " differs from ours by a constant, and the gradient is the same. Early versions summed"
            " layers and squared differences.",
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
            " torchvision's weights get pixels of 0 to 255 minus the mean, for which there is no"
            " equal normalization here.",
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
            note="For the exponent 2 and layer weights `mean`. A list of weights is not divided by"
            " the number of layers, so multiply the list by this number.",
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
            note="For a style image as large as the result. Its VGG19 was normalized to mean"
            " activations of 1 and used average pooling.",
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
            note="For a style image as large as the result. Its total variation is the sum of"
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
            average_gain=2,
            note="Wasserstein-2 distance divided by C. Two details differ: it adds 1e-4 to"
            " covariances, where we add 1e-4 times the mean variance, and it computes the square"
            " root by 12 Newton-Schulz iterations. Its total variation includes diagonals.",
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
            note="As maua. Which version is older was concluded from their features.",
        ),
    )
}

#: Engine or loss without a conversion -> reason.
WITHOUT_CONVERSION: Mapping[str, str] = {
    "crowsonkb-gram": "crowsonkb/style-transfer-pytorch, versions with ScaledMSELoss: squared"
    " differences are divided by the sum of absolute ones, so the factor changes in every step",
    "neural-style-lua with -normalize_gradients": "each term's gradient is divided by its own L1"
    " norm in every step; `weight_schedule: balance` is the nearest of ours",
    "pystiche's MRFLoss": "matches patches of features, for which we have no equal style loss",
    "pystiche's TotalVariationLoss with another exponent than 2": "takes one root of the two"
    " directions",
}
