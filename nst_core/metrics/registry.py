"""Which metrics there are, which way each points, and what it compares with. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that compares an image with another one.

    Attributes:
        higher_is_better: its direction, from which a study's direction is derived.
        unit: what the number is in.
        meaning: one line for people.
        against: what the image is compared with: the ``reference``, or the untouched ``content``.
        weights: names of the weights that it reads.
        by_default: whether it is computed where nobody asks for it.
    """

    higher_is_better: bool
    unit: str
    meaning: str
    against: Literal["reference", "content"] = "reference"
    weights: tuple[str, ...] = ()
    by_default: bool = True

    @property
    def direction(self) -> str:
        """``maximize`` or ``minimize``."""
        return "maximize" if self.higher_is_better else "minimize"

    def better(self, a: float, b: float) -> bool:
        """Whether ``a`` is strictly better than ``b``."""
        return a > b if self.higher_is_better else a < b


METRICS: Mapping[str, Metric] = {
    "lpips": Metric(
        higher_is_better=False,
        unit="distance",
        meaning="perceptual distance (AlexNet), nearest to what people see; the default objective",
        weights=("alexnet", "lpips-alex"),
    ),
    "dists": Metric(
        higher_is_better=False,
        unit="distance",
        meaning="texture and structure of the whole picture (VGG16); dear, and a Gram loss on VGG16"
        " can flatter it",
        weights=("vgg16", "dists"),
        by_default=False,
    ),
    "ssim": Metric(
        higher_is_better=True, unit="0-1", meaning="structural similarity; prefers doing nothing"
    ),
    "psnr": Metric(
        higher_is_better=True, unit="dB", meaning="peak signal-to-noise ratio; the ranking of RMSE"
    ),
    "rmse": Metric(
        higher_is_better=False, unit="0-1", meaning="root mean square difference of pixels"
    ),
    "color": Metric(
        higher_is_better=False,
        unit="Lab",
        meaning="distance between the colours that occur, wherever they are",
    ),
    "edges": Metric(
        higher_is_better=True,
        unit="0-1",
        meaning="how much of the content's edges is kept; best by doing nothing, so no objective",
        against="content",
    ),
}

#: What is computed where nobody asks for other metrics.
DEFAULT_METRICS = tuple(name for name, metric in METRICS.items() if metric.by_default)

#: What a job may optimise: the best score against the content is that of doing nothing.
OBJECTIVES = tuple(name for name, metric in METRICS.items() if metric.against == "reference")


def with_default(asked: Iterable[str]) -> tuple[str, ...]:
    """The default metrics and those that are ``asked`` for, in the order of `METRICS`."""
    wanted = {*DEFAULT_METRICS, *asked}
    return tuple(name for name in METRICS if name in wanted)


def weights_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """Names of all weights that the metrics read, each once."""
    return tuple(dict.fromkeys(name for metric in metrics for name in METRICS[metric].weights))
