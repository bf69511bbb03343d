"""Scoring one picture against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nst_core.errors import InputError, Say, near_miss
from nst_core.metrics.registry import DEFAULT_METRICS, METRICS, weights_of
from tuner.apply.weights_files import WeightsFiles
from tuner.job.load import shapes_differ

if TYPE_CHECKING:  # names of metrics are checked before torch is loaded
    from torch import Tensor


def score_image(
    image: Path,
    reference: Path,
    content: Path | None,
    *,
    metrics: Sequence[str],
    weights: Sequence[str],
    say: Say,
) -> dict[str, dict[str, float]]:
    """Scores of a picture, and of the untouched content if given, by ``image``/``content``.

    The reference, and the content, are scaled to the picture's size, as they are in a run.

    Args:
        image: the picture.
        reference: what it should look like.
        content: without it, metrics against the content are left out.
        metrics: names, in any order; the default metrics if there are none.
        weights: ``NAME=FILE`` each.
        say: told of scaling and of downloads.

    Raises:
        InputError: no such metric, a metric that needs the content without one, or a picture or
            weights that cannot be had.
    """
    from nst_core.images.tensors import load_image, resize, to_uint8
    from nst_core.metrics.suite import MetricSuite

    check_metrics(metrics, content is not None)
    chosen = [name for name in METRICS if name in (metrics or DEFAULT_METRICS)]
    files = WeightsFiles(weights, say)
    files.check_used(sorted(weights_of(chosen)))
    picture = load_image(image)
    goal = _in_frame("reference", load_image(reference), reference, picture)
    size = tuple(picture.shape[1:])
    if tuple(goal.shape[1:]) != size:
        say(
            f"{reference}: {goal.shape[2]}x{goal.shape[1]} scaled to {size[1]}x{size[0]},"
            " the size of the picture"
        )
    pictures = {"image": to_uint8(picture)}
    if content is not None:
        untouched = _in_frame("content", load_image(content), content, picture)
        pictures["content"] = to_uint8(resize(untouched, *size))
    judge = MetricSuite.load(files, metrics=chosen)
    goal_HW3, content_HW3 = to_uint8(resize(goal, *size)), pictures.get("content")
    return {name: judge.score(each, goal_HW3, content_HW3) for name, each in pictures.items()}


def _in_frame(role: str, image_3HW: Tensor, file: Path, picture_3HW: Tensor) -> Tensor:
    """The image; InputError if it shows another frame than the picture that is scored."""
    ours, other = ((i.shape[2], i.shape[1]) for i in (picture_3HW, image_3HW))
    if shapes_differ(ours, other):
        raise InputError(
            f"{file}: {other[0]}x{other[1]} has another shape than the picture's"
            f" {ours[0]}x{ours[1]}; crop the {role} to the picture's frame"
        )
    return image_3HW


def check_metrics(metrics: Sequence[str], with_content: bool) -> None:
    """Raise InputError unless each is a metric that can be computed with or without a content."""
    for name in metrics:
        if name not in METRICS:
            hint = near_miss(name, METRICS)
            raise InputError(f"`{name}`: no such metric{hint} (there are {', '.join(METRICS)})")
        if METRICS[name].against == "content" and not with_content:
            raise InputError(f"`{name}` compares with the untouched content: give --content")
