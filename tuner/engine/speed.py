"""Speed: how long an optimizer step takes on this machine, measured by a few steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.device import GPU_LANES
from nst_core.losses.targets import FeatureStore
from tuner.engine.pairs import Pair

#: Measured steps, after one that is not measured: it also loads the network and the targets.
STEPS = 3


def seconds_per_step(store: FeatureStore, config: StyleConfig, pair: Pair) -> float:
    """Return the seconds that one step of one stylization takes in an engine.

    On a CPU this is measured with one thread, because an engine has one core. On a GPU it is the
    share of one lane in a batch.

    Args:
        store: networks and targets, on the device to measure.
        config: settings of the stylization, with at least 1 + `STEPS` steps.
        pair: its pictures, at the size to measure.
    """
    lanes = GPU_LANES if store.device.type == "cuda" else 1
    batch = LaneBatch(store, Buckets.for_store(store))
    for lane in range(lanes):
        batch.add(lane, config, pair.inputs)
    with _one_thread():
        batch.readings(batch.advance(1))  # reading the losses waits for the device
        began_s = time.perf_counter()
        batch.readings(batch.advance(STEPS))
        return (time.perf_counter() - began_s) / STEPS / lanes


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
