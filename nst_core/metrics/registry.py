"""Registry of metrics: name, direction, unit, meaning. Importing it does not load torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that compares two images.

    Attributes:
        label: the usual name, for tables, pages and sentences.
        decimals: number of decimals that people are shown.
        higher_is_better: direction of the metric, and so of a study that optimizes it.
        unit: unit or range of the number.
        meaning: one line for users.
        against: whether an image is compared with its ``reference`` or with the untouched
            ``content``.
        weights: names of the network weights that the metric needs.
        by_default: whether the metric is computed without a request.
    """

    label: str
    decimals: int
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

    def text(self, value: float) -> str:
        """Return a value as people are shown it, with `decimals`."""
        return f"{value:.{self.decimals}f}"

    def better(self, a: float, b: float) -> bool:
        """Return whether ``a`` is strictly better than ``b``."""
        return a > b if self.higher_is_better else a < b


METRICS: Mapping[str, Metric] = {
    "lpips": Metric(
        label="LPIPS",
        decimals=4,
        higher_is_better=False,
        unit="distance",
        meaning="perceptual distance (AlexNet), closest to human judgment; the default objective",
        weights=("alexnet", "lpips-alex"),
    ),
    "stlpips": Metric(
        label="ST-LPIPS",
        decimals=4,
        higher_is_better=False,
        unit="distance",
        meaning="ST-LPIPS: as lpips, but strokes that are shifted by a few pixels hardly count;"
        " slower",
        weights=("stlpips-alex",),
        by_default=False,
    ),
    "dists": Metric(
        label="DISTS",
        decimals=4,
        higher_is_better=False,
        unit="distance",
        meaning="texture and structure of the whole picture (VGG16); slow, and a Gram loss on VGG16"
        " can exploit it",
        weights=("vgg16", "dists"),
        by_default=False,
    ),
    "ssim": Metric(
        label="SSIM",
        decimals=3,
        higher_is_better=True,
        unit="0-1",
        meaning="structural similarity; prefers the untouched content",
    ),
    "psnr": Metric(
        label="PSNR",
        decimals=2,
        higher_is_better=True,
        unit="dB",
        meaning="peak signal-to-noise ratio; ranks like RMSE",
    ),
    "rmse": Metric(
        label="RMSE",
        decimals=4,
        higher_is_better=False,
        unit="0-1",
        meaning="root mean squared difference of pixels",
    ),
    "color": Metric(
        label="Color",
        decimals=2,
        higher_is_better=False,
        unit="Lab",
        meaning="distance between the colors of two pictures, wherever they occur",
    ),
    "edges": Metric(
        label="Edges",
        decimals=3,
        higher_is_better=True,
        unit="0-1",
        meaning="share of the content's edges that is kept; best for the untouched content, so it"
        " cannot be the objective",
        against="content",
    ),
}

#: Metrics that are always computed.
DEFAULT_METRICS = tuple(name for name, metric in METRICS.items() if metric.by_default)

#: Metrics that are computed only on request, since they take long.
ON_REQUEST = tuple(name for name, metric in METRICS.items() if not metric.by_default)

#: Metrics that a job may optimize. The untouched content always has the best score against itself.
OBJECTIVES = tuple(name for name, metric in METRICS.items() if metric.against == "reference")


def with_default(asked: Iterable[str]) -> tuple[str, ...]:
    """Return the default metrics and those that are ``asked`` for, in the order of `METRICS`."""
    wanted = {*DEFAULT_METRICS, *asked}
    return tuple(name for name in METRICS if name in wanted)


def weights_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """Return the names of all weights that some metrics need, without duplicates."""
    return tuple(dict.fromkeys(name for metric in metrics for name in METRICS[metric].weights))
