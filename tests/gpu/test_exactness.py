"""Numbers of the GPU against those of a CPU in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nst_core.metrics.registry import METRICS
from nst_core.metrics.suite import MetricSuite
from tests.gpu.lanes import (
    BASE,
    DEVICE,
    GPU,
    KINDS,
    ON_CUDA,
    PRECISIONS,
    batch_of,
    cosine,
    exact_batch,
    movement,
    weights,
)
from tuner.doctor.device_checks import CPU_PRECISIONS, TOLERANCES, compute

pytestmark = GPU

#: Largest relative difference of the losses after two steps, by precision.
LOSS_TOLERANCES = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 6e-2, "float16": 2e-2}
#: Smallest cosine between the first movement of the pixels and that in float64, by precision.
COSINES = {"float32": 0.999, "tf32": 0.99, "bfloat16": 0.99, "float16": 0.99}
#: Precisions to test: a CPU emulates float16 slowly, and TF32 is float32 there.
TESTED = PRECISIONS if ON_CUDA else ("bfloat16",)
#: Optimizers and schedules do not depend on the precision of the network: one kind of each loss.
LOSSES = ("adam", "mean_cov", "wasserstein", "tv, color", "masks") if ON_CUDA else ("adam",)

OPTIMIZERS = ("adam", "adamw", "sgd", "lamb", "lbfgs") if ON_CUDA else ("lbfgs",)


def test_kernels_compute_the_right_numbers() -> None:
    """A convolution, its gradient and a matrix product are right in every precision."""
    result = compute(torch.device(DEVICE), tuple(TOLERANCES) if ON_CUDA else CPU_PRECISIONS)
    assert result.problems == ()


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_a_cpu_in_float64(kind: str) -> None:
    """Losses after two steps of each kind of lane agree with float64 on a CPU."""
    found, expected = (make([KINDS[kind]], kind).advance(3) for make in (batch_of, exact_batch))
    tolerance = LOSS_TOLERANCES["float32"]
    torch.testing.assert_close(found.total.double().cpu(), expected.total, rtol=tolerance, atol=0)


@pytest.mark.parametrize("precision", TESTED)
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_in_each_precision(kind: str, precision: str) -> None:
    """Losses after two steps in each precision agree with float64 within its tolerance."""
    config = KINDS[kind].replace(precision=precision)
    found, expected = (make([config], kind).advance(3) for make in (batch_of, exact_batch))
    tolerance = LOSS_TOLERANCES[precision]
    torch.testing.assert_close(found.total.double().cpu(), expected.total, rtol=tolerance, atol=0)


@pytest.mark.parametrize("precision", TESTED)
@pytest.mark.parametrize("style_loss", ["gram", "mean_cov", "wasserstein"])
def test_gradients_in_each_precision(style_loss: str, precision: str) -> None:
    """The first step of gradient descent points where it points in float64."""
    config = BASE.replace(
        style_loss=style_loss,
        precision=precision,
        optimizer="sgd",
        lr=1e-4,
        content_weight=0.0,
        init="mix",
        clamp="save",
    )
    moves = [movement(make([config]), 1) for make in (batch_of, exact_batch)]
    assert cosine(*moves) > COSINES[precision]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_move_as_on_a_cpu(optimizer: str) -> None:
    """After three steps of each optimizer, the pixels have moved where they move in float64."""
    moves = [movement(make([KINDS[optimizer]]), 3) for make in (batch_of, exact_batch)]
    assert cosine(*moves) > COSINES["float32"]
    assert float(moves[0].norm() / moves[1].norm()) == pytest.approx(1, abs=0.02)


def test_scores_are_those_of_a_cpu() -> None:
    """Every metric of an image on the device is that of the CPU within 0.1 %."""
    rng = np.random.default_rng(0)
    content, reference, image = rng.integers(0, 255, (3, 64, 80, 3), dtype=np.uint8)
    image = (0.5 * image + 0.5 * reference).astype(np.uint8)
    found, expected = (
        MetricSuite.load(weights, device, metrics=METRICS).score(image, reference, content)
        for device in (DEVICE, "cpu")
    )
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
