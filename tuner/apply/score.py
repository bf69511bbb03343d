"""Score one picture against a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nst_core.errors import InputError, Say, near_miss
from nst_core.metrics.registry import DEFAULT_METRICS, METRICS, weights_of
from tuner.apply.weights_files import WeightsFiles
from tuner.job.load import shapes_differ

if TYPE_CHECKING:  # torch takes seconds to load, and checking names of metrics does not need it
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
    """Return the scores of a picture, and those of the untouched content if it is given.

    Reference and content are scaled to the size of the picture, as in a run.

    Args:
        image: file of the picture to score.
        reference: file of the picture that it should look like.
        content: file of the content; None leaves out metrics that compare with the content.
        metrics: names of metrics in any order; the default metrics if empty.
        weights: weights files, each as ``NAME=FILE``.
        say: gets a line about scaling and downloads.

    Returns:
        ``image`` or ``content`` -> metric -> score.

    Raises:
        InputError: there is no such metric, a metric needs the content, a picture cannot be read or
            shows another frame, or weights are not available.
    """
    from nst_core.images.tensors import load_image, resize, to_uint8
    from nst_core.metrics.suite import MetricSuite

    check_metrics(metrics, content is not None)
    chosen = [name for name in METRICS if name in (metrics or DEFAULT_METRICS)]
    files = WeightsFiles(weights, say)
    files.check_used(sorted(weights_of(chosen)))
    picture = load_image(image)
    reference_3HW = load_image(reference)
    _check_frame("reference", reference_3HW, reference, picture)
    height, width = picture.shape[1:]
    if reference_3HW.shape != picture.shape:
        say(
            f"{reference}: {reference_3HW.shape[2]}x{reference_3HW.shape[1]} scaled to"
            f" {width}x{height}, the size of the picture"
        )
    pictures = {"image": to_uint8(picture)}
    if content is not None:
        content_3HW = load_image(content)
        _check_frame("content", content_3HW, content, picture)
        pictures["content"] = to_uint8(resize(content_3HW, height, width))
    suite = MetricSuite.load(files, metrics=chosen)
    reference_HW3 = to_uint8(resize(reference_3HW, height, width))
    content_HW3 = pictures.get("content")
    return {
        name: suite.score(p_HW3, reference_HW3, content_HW3) for name, p_HW3 in pictures.items()
    }


def _check_frame(role: str, image_3HW: Tensor, file: Path, picture_3HW: Tensor) -> None:
    """Raise InputError if an image shows another frame than the picture that is scored."""
    expected, actual = ((i.shape[2], i.shape[1]) for i in (picture_3HW, image_3HW))
    if shapes_differ(expected, actual):
        raise InputError(
            f"{file}: {actual[0]}x{actual[1]} has another shape than the picture's"
            f" {expected[0]}x{expected[1]}; crop the {role} to the picture's frame"
        )


def check_metrics(metrics: Sequence[str], with_content: bool) -> None:
    """Raise InputError if a name is not a metric, or its metric needs a content and has none."""
    for name in metrics:
        if name not in METRICS:
            hint = near_miss(name, METRICS)
            raise InputError(f"`{name}`: no such metric{hint} (there are {', '.join(METRICS)})")
        if METRICS[name].against == "content" and not with_content:
            raise InputError(f"`{name}` compares with the untouched content: give --content")
