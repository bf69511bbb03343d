"""Memory, out-of-memory errors, and an engine that scores while it advances lanes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.images.tensors import to_uint8
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.lane_scheduler import LaneScheduler
from nst_core.lanes.memory import needed_bytes
from nst_core.losses.inputs import LossInputs
from nst_core.metrics.suite import MetricSuite
from tests.gpu.lanes import (
    BASE,
    DEVICE,
    GPU,
    HEIGHT,
    ON_CUDA,
    WIDTH,
    cuda_only,
    inputs,
    new_batch,
    recorder,
    store_on,
    weights,
)
from tuner.engine.engine import Engine
from tuner.engine.pairs import Pair

pytestmark = GPU

#: Measured peak as a share of the estimate: at most this, since the allocator rounds up.
MOST_OF_ESTIMATE = 1.1


def large_inputs(side: int) -> LossInputs:
    """Return random pictures of a size."""
    content, style = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return LossInputs.at_size(content, [(style, 1.0)], side)


@cuda_only
@pytest.mark.parametrize("recorded", [False, True], ids=["eager", "recorded"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("side", "lanes"), [(256, 4), (512, 2)])
def test_memory_is_as_estimated(side: int, lanes: int, precision: str, recorded: bool) -> None:
    """The peak of the device's memory is at most the estimate, and at least a third of it."""
    config = StyleConfig(precision=precision, size_px=side)
    store = store_on(DEVICE)
    store.extractor(config.backbone, config.layers, precision)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    batch = new_batch(store, recorder() if recorded else None)
    for lane in range(lanes):
        batch.add(lane, config, large_inputs(side))
    batch.advance(6)
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_reserved() - before
    estimate = needed_bytes(config, side, side, device=DEVICE, lanes=lanes)
    share = peak / estimate
    # A recording has memory of its own, beside that of the eager steps before it.
    assert 1 / 3 < share < MOST_OF_ESTIMATE * (2 if recorded else 1), f"{share:.2f} of the estimate"


@cuda_only
def test_too_little_memory_makes_batches_smaller() -> None:
    """Where eight lanes do not fit, fewer at a time do, and all of them reach their last step."""
    config = StyleConfig(size_px=256, steps=12)
    store, pictures = store_on(DEVICE), large_inputs(256)
    store.extractor(config.backbone, config.layers)
    scheduler = LaneScheduler(store)
    for lane in range(8):
        scheduler.put((lane, 0), config.replace(style_weight=1.0 + lane), pictures, None)
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + needed_bytes(config, 256, 256, device=DEVICE, lanes=3)
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.mem_get_info()[1])
    try:
        advance_all(scheduler, config.steps)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert not scheduler.steps()


def advance_all(scheduler: LaneScheduler, until: int) -> None:
    """Advance all lanes to a step and remove those that reach it; give up after 100 turns."""

    def steps_left(batch: LaneBatch) -> int:
        return min(until - lane.step for lane in batch.lanes)

    for _ in range(100):
        chunk = scheduler.advance(steps_left, lambda _: False)
        assert not any(chunk.failures), chunk.failures
        for key, step in scheduler.steps():
            if step >= until:
                scheduler.take(key)
        if not scheduler.steps():
            return
        scheduler.rebalance()


def test_all_lanes_of_a_scheduler_end() -> None:
    """Lanes of unlike settings reach their last step without a failure."""
    scheduler = LaneScheduler(store_on(DEVICE))
    for lane, optimizer in enumerate(("adam", "lbfgs", "sgd")):
        scheduler.put((lane, 0), BASE.replace(optimizer=optimizer, lr=0.01), inputs(), None)
    advance_all(scheduler, 4)
    assert not scheduler.steps()


def test_scores_of_an_engine_are_those_of_its_images() -> None:
    """An engine's reports have the scores that a CPU computes from the same images."""
    rng = np.random.default_rng(0)
    reference_HW3 = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pair = Pair(inputs=inputs(), reference_HW3=reference_HW3)
    names = {name: weights(name) for name in ("vgg16", "alexnet", "lpips-alex")}
    engine, suite = Engine([pair], names, device=DEVICE), MetricSuite.load(weights)
    for trial in range(6 if ON_CUDA else 2):
        engine.submit(trial, BASE.replace(lr=0.01 + 0.01 * trial), 3)
    reports = []
    while engine.busy:
        for report in engine.advance():
            assert report.failure is None, report.failure
            image = np.asarray(Image.open(io.BytesIO(engine.images(report.trial)[0])))
            expected = suite.score(image, reference_HW3, to_uint8(inputs().content_3HW))
            found = {name: report.scores[name] for name in expected}
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
            reports.append(report.trial)
            engine.drop(report.trial)
    assert sorted(reports) == list(range(6 if ON_CUDA else 2))


def test_the_memory_of_an_engine_stays_level() -> None:
    """Trials that come, run ahead and are dropped leave no memory behind on the device."""
    pair = Pair(inputs=inputs(), reference_HW3=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    names = {name: weights(name) for name in ("vgg16", "alexnet", "lpips-alex")}
    engine = Engine([pair], names, device=DEVICE)
    levels = []
    for turn in range(3 if ON_CUDA else 1):
        trials = range(100 * turn, 100 * turn + (16 if ON_CUDA else 2))
        for trial in trials:
            optimizer = ("adam", "lbfgs")[trial % 2]
            engine.submit(trial, BASE.replace(lr=0.01, optimizer=optimizer), 2, 4)
        waiting = set(trials)
        while waiting:
            for report in engine.advance():
                assert report.failure is None, report.failure
                waiting.remove(report.trial)
                engine.drop(report.trial)
        if ON_CUDA:
            torch.cuda.synchronize()
            levels.append(torch.cuda.memory_allocated())
    assert engine.trials == 0
    assert not levels or levels[-1] < 1.1 * levels[0] + 2**20
