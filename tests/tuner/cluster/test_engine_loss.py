"""Engine loss: engines fail on a real Ray cluster, and one sentence names the cause."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nst_core.errors import WorkError
from tests.tuner.cluster.dying_engine import TIMEOUT_S, dying_engine, reason_after_death
from tuner.cluster.connection import connected
from tuner.cluster.engine_loss import MAX_QUOTE, loss_reason

SILENT = r"its process \d+ crashed or was killed and left no error; `dmesg` on its machine .*"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Cluster on this machine."""
    with connected(None):
        yield


def reason_of(answer: Any) -> str:
    """Return the reason for the error that this answer of an engine raises."""
    with pytest.raises(RayError) as caught:
        ray.get(answer, timeout=TIMEOUT_S)
    return loss_reason(caught.value)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (
            "driver",
            r"could not start: RuntimeError: The NVIDIA driver on your system is too old \(found"
            r" version 12040\)\.",
        ),
        ("chain", r"could not start: OSError: libcudnn\.so\.9: cannot open shared object file"),
        ("unreadable", "could not start: .*TwoArgumentsError: device is lost"),
        ("no message", "could not start: RuntimeError"),
        ("exit", f"died while it started: {SILENT}"),
        ("kill", f"died while it started: {SILENT}"),
        ("crash", f"died while it started: {SILENT}"),
    ],
)
def test_cause_of_a_failed_start_is_named(cluster: None, way: str, expected: str) -> None:
    """The constructor's own error is quoted; without one, nothing is claimed about memory."""
    engine = dying_engine(way)
    first = reason_of(engine.ready.remote())
    assert re.fullmatch(expected, first)
    assert reason_of(engine.ready.remote()) == first  # Ray raises the same again


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("exit", f"died: {SILENT}"),
        ("kill", f"died: {SILENT}"),
        ("crash", f"died: {SILENT}"),
        ("terminate", "was stopped by the signal SIGTERM"),
        ("ray.kill", r"was stopped with `ray\.kill`"),
    ],
)
def test_cause_of_a_later_death_is_named(cluster: None, way: str, expected: str) -> None:
    """How a running engine's process ended is said as far as Ray knows it."""
    engine = dying_engine()
    ray.get(engine.ready.remote(), timeout=TIMEOUT_S)
    if way == "ray.kill":
        ray.kill(engine)
    else:
        engine.fail.remote(way)
    assert re.fullmatch(expected, reason_after_death(engine))


def test_error_of_a_call_is_quoted_without_its_traceback(cluster: None) -> None:
    """An exception in a running engine is quoted by the first line of its message."""
    engine = dying_engine()
    reason = reason_of(engine.fail.remote("driver"))
    assert reason == "failed: The NVIDIA driver on your system is too old (found version 12040)."


def test_engine_of_an_unknown_node_names_its_machine(cluster: None) -> None:
    """An engine whose node is gone before it starts is not said to have died."""
    affinity = NodeAffinitySchedulingStrategy("e" * 56, soft=False)
    engine = dying_engine(scheduling_strategy=affinity)
    assert reason_of(engine.ready.remote()).startswith("could not start: its machine is gone")


def test_own_errors_and_long_ones_are_quoted_in_one_line() -> None:
    """An error that is not Ray's is quoted too, by its first line, and cut if it is long."""
    assert loss_reason(WorkError("out of luck\nat line 7")) == "failed: out of luck"
    assert len(loss_reason(WorkError("x" * 1000))) == len("failed: ") + MAX_QUOTE
    assert loss_reason(WorkError("")) == "failed: no message"
