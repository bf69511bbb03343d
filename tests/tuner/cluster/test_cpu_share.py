"""CPU share: detecting that other programs slow a process down."""

import time

import pytest

from tuner.cluster.cpu_share import WINDOW_S, CpuShare, cpu_times
from tuner.study.records import CpuTimes


def test_cpu_times_grow_while_a_process_computes() -> None:
    """The processor time of this process grows while it computes."""
    before = cpu_times()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    if before == CpuTimes():
        pytest.skip("this system has no scheduler statistics")
    assert cpu_times().ran_s - before.ran_s > 0.1


@pytest.mark.parametrize(
    ("ran_s", "waited_s", "expected"),
    [(10.0, 10.0, 0.5), (2.0, 18.0, 0.9), (18.0, 2.0, None), (0.5, 2.0, None), (0.0, 0.0, None)],
)
def test_share_of_waiting_is_returned_if_too_large(
    ran_s: float, waited_s: float, expected: float | None
) -> None:
    """The share is returned once per window, if the process waits half of its demand or more."""
    share = CpuShare()
    assert share.waiting(CpuTimes(100.0, 50.0), 0.0) is None
    assert share.waiting(CpuTimes(101.0, 51.0), WINDOW_S / 2) is None
    assert share.waiting(CpuTimes(100.0 + ran_s, 50.0 + waited_s), WINDOW_S) == expected
    assert share.waiting(CpuTimes(101.0 + ran_s, 50.0 + waited_s), 1.5 * WINDOW_S) is None
