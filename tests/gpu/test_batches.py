"""Lanes that join and leave, recorded steps, and no waiting for the device."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from nst_core.lanes.batch import Outcome
from nst_core.metrics.suite import MetricSuite
from tests.gpu.lanes import (
    BASE,
    DEVICE,
    GPU,
    KINDS,
    ON_CUDA,
    PRECISIONS,
    batch_of,
    cuda_only,
    inputs,
    new_batch,
    recorder,
    store_on,
    weights,
)

pytestmark = GPU

#: Kinds whose steps are recorded. The eigenvalues of ``wasserstein`` and the measurements of
#: ``balance`` need the host.
RECORDED = [kind for kind in KINDS if kind not in ("wasserstein", "balance")]
if not ON_CUDA:
    RECORDED = ["adamw", "best, ramp"]
#: Largest difference of pixels after some steps that should be equal, by precision.
PIXELS = {"float32": 2e-3, "tf32": 2e-3, "bfloat16": 3e-2, "float16": 3e-2}
TESTED = PRECISIONS if ON_CUDA else ("float32",)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Let every operation for which the host waits raise an error; only CUDA knows them."""
    if ON_CUDA:
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if ON_CUDA:
            torch.cuda.set_sync_debug_mode("default")


def test_lanes_join_and_leave() -> None:
    """A lane that shares its batch with others for a while ends where it ends alone."""
    config = BASE.replace(lr=0.01)
    alone = batch_of([config])
    alone.advance(6)
    batch = new_batch(store_on(DEVICE))
    batch.add("other", KINDS["lamb"], inputs())
    batch.advance(2)
    batch.add(0, config, inputs())
    batch.advance(2)
    batch.add("third", KINDS["mean_cov"], inputs())
    batch.advance(2)
    batch.take("other")
    batch.advance(1)
    state = batch.take(0)
    last = new_batch(store_on(DEVICE))
    last.add(0, config, inputs(), state)
    last.advance(1)
    torch.testing.assert_close(last.image(0), alone.image(0), rtol=0, atol=PIXELS["float32"])


def test_a_saved_lane_goes_on_where_it_was() -> None:
    """A lane continued from a copy takes the same next steps as the original."""
    batch = batch_of([KINDS["adamw"], KINDS["lbfgs"]])
    batch.advance(3)
    copies = new_batch(store_on(DEVICE))
    for lane in list(batch.lanes):
        copies.add(lane.key, lane.config, inputs(), batch.save(lane.key))
    for each in (batch, copies):
        each.advance(2)
    for key in (0, 1):
        torch.testing.assert_close(
            copies.image(key), batch.image(key), rtol=0, atol=PIXELS["float32"]
        )


@pytest.mark.parametrize(
    "kinds",
    [
        ("adam", "adam", "adam"),
        ("adam", "lamb", "sgd", "mean_cov"),
        ("adamw", "lbfgs"),
        ("tv, color", "best, ramp"),
        ("masks", "masks"),
    ],
    ids=" + ".join,
)
def test_steps_wait_for_nothing(kinds: tuple[str, ...]) -> None:
    """After two steps, the host asks the device for nothing within an `advance`."""
    batch = batch_of([KINDS[kind] for kind in kinds], kinds[0])
    batch.advance(2)
    with no_waiting():
        losses = batch.advance(4)
    assert batch.outcomes(losses) == [Outcome.RUNNING] * len(kinds)


@pytest.mark.parametrize("precision", TESTED)
@pytest.mark.parametrize("kind", RECORDED)
def test_recorded_steps_go_where_eager_ones_go(kind: str, precision: str) -> None:
    """A step is recorded, found correct, and its replays end at the pixels of eager steps."""
    configs = [KINDS[kind].replace(precision=precision, style_weight=w) for w in (5.0, 20.0)]
    graphs = recorder()
    recorded, eager = batch_of(configs, kind, graphs=graphs), batch_of(configs, kind)
    for batch in (recorded, eager):
        batch.advance(8 if ON_CUDA else 4)
    assert graphs._trusted and not graphs._refused
    for key in (0, 1):
        torch.testing.assert_close(
            recorded.image(key), eager.image(key), rtol=0, atol=PIXELS[precision]
        )


