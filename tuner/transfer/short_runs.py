"""Suggestions tried on the person's own pictures: a run at a small size, which needs no reference.

Settings that did well on other pairs may leave these pictures unrecognizable, as a start from the
style image with a low learning rate and few steps does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.tensors import to_uint8
from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import edges
from nst_core.networks.weights import Weights
from nst_core.stylization import advance, default_device
from tuner.transfer.suggest import Suggestion

#: Longer side of the results. The recorded pairs were tuned at 64 px; strokes need some more.
SIZE_PX = 96
#: A picture that keeps less of the photo's edges is called unrecognizable. On two photos, results
#: that show the photo kept 0.40 and more, references 0.79 and more; what still was the style image
#: after 30 steps kept 0.16 and 0.28.
LEAST_EDGES = 0.35
#: How many suggestions more than asked for are tried, to replace those that fail.
SPARE = 3


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """What a suggestion made of the pictures at `SIZE_PX`.

    Attributes:
        edges: share of the content's edges that is kept, from 0 to 1.
        style: distance from the style, by the default style loss, as a share of the untouched
            content's: below 1 is nearer to the style than the photo is.
    """

    edges: float
    style: float

    @property
    def recognizable(self) -> bool:
        """Whether the photo can be recognized, and nothing diverged."""
        return self.edges >= LEAST_EDGES


#: A suggestion, its configuration at the size that was asked for, and what a short run of it gave.
Tested = tuple[Suggestion, StyleConfig, ShortRun | None]


def recognizable_first(
    suggested: Iterable[tuple[Suggestion, StyleConfig]],
    run: Callable[[StyleConfig], ShortRun],
    top: int,
) -> list[Tested]:
    """The first ``top`` suggestions whose short run leaves the photo recognizable, in their order.

    Where there are fewer, those that fail follow. No more are run than needed.
    """
    kept: list[Tested] = []
    failed: list[Tested] = []
    for suggestion, config in suggested:
        if len(kept) == top:
            break
        result = run(config)
        (kept if result.recognizable else failed).append((suggestion, config, result))
    return [*kept, *failed][:top]


class ShortRuns:
    """Runs configurations at `SIZE_PX` on one pair.

    Args:
        content_3HW: the picture to stylize.
        style_3HW: the style image.
        weights: gives a network's weights by name.
    """

    def __init__(self, content_3HW: Tensor, style_3HW: Tensor, weights: Callable[[str], Weights]):
        self._store = FeatureStore(weights, default_device())
        self._pictures = content_3HW, [(style_3HW, 1.0)]
        self._materials = LossInputs.at_size(*self._pictures, SIZE_PX)
        self._content_HW3 = to_uint8(self._materials.content_3HW)
        self._untouched = self._style_loss(self._materials.content_3HW)

    def __call__(
        self, config: StyleConfig, on_step: Callable[[int], None] = lambda _: None
    ) -> ShortRun:
        """Run one configuration with its own number of steps; ``on_step`` is told of each."""
        small = config.replace(size_px=SIZE_PX)
        for step in advance(self._store, small, self._materials):
            on_step(step.step)
        if step.outcome is not Outcome.RUNNING:
            return ShortRun(edges=0.0, style=float("inf"))
        kept = edges(to_uint8(step.image_3HW), self._content_HW3)
        return ShortRun(edges=kept, style=self._style_loss(step.image_3HW) / self._untouched)

    def _style_loss(self, image_3HW: Tensor) -> float:
        """Style loss of an image by the default settings, whatever it was made with."""
        config = StyleConfig(init="image", size_px=SIZE_PX, steps=1)
        batch = LaneBatch(self._store)
        batch.add(
            "image", config, LossInputs.at_size(*self._pictures, SIZE_PX, {"image": image_3HW})
        )
        return float(batch.advance(1).style[0])


def said_of(tested: Sequence[Tested]) -> str:
    """One line: what the short runs showed, or that there were none."""
    runs = [run for *_, run in tested if run is not None]
    if not runs:
        return "Not tried on these pictures: the ranking is that of other pairs."
    said = (
        f"Tried at {SIZE_PX} px: how much of the photo's edges is kept, and the distance from the"
        " style as a share of the untouched photo's."
    )
    if failed := sum(not run.recognizable for run in runs):
        said += (
            f" {failed} of {len(runs)} keep less than {LEAST_EDGES:.0%} of the edges, so the photo"
            " is hard to recognize: tune instead (nst-tuner tune)."
        )
    return said
