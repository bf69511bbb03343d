"""Quality: a network against the optimization that it replaces, on photos it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor

from nst_core.distill.objective import NetworkStyle, Objective
from nst_core.distill.photos import Photo
from nst_core.errors import WorkError
from nst_core.images.sizes import least_size_px
from nst_core.images.tensors import resize_longer_side, to_levels
from nst_core.lanes.batch import Outcome
from nst_core.lanes.initialization import feed_forward_start
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import MetricSuite
from nst_core.stylization import advance

#: Passes of the network whose median time counts.
_PASSES = 5

#: The pictures that are compared, in the order of the table.
PICTURES = ("network", "optimization", "untouched")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Three pictures of one photo in one style.

    Attributes:
        style: name of the style.
        photo: name of the photo.
        images: picture of `PICTURES` -> image_3HW, float32 in [0, 1].
        losses: picture -> the preset's loss.
        ms: picture -> milliseconds to make it.
        scores: picture -> metric -> score against the optimization's picture.
    """

    style: str
    photo: str
    images: dict[str, Tensor]
    losses: dict[str, float]
    ms: dict[str, float]
    scores: dict[str, dict[str, float]]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each picture."""
        return [
            {
                "style": self.style,
                "photo": self.photo,
                "picture": picture,
                "loss": self.losses[picture],
                "loss / optimization": self.losses[picture] / self.losses["optimization"],
                "loss / untouched": self.losses[picture] / self.losses["untouched"],
                "ms": self.ms[picture],
                **self.scores[picture],
            }
            for picture in PICTURES
        ]


def compare(
    network: Callable[[Tensor, int], Tensor],
    styles: Sequence[NetworkStyle],
    photos: Sequence[Photo],
    store: FeatureStore,
    suite: MetricSuite,
) -> Iterator[Comparison]:
    """Stylize photos by the network and by the optimization of each preset; yield each comparison.

    Args:
        network: returns the picture of a photo in the style of an index, at strength 1.
        styles: the styles of the network.
        photos: photos that the network was not trained on.
        store: loss networks.
        suite: metrics.

    Raises:
        WorkError: an optimization diverged.
        InputError: a photo cannot be read.
    """
    objective = Objective(store, styles)
    for index, style in enumerate(styles):
        for photo in photos:
            content = _scaled(photo, style.config.size_px)
            optimized, optimized_ms = _optimize(store, style, content)
            images = {
                "network": network(content, index),
                "optimization": optimized,
                "untouched": content,
            }
            yield Comparison(
                style=style.name,
                photo=photo.name,
                images=images,
                losses=_losses(objective, store, index, content, images),
                ms={
                    "network": _milliseconds(lambda c=content, i=index: network(c, i)),  # type: ignore[misc]
                    "optimization": optimized_ms,
                    "untouched": 0.0,
                },
                scores=_scores(suite, images),
            )


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the means of `Comparison.rows` over all photos, for each style and picture."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["style"], row["picture"]), []).append(row)
    return [
        {
            "style": style,
            "picture": picture,
            "photos": len(group),
            **{
                key: mean(row[key] for row in group)
                for key in group[0]
                if _is_number(group[0][key])
            },
        }
        for (style, picture), group in groups.items()
    ]


def _scaled(photo: Photo, size_px: int) -> Tensor:
    """Return a photo at the size of the training, or larger if it is very long."""
    image = photo.load()
    height, width = image.shape[1:]
    return resize_longer_side(image, max(size_px, least_size_px(width, height)))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _optimize(
    store: FeatureStore, style: NetworkStyle, content_3HW: Tensor
) -> tuple[Tensor, float]:
    """Return the picture of the preset's own optimization, and the milliseconds it took."""
    config, started, last = style.config, time.perf_counter(), None
    starts = {}
    if config.init == "feed_forward":
        start_3HW = feed_forward_start(content_3HW, style.styles, config.size_px)
        starts = {"feed_forward": start_3HW}
    inputs = style.inputs(content_3HW, starts)
    for step in advance(store, config, inputs, every=config.steps):
        last = step
    assert last is not None
    if last.outcome is not Outcome.RUNNING:
        raise WorkError(f"{style.name}: step {last.step}: {last.outcome.value}")
    store.forget(inputs)
    return last.image_3HW, 1e3 * (time.perf_counter() - started)


def _losses(
    objective: Objective,
    store: FeatureStore,
    style: int,
    content_3HW: Tensor,
    images: dict[str, Tensor],
) -> dict[str, float]:
    count = len(images)
    results = store.place(torch.stack(list(images.values())))
    with torch.no_grad():
        loss_N = objective(
            results,
            content_3HW.expand(count, -1, -1, -1),
            [style] * count,
            torch.ones(count, device=store.device),
        )
    return dict(zip(images, loss_N.tolist(), strict=True))


def _scores(suite: MetricSuite, images: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Return the metrics of each picture against that of the optimization, as they are saved."""
    levels = {name: to_levels(image) for name, image in images.items()}
    goal, content = levels["optimization"], levels["untouched"]
    return {name: suite.score(image, goal, content) for name, image in levels.items()}


def _milliseconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_PASSES):
        started = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - started))
    return median(times)