def test_lanes_join_and_leave_recorded_steps() -> None:
    """Lanes that join or leave a recorded batch end where they end in an eager one."""
    ends, steps = [], 5 if ON_CUDA else 3  # a step is recorded after two eager ones
    for graphs in (recorder(), None):
        batch = batch_of([BASE, BASE.replace(lr=0.03)], graphs=graphs)
        batch.advance(steps)
        batch.add("late", KINDS["best, ramp"], inputs())
        batch.advance(steps)
        batch.take(1)
        batch.advance(steps)
        ends.append([batch.image(key) for key in (0, "late")])
    for recorded, eager in zip(*ends, strict=True):
        torch.testing.assert_close(recorded, eager, rtol=0, atol=PIXELS["float32"])


def test_recording_while_scores_are_computed() -> None:
    """Memory that the scoring thread takes and frees spoils no recording."""
    suite = MetricSuite.load(weights, DEVICE, metrics=["lpips"])
    ended, failed = threading.Event(), []

    def score() -> None:
        rng = np.random.default_rng(0)
        try:
            while not ended.is_set():
                side = int(rng.integers(64, 300 if ON_CUDA else 80))
                image, reference = rng.integers(0, 255, (2, side, side, 3), dtype=np.uint8)
                suite.score(image, reference)
        except Exception as error:  # reported by the test
            failed.append(error)

    thread = threading.Thread(target=score)
    thread.start()
    graphs = recorder()
    try:
        for turn in range(8 if ON_CUDA else 1):
            lanes = [BASE.replace(lr=0.01 + 0.001 * turn)] * (1 + turn % 4)
            batch_of(lanes, graphs=graphs).advance(5)
    finally:
        ended.set()
        thread.join()
    assert failed == [] and not graphs._refused


#: Records a step that asks the device for a value, which cannot be recorded, then steps eagerly.
FAILED_RECORDING = """
import torch
from nst_core.lanes.memory import free_bytes
from nst_core.lanes.step_graph import StepGraphs
from tests.gpu.lanes import BASE, DEVICE, batch_of

def waits(state):
    return [state[0].sum()[None] * float(state[0].sum())], list(state)

state = [torch.zeros(1, 3, 8, 8, device=DEVICE), torch.zeros(1, device=DEVICE)]
graphs = StepGraphs(eager_steps=1)
assert graphs.record(waits, state, kind="waits", taken=9, precision="float32") is None
free_bytes(torch.device(DEVICE))  # gives torch's unused memory back
for graphs in (None, StepGraphs(eager_steps=1)):
    batch = batch_of([BASE], graphs=graphs)
    losses = batch.advance(5)
    assert losses.total.isfinite().all()
print("fine")
"""


@cuda_only
def test_a_failed_recording_breaks_nothing() -> None:
    """After a step that cannot be recorded, memory can be freed and lanes advance."""
    done = subprocess.run(
        [sys.executable, "-c", FAILED_RECORDING], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr


#: Reads an index beyond the end of a tensor on the device.
BROKEN_DEVICE = """
import torch
from nst_core.lanes.device import is_broken_device
try:
    torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")].sum().item()
except Exception as error:
    print(is_broken_device(error))
"""


@cuda_only
def test_a_broken_device_is_known() -> None:
    """A failed assertion on the device is an error of the process, not of one trial."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_DEVICE], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr


@cuda_only
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_steps_are_recorded_on_the_second_gpu() -> None:
    """Recordings are made on the device of the lanes, not on the current one."""
    batch = batch_of([BASE.replace(lr=1e-4, init="noise")], device="cuda:1", graphs=recorder())
    batch.advance(3)
    before = batch.image(0).clone()
    batch.advance(9)
    assert not torch.equal(batch.image(0), before)
