"""Formulas of loss terms: time, and error of the gradient, of those in use and of alternatives.

Command: ``python -m benchmarks.losses``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import geometric_mean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    on_one_thread,
    progress,
    publish,
    run,
)
from benchmarks.support.emulated_precision import Bfloat16Products, Tf32Products
from benchmarks.support.loss_formulas import (
    content_in_order_nchw,
    masked_moments_by_autograd,
    picture_features,
    root_in_the_dtype_of_features,
    second_moment_only,
    wasserstein_by_newton_schulz,
    wasserstein_in_the_dtype_of_features,
)
from nst_core.losses.functional import (
    content_loss,
    covariance_root,
    gram_loss,
    mean_cov_loss,
    moments,
    style_loss,
)
from nst_core.networks.weights import get_weights

LAYERS = ("relu2_1", "relu3_1", "relu4_1")
SIZES_PX, QUICK_SIZES_PX = (64, 256), (64,)
TURNS, QUICK_TURNS = 9, 3
#: Iterations of Newton-Schulz: 12 are those of crowsonkb/style-transfer-pytorch.
ITERATIONS = (12, 20, 32)

USED = "in use"


class Formula(NamedTuple):
    """A formula of a loss, for one target.

    Attributes:
        loss: name of the loss. The first formula of a loss is the one that others are compared to.
        name: name of the formula.
        loss_of: function from feat_1CHW to loss_N.
        emulated: emulation of another precision around it; its time then means nothing.
    """

    loss: str
    name: str
    loss_of: Callable[[Tensor], Tensor]
    emulated: Callable[[], Any] | None = None

    def gradient(self, feat: Tensor) -> Tensor:
        """Return the gradient with respect to the features."""
        feat = feat.detach().requires_grad_()
        with self.emulated() if self.emulated else contextlib.nullcontext():
            return torch.autograd.grad(self.loss_of(feat).sum(), feat)[0]


def main(quick: QuickOption = False, json_file: JsonOption = None) -> None:
    """Compare formulas on features of the sample pictures in layers of VGG16."""
    on_one_thread()
    rows: list[Row] = []
    with progress() as bar:
        for size_px in bar.track(QUICK_SIZES_PX if quick else SIZES_PX):
            features = picture_features(get_weights, LAYERS, size_px)
            for layer, (photo, style) in features.items():
                place = {"size px": size_px, "layer": layer}
                rows += compared(photo, style, place, QUICK_TURNS if quick else TURNS)
    used = [row for row in rows if row["formula"] == USED]
    publish(
        "Formulas of the loss terms",
        "Loss and gradient with respect to the features of the sample photo in VGG16; the sample"
        " style is the target. Times are medians of the processor time of one thread, in turns;"
        " `× faster` compares with the first formula of the loss. `gradient error`: norm of the"
        " difference from the gradient in float64, over the norm of that gradient. TF32 and"
        " bfloat16 products are emulated, so they have no time.",
        [
            Section(title=loss, rows=[row for row in rows if row["loss"] == loss], columns=COLUMNS)
            for loss in dict.fromkeys(row["loss"] for row in rows)
        ],
        goals=[
            Goal(
                name=f"{loss}: × faster than before, geometric mean",
                value=geometric_mean([row["× faster"] for row in used if row["loss"] == loss]),
                goal=1.2,
            )
            for loss in ("content", "mean_cov under a mask")
        ]
        + [
            Goal(
                name="worst gradient error of a formula in use",
                value=max(row["gradient error"] for row in used),
                goal=1e-4,
                at_most=True,
            )
        ],
        json_file=json_file,
    )


COLUMNS = ("size px", "layer", "channels", "formula", "ms", "× faster", "gradient error")


def compared(photo: Tensor, style: Tensor, place: Row, turns: int) -> list[Row]:
    """Return a row for each formula, from the features of one layer.

    Args:
        photo: features of the photo, feat_1CHW.
        style: features of the style, feat_1CHW.
        place: first columns of the rows.
        turns: number of measurements of each formula.
    """
    rows = []
    exact: dict[str, Tensor] = {}
    for formula in formulas(photo.double(), style.double()):
        exact.setdefault(formula.loss, formula.gradient(photo.double()))
    candidates = formulas(photo, style)
    seconds = measured([c for c in candidates if not c.emulated], photo, turns)
    first: dict[str, float] = {}
    for formula in candidates:
        error = (formula.gradient(photo) - exact[formula.loss]).norm() / exact[formula.loss].norm()
        row = {"loss": formula.loss, **place, "channels": photo.shape[1], "formula": formula.name}
        if not formula.emulated:
            taken = seconds[formula.loss, formula.name]
            row["ms"] = 1000 * taken
            row["× faster"] = first.setdefault(formula.loss, taken) / taken
        rows.append({**row, "gradient error": float(error)})
    return rows


def measured(
    candidates: Sequence[Formula], photo: Tensor, turns: int
) -> dict[tuple[str, str], float]:
    """Return the median seconds that a gradient takes, by loss and name of the formula."""
    seconds: dict[tuple[str, str], list[float]] = {(c.loss, c.name): [] for c in candidates}
    for _ in range(turns):
        for formula in candidates:
            # Time of this thread, not of the clock: other processes may share the processor.
            start = time.thread_time()
            formula.gradient(photo)
            seconds[formula.loss, formula.name].append(time.thread_time() - start)
    return {key: median(values) for key, values in seconds.items()}


def formulas(photo: Tensor, style: Tensor) -> list[Formula]:
    """Return all formulas, with the features of a style as target, in the dtype of the features.

    Args:
        photo: features of the photo; the content loss compares them with their mirror image.
        style: features of the style.
    """
    target = moments(style)
    blend = photo.flip(3)
    mask = torch.linspace(0, 1, photo.shape[3], dtype=photo.dtype).expand(1, 1, *photo.shape[2:])
    gram, mean_cov, wasserstein = (
        _style(partial(style_loss, kind, target=target, root_NCC=root))
        for kind, root in (
            ("gram", None),
            ("mean_cov", None),
            ("wasserstein", covariance_root(target)),
        )
    )
    root = root_in_the_dtype_of_features(target)
    eigenvalues = _style(partial(wasserstein_in_the_dtype_of_features, target=target, root=root))
    return [
        Formula("content", "before: gradient in NCHW", lambda f: content_in_order_nchw(f, blend)),
        Formula("content", USED, lambda f: content_loss(f, blend)),
        Formula("gram", USED, gram),
        Formula("gram", "without the mean", lambda f: gram_loss(second_moment_only(f), target)),
        *_emulated("gram", USED, gram),
        Formula("mean_cov", USED, mean_cov),
        *_emulated("mean_cov", USED, mean_cov),
        Formula(
            "mean_cov under a mask",
            "before: two products",
            lambda f: mean_cov_loss(masked_moments_by_autograd(f, mask), target),
        ),
        Formula("mean_cov under a mask", USED, lambda f: mean_cov_loss(moments(f, mask), target)),
        Formula("wasserstein", "before: eigenvalues in float32", eigenvalues),
        Formula("wasserstein", USED, wasserstein),
        *(
            Formula(
                "wasserstein",
                f"Newton-Schulz in float32, {iterations} iterations",
                _style(
                    partial(
                        wasserstein_by_newton_schulz,
                        target=target,
                        root=root,
                        iterations=iterations,
                    )
                ),
            )
            for iterations in ITERATIONS
        ),
        *_emulated("wasserstein", "before", eigenvalues),
        *_emulated("wasserstein", USED, wasserstein),
    ]


def _style(compare: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda feat: compare(moments(feat))


def _emulated(loss: str, name: str, loss_of: Callable[[Tensor], Tensor]) -> list[Formula]:
    return [
        Formula(loss, f"{name}, TF32 products", loss_of, Tf32Products),
        Formula(loss, f"{name}, bfloat16 products", loss_of, Bfloat16Products),
    ]


if __name__ == "__main__":
    run(main)
