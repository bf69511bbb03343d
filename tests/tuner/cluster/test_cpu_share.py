"""Telling that other programs hold a process up."""

import time

import pytest

from tuner.cluster.cpu_share import WINDOW_S, CpuShare, cpu_times
from tuner.study.records import CpuTimes


def test_what_a_process_computes_is_counted() -> None:
    """Processor time of this process grows with what it computes."""
    before = cpu_times()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    if before == CpuTimes():
        pytest.skip("this system tells no scheduler statistics")
    assert cpu_times().ran_s - before.ran_s > 0.1


@pytest.mark.parametrize(
    ("ran_s", "waited_s", "told"),
    [(10.0, 10.0, 0.5), (2.0, 18.0, 0.9), (18.0, 2.0, None), (0.5, 2.0, None), (0.0, 0.0, None)],
)
def test_who_is_held_up(ran_s: float, waited_s: float, told: float | None) -> None:
    """A process that computes and waits for a core about half of the time is held up by others."""
    share = CpuShare()
    assert share.waiting(CpuTimes(100.0, 50.0), 0.0) is None
    assert share.waiting(CpuTimes(101.0, 51.0), WINDOW_S / 2) is None
    assert share.waiting(CpuTimes(100.0 + ran_s, 50.0 + waited_s), WINDOW_S) == told
    assert share.waiting(CpuTimes(101.0 + ran_s, 50.0 + waited_s), 1.5 * WINDOW_S) is None
