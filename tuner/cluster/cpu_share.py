"""How much processor time a process gets of what it wants, from Linux's scheduler statistics."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tuner.study.records import CpuTimes

#: A process is judged over windows of this length, of wall-clock time.
WINDOW_S = 20.0
#: A process that waits for more than this share of the time it wants to compute is held up by
#: other programs. One busy program for each engine on a core of its own makes it a half.
MOST_WAITING = 0.4
#: A process that wanted less processor time than this in a window tells nothing.
LEAST_WANTED_S = 5.0


def cpu_times() -> CpuTimes:
    """Return the times of this process's threads; zeros where the system does not tell them."""
    ran_ns = waited_ns = 0
    with suppress(OSError):  # not Linux, or a thread that ended in between
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError, ValueError):
                ran, waited, _ = (thread / "schedstat").read_text().split()
                ran_ns, waited_ns = ran_ns + int(ran), waited_ns + int(waited)
    return CpuTimes(ran_ns / 1e9, waited_ns / 1e9)


@dataclass
class CpuShare:
    """Watches the times of one process and says when other programs hold it up."""

    _since: float | None = None
    _before: CpuTimes = field(default_factory=CpuTimes)

    def waiting(self, times: CpuTimes, now: float) -> float | None:
        """Return the share of a window spent waiting for a core if it is too much, else None.

        Args:
            times: of the process, since its start.
            now: in seconds, of a clock that never goes back.
        """
        if self._since is None:
            self._since, self._before = now, times
        if now - self._since < WINDOW_S:
            return None
        ran_s, waited_s = times.ran_s - self._before.ran_s, times.waited_s - self._before.waited_s
        self._since, self._before = now, times
        wanted_s = ran_s + waited_s
        if wanted_s < LEAST_WANTED_S or waited_s < MOST_WAITING * wanted_s:
            return None
        return waited_s / wanted_s
