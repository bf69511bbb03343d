"""Which metrics there are and which way each points. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Where LPIPS reads AlexNet.
LPIPS_LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that compares an image with a reference.

    Attributes:
        higher_is_better: its direction, from which a study's direction is derived.
        unit: what the number is in.
        meaning: one line for people.
    """

    higher_is_better: bool
    unit: str
    meaning: str

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
}
