"""Lanes of every kind on the device under test, for the tests of this folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.step_graph import Recorder, Replay, StepGraphs
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights, get_weights

#: Device under test. ``NST_TEST_DEVICE=cpu`` runs what makes sense without a GPU, so that this code
#: is known to run (tests/test_gpu_tests.py).
DEVICE = os.environ.get("NST_TEST_DEVICE", "cuda")
ON_CUDA = DEVICE.startswith("cuda")

#: Marks of every test of this folder.
GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        ON_CUDA and not torch.cuda.is_available(),
        reason="no GPU: torch.cuda.is_available() is False",
    ),
]
cuda_only = pytest.mark.skipif(not ON_CUDA, reason="only a CUDA device can show this")

#: Size of the pictures in pixels; a CPU gets the smallest that are allowed.
HEIGHT, WIDTH = (48, 64) if ON_CUDA else (32, 40)
SIZE_PX = WIDTH

BASE = StyleConfig(size_px=SIZE_PX, steps=200)

#: One lane of each optimizer, style loss, schedule and kind of target.
KINDS = {
    "adam": BASE,
    "adamw": BASE.replace(optimizer="adamw", lr_schedule="cosine", warmup_steps=2),
    "sgd": BASE.replace(optimizer="sgd", lr=0.01),
    "lamb": BASE.replace(optimizer="lamb"),
    "lbfgs": BASE.replace(optimizer="lbfgs", lr=0.5),
    "mean_cov": BASE.replace(style_loss="mean_cov"),
    "wasserstein": BASE.replace(style_loss="wasserstein"),
    "tv, color": BASE.replace(
        tv_weight=3.0, tv_norm="l1", color_weight=1.0, color_loss="histogram"
    ),
    "best, ramp": BASE.replace(keep="best", weight_schedule="ramp", clamp="save", init="noise"),
    "balance": BASE.replace(weight_schedule="balance", init="noise"),
    "ema, l2, caffe": BASE.replace(
        keep="ema", pooling="l2", padding="replicate", normalization="caffe"
    ),
    "masks": BASE,
}

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")

weights: Callable[[str], Weights] = functools.cache(get_weights)


@functools.cache
def inputs(kind: str = "") -> LossInputs:
    """Return smooth random pictures; those of the kind ``masks`` have two regions."""
    generator = torch.Generator().manual_seed(0)
    content, style, other = (
        torch.nn.functional.interpolate(
            torch.rand(1, 3, 12, 16, generator=generator), (HEIGHT, WIDTH), mode="bicubic"
        )[0].clamp(0, 1)
        for _ in range(3)
    )
    if kind != "masks":
        return LossInputs.at_size(content, [(style, 1.0)], SIZE_PX)
    left_HW = (torch.arange(WIDTH) < WIDTH / 2).float().expand(HEIGHT, WIDTH)
    styles = [Style(image_3HW=style, region_HW=left_HW), Style(image_3HW=other)]
    return LossInputs.at_size(content, styles, SIZE_PX)


def store_on(device: str, dtype: torch.dtype = torch.float32) -> FeatureStore:
    """Return a feature store with real weights on a device."""
    return FeatureStore(weights, device, dtype)


def new_batch(store: FeatureStore, graphs: StepGraphs | None = None) -> LaneBatch:
    """Return an empty batch, in buckets as on a GPU; with ``graphs`` its steps are recorded."""
    return LaneBatch(store, Buckets(store, graphs))


def batch_of(
    configs: Sequence[StyleConfig],
    kind: str = "",
    *,
    device: str = DEVICE,
    graphs: StepGraphs | None = None,
) -> LaneBatch:
    """Return a batch with a lane for each configuration; its keys are numbers from 0."""
    batch = new_batch(store_on(device), graphs)
    for index, config in enumerate(configs):
        batch.add(index, config, inputs(kind))
    return batch


def exact_batch(configs: Sequence[StyleConfig], kind: str = "") -> LaneBatch:
    """Return the same batch in float64 on the CPU, without buckets."""
    batch = LaneBatch(store_on("cpu", torch.float64))
    for index, config in enumerate(configs):
        batch.add(index, config.replace(precision="float32"), inputs(kind))
    return batch


def recorder() -> StepGraphs:
    """Return a recorder of steps that begins after two eager steps.

    A CPU has no CUDA graphs: there, a recording computes the step again.
    """

    def again(
        function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        return lambda: function(fixed)

    record: Recorder | None = None if ON_CUDA else again
    return StepGraphs(record, eager_steps=2)


def movement(batch: LaneBatch, steps: int, key: int = 0) -> Tensor:
    """Return by how much ``steps`` steps move a lane's pixels, flat, float64 on the CPU."""
    before = batch.image(key).double().cpu()
    batch.advance(steps)
    return (batch.image(key).double().cpu() - before).flatten()


def cosine(left: Tensor, right: Tensor) -> float:
    """Return the cosine of the angle between two flat tensors."""
    return float(torch.nn.functional.cosine_similarity(left, right, dim=0))
