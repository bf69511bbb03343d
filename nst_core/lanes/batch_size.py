"""BatchSize: how many lanes a batch should have, limited by memory and found by measuring time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from nst_core.lanes.memory import LaneNeed

#: Largest number of lanes in a batch before the first measurement of its group.
FIRST_LANES = 4

#: Turns after which a limit that fell is tried again: the memory limit after an out-of-memory
#: error, and sizes that were slower than the fastest one. Another process may have used the memory
#: or the processor for a moment.
RETRY_TURNS = 200

#: Turns after which the memory limit is planned again from the memory that is free then.
REPLAN_TURNS = 50

#: A size counts as slower after this many measurements. The shortest of the last `RECENT` ones
#: counts, since other processes make a turn longer, never shorter.
ENOUGH, RECENT = 3, 5

#: Turns of a group in a row that are not measured because lanes had joined or left. Where they
#: always do, the turns after a change are what counts.
MOST_SKIPPED = 4


@dataclass
class MemoryLimit:
    """Largest number of lanes that fit into memory, by estimate and by experience.

    An out-of-memory error halves the limit. It doubles again after `RETRY_TURNS` turns without one.

    Attributes:
        need: memory of the lanes for which the limit was planned.
        planned: number of lanes that should fit, by estimate.
        turns_since_plan: turns since `plan`.
    """

    need: LaneNeed = field(default=LaneNeed(fixed=0, per_lane=0))
    planned: int = 1
    turns_since_plan: int = 0
    _too_many: int | None = None
    _turns_without_error: int = 0

    @property
    def lanes(self) -> int:
        """Number of lanes that fit into memory."""
        if self._too_many is None:
            return self.planned
        return min(self.planned, max(1, self._too_many // 2))

    def plan(self, need: LaneNeed, lanes: int) -> None:
        """Record the number of lanes of a need that fit by estimate."""
        self.need, self.planned, self.turns_since_plan = need, lanes, 0

    def record_turn(self) -> None:
        """Record a turn without an out-of-memory error."""
        self.turns_since_plan += 1
        self._turns_without_error += 1
        if self._too_many is not None and self._turns_without_error >= RETRY_TURNS:
            self._turns_without_error, self._too_many = 0, 2 * self._too_many
            if self._too_many // 2 >= self.planned:
                self._too_many = None

    def record_out_of_memory(self, lanes: int) -> None:
        """Record that a batch of this number of lanes ran out of memory."""
        self._too_many, self._turns_without_error = lanes, 0


@dataclass
class BatchSize:
    """Searches for the number of lanes per batch with the shortest time per lane and step.

    More lanes share more work, until their features no longer fit into the caches. Where that
    happens depends on the machine and on the image size, so it is measured: the limit doubles while
    that is faster, and then returns to the fastest size. Sizes up to the same power of 2 count as
    one size.

    Attributes:
        memory: the limit that memory sets.
    """

    memory: MemoryLimit = field(default_factory=MemoryLimit)
    _lane_step_s: dict[int, deque[float]] = field(default_factory=dict)
    _turns_since_retry: int = 0
    _skipped: int = 0

    @property
    def limit(self) -> int:
        """Number of lanes that a batch may have now."""
        return min(self.memory.lanes, self._fast_lanes())

    def _fast_lanes(self) -> int:
        fastest = self._fastest()
        if fastest is None:
            return FIRST_LANES
        larger = [size for size in self._lane_step_s if size > fastest]
        if any(len(self._lane_step_s[size]) >= ENOUGH for size in larger):
            return fastest
        return max(larger, default=2 * fastest)

    def _fastest(self) -> int | None:
        return min(self._lane_step_s, key=lambda size: min(self._lane_step_s[size]), default=None)

    def record_turn(self, lanes: int, step_s: float | None, *, settled: bool = True) -> None:
        """Record a turn and the seconds of one of its steps.

        Args:
            lanes: number of lanes.
            step_s: seconds of a step; None: the turn recorded a step and tells nothing.
            settled: whether the batch had the same lanes in its last turn. Other turns include
                initialization, and are measured only where all are like that.
        """
        self.memory.record_turn()
        self._turns_since_retry += 1
        if self._turns_since_retry >= RETRY_TURNS:
            self._turns_since_retry, fastest = 0, self._fastest()
            for size in [size for size in self._lane_step_s if fastest and size > fastest]:
                del self._lane_step_s[size]
        if step_s is None:
            return
        if not settled and self._skipped < MOST_SKIPPED:
            self._skipped += 1
            return
        self._skipped = 0
        size = 1 << (lanes - 1).bit_length()
        self._lane_step_s.setdefault(size, deque(maxlen=RECENT)).append(step_s / lanes)
