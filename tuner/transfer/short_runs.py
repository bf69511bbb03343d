"""Short runs: try suggestions on the user's own pictures at a small size, without a reference.

Settings that did well on other pairs may leave these pictures unrecognizable. An example is a start
from the style image with a low learning rate and few steps.
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
from nst_core.metrics.pixel_metrics import Edges
from nst_core.networks.weights import Weights
from nst_core.stylization import advance, default_device
from tuner.transfer.suggest import Suggestion

#: Longer side of the results in pixels. Recorded pairs were tuned at 64 px; brush strokes need a
#: little more.
SIZE_PX = 96
#: Share of the photo's edges that a recognizable result keeps at least. On two photos, results that
#: show the photo kept 0.40 or more, and references 0.79 or more; results that were still the style
#: image after 30 steps kept 0.16 and 0.28.
MIN_EDGES_KEPT = 0.35
#: Number of additional suggestions that are tried to replace those that fail.
SPARE = 3


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """Result of a suggestion on the pictures at `SIZE_PX`.

    Attributes:
        edges: share of the content's edges that the result keeps, from 0 to 1.
        style: default style loss of the result divided by that of the untouched content; below 1
            the result is nearer to the style than the photo is.
    """

    edges: float
    style: float

    @property
    def recognizable(self) -> bool:
        """Whether the photo can be recognized, and nothing diverged."""
        return self.edges >= MIN_EDGES_KEPT


#: A suggestion, its configuration at the requested size, and its short run, if there was one.
Tested = tuple[Suggestion, StyleConfig, ShortRun | None]


def recognizable_first(
    suggested: Iterable[tuple[Suggestion, StyleConfig]],
    run: Callable[[StyleConfig], ShortRun],
    top: int,
) -> list[Tested]:
    """Return the first ``top`` suggestions whose short run leaves the photo recognizable.

    If there are not enough, suggestions that failed follow.

    Args:
        suggested: suggestions with their configurations, best first.
        run: runs a configuration at a small size; it is called no more often than necessary.
        top: number of suggestions to return.
    """
    passed: list[Tested] = []
    failed: list[Tested] = []
    for suggestion, config in suggested:
        if len(passed) == top:
            break
        result = run(config)
        (passed if result.recognizable else failed).append((suggestion, config, result))
    return [*passed, *failed][:top]


class ShortRuns:
    """Runs configurations at `SIZE_PX` on one pair of pictures.

    Args:
        content_3HW: the picture to stylize.
        style_3HW: the style image.
        weights: returns the weights of a network, given its name.
    """

    def __init__(self, content_3HW: Tensor, style_3HW: Tensor, weights: Callable[[str], Weights]):
        self._store = FeatureStore(weights, default_device())
        self._pictures = content_3HW, [(style_3HW, 1.0)]
        self._inputs = LossInputs.at_size(*self._pictures, SIZE_PX)
        self._content_HW3 = to_uint8(self._inputs.content_3HW)
        self._content_style_loss = self._style_loss(self._inputs.content_3HW)

    def __call__(
        self, config: StyleConfig, on_step: Callable[[int], None] = lambda _: None
    ) -> ShortRun:
        """Run one configuration with its own number of steps.

        Args:
            config: the configuration; its size is replaced.
            on_step: called with the number of each finished step.
        """
        small = config.replace(size_px=SIZE_PX)
        for step in advance(self._store, small, self._inputs):
            on_step(step.step)
        if step.outcome is not Outcome.RUNNING:
            return ShortRun(edges=0.0, style=float("inf"))
        edges_kept = Edges()(to_uint8(step.image_3HW), self._content_HW3)
        style = self._style_loss(step.image_3HW) / self._content_style_loss
        return ShortRun(edges=edges_kept, style=style)

    def _style_loss(self, image_3HW: Tensor) -> float:
        """Return the style loss of an image with the default settings."""
        config = StyleConfig(init="image", size_px=SIZE_PX, steps=1)
        batch = LaneBatch(self._store)
        batch.add(
            "image", config, LossInputs.at_size(*self._pictures, SIZE_PX, {"image": image_3HW})
        )
        return float(batch.advance(1).style[0])


def explain_short_runs(tested: Sequence[Tested]) -> str:
    """Return a paragraph that explains the results of the short runs, or that there were none."""
    runs = [run for *_, run in tested if run is not None]
    if not runs:
        return "Not tried on these pictures: the ranking comes from other pairs."
    text = (
        f"Tried at {SIZE_PX} px: share of the photo's edges that the result keeps, and distance"
        " from the style as a share of the untouched photo's distance."
    )
    if failed := sum(not run.recognizable for run in runs):
        text += (
            f" {failed} of {len(runs)} keep less than {MIN_EDGES_KEPT:.0%} of the edges, so"
            " the photo is hard to recognize; tune instead with `nst-tuner launch`."
        )
    return text
