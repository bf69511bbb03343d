"""CPU share: how long a process waits for a processor core, from Linux's scheduler statistics."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tuner.study.records import CpuTimes

#: Length of the windows in which a process is judged, in seconds of wall-clock time.
WINDOW_S = 20.0
#: Share of its demand that a process may wait for a core before other programs count as slowing it
#: down. One busy program for each engine on a core of its own makes the share 0.5.
MAX_WAITING_SHARE = 0.4
#: Least demand of a process in a window, in seconds of processor time, for a judgment.
MIN_DEMAND_S = 5.0


def cpu_times() -> CpuTimes:
    """Return the times of this process's threads since their start; zeros if not on Linux."""
    ran_ns = waited_ns = 0
    with suppress(OSError):  # not Linux
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError, ValueError):  # the thread has ended
                ran, waited, _ = (thread / "schedstat").read_text().split()
                ran_ns, waited_ns = ran_ns + int(ran), waited_ns + int(waited)
    return CpuTimes(ran_ns / 1e9, waited_ns / 1e9)


@dataclass
class CpuShare:
    """Watches the CPU times of one process and detects that other programs slow it down."""

    _window_start: float | None = None
    _times_at_start: CpuTimes = field(default_factory=CpuTimes)

    def waiting(self, times: CpuTimes, now: float) -> float | None:
        """Return the share of a window spent waiting for a core if it is too large, else None.

        Args:
            times: CPU times of the process since its start.
            now: time in seconds on a monotonic clock.
        """
        if self._window_start is None:
            self._window_start, self._times_at_start = now, times
        if now - self._window_start < WINDOW_S:
            return None
        ran_s = times.ran_s - self._times_at_start.ran_s
        waited_s = times.waited_s - self._times_at_start.waited_s
        self._window_start, self._times_at_start = now, times
        demand_s = ran_s + waited_s
        if demand_s < MIN_DEMAND_S or waited_s < MAX_WAITING_SHARE * demand_s:
            return None
        return waited_s / demand_s
