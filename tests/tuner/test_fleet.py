"""Which engines a run has: what it does while there is no node for any."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from tuner.fleet import NODES_WITHIN_S, Fleet


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A cluster without nodes, and its time."""
    now = [0.0]
    monkeypatch.setattr("tuner.fleet.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("tuner.fleet._nodes", dict)
    cluster = SimpleNamespace(get_draining_nodes=dict)
    monkeypatch.setattr("tuner.fleet.ray_state", SimpleNamespace(state=cluster))
    return now


@pytest.mark.parametrize(("gpus", "hopeless", "lines"), [(None, True, 0), (2, False, 3)])
def test_a_run_that_has_no_node(
    gpus: int | None,
    hopeless: bool,
    lines: int,
    clock: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where an autoscaler may bring a GPU it is waited for, and that is said now and then."""
    fleet = Fleet(lambda *_: None, device="auto", lanes=2, deadline_s=60, gpus=gpus)
    with caplog.at_level(logging.WARNING):
        while clock[0] < 3.5 * NODES_WITHIN_S:
            clock[0] += 100
            fleet.look()
    assert (fleet.hopeless is not None) == hopeless
    assert caplog.text.count("waiting for a GPU") == lines
