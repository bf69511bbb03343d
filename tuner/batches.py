"""Batches: which lanes of an engine advance together, how many, and whose turn it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from nst_core.assembly import LaneState
from nst_core.config import StyleConfig
from nst_core.lanes import GroupKey, LaneBatch, Outcome, group_of
from nst_core.losses import Losses
from nst_core.materials import Materials
from nst_core.memory import free_bytes, needed_bytes
from nst_core.targets import FeatureStore

#: Steps between two looks at who came and went: at most so many, and for all batches together at
#: most as many as take this long, so that nobody waits longer for a turn.
CHUNK_STEPS = 10
CHUNK_S = 0.5

#: The same where a lane runs ahead: the answer that may stop it takes about so long.
AHEAD_S = 0.1

#: Lanes that a group begins with, before it is known whether more or fewer are faster.
FIRST_LANES = 4

#: Turns without a lack of memory after which a batch may be twice as large again.
DARE_AGAIN = 200

#: Share of the free memory that the lanes of one batch may plan with.
LANES_SHARE = 0.8

LaneKey = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """What one turn of a batch came to.

    Attributes:
        batch: whose turn it was; its lanes are in the order of the other fields.
        steps: taken; 0 if there was not enough memory.
        seconds: that it took.
        losses: before the last step.
        outcomes: how each lane stands.
    """

    batch: LaneBatch
    steps: int
    seconds: float
    losses: Losses | None
    outcomes: list[Outcome]


@dataclass
class BatchSize:
    """How many lanes of a group to advance at once: as many as are fastest, lane for lane.

    More lanes share more work, until their features no longer fit into the caches; where that is
    depends on the machine and the size, so it is measured: while a batch is full its limit doubles,
    and falls back to what was fastest. Out of memory halves it; since the memory may have been
    somebody else's for a moment, a larger batch is dared again after `DARE_AGAIN` good turns.

    Attributes:
        planned: lanes that should fit into memory.
    """

    planned: int
    _short_of: int | None = None
    _good_turns: int = 0
    _lane_step_s: dict[int, float] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    @property
    def most(self) -> int:
        """Lanes that memory allows, by plan and by experience."""
        return self.planned if self._short_of is None else max(1, self._short_of // 2)

    @property
    def limit(self) -> int:
        """Lanes that a batch may have now."""
        if not self._lane_step_s:
            return min(self.most, FIRST_LANES)
        fastest = min(self._lane_step_s, key=self._lane_step_s.__getitem__)
        more_is_slower = any(lanes > fastest for lanes in self._lane_step_s)
        return min(self.most, fastest if more_is_slower else 2 * fastest)

    def measured(self, lanes: int, step_s: float) -> None:
        """A step of so many lanes took so long; noise is averaged out."""
        self._good_turns += 1
        if self._short_of is not None and self._good_turns >= DARE_AGAIN:
            self._good_turns, self._short_of = 0, 2 * self._short_of
            if self._short_of // 2 >= self.planned:
                self._short_of = None
        if lanes not in self._seen:  # the first time libraries prepare for a new shape
            self._seen.add(lanes)
            return
        new = step_s / lanes
        old = self._lane_step_s.get(lanes, new)
        self._lane_step_s[lanes] = 0.7 * old + 0.3 * new

    def too_many(self, lanes: int) -> None:
        """So many lanes ran out of memory."""
        self._short_of, self._good_turns = lanes, 0


class Batches:
    """The lanes of an engine in batches that take turns.

    Args:
        store: extractors and targets on the device.
    """

    def __init__(self, store: FeatureStore):
        self._store = store
        self._turns: deque[LaneBatch] = deque()
        self._where: dict[LaneKey, LaneBatch] = {}
        self._sizes: dict[GroupKey, BatchSize] = {}
        self._step_s: dict[GroupKey, float] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, key: LaneKey) -> bool:
        return key in self._where

    def put(
        self, key: LaneKey, config: StyleConfig, materials: Materials, state: LaneState | None
    ) -> None:
        """Add a lane, fresh or going on from a state."""
        group = group_of(config, materials, state.step if state else 0)
        if group not in self._sizes:
            self._sizes[group] = BatchSize(planned=self._most_lanes(config, group))
        batch = self._with_room(group)
        batch.add(key, config, materials, state)
        self._where[key] = batch

    def take(self, key: LaneKey) -> LaneState:
        """Take a lane out; returns its state."""
        batch = self._where.pop(key)
        state = batch.take(key)
        if not len(batch):
            self._turns.remove(batch)
        return state

    def save(self, key: LaneKey) -> LaneState:
        """A copy of a lane's state, on the CPU; the lane goes on."""
        return self._where[key].save(key)

    def moved_on(self, key: LaneKey, config: StyleConfig, materials: Materials) -> None:
        """Put a lane whose stage is over into a batch of its next size."""
        (lane,) = (lane for lane in self._where[key].lanes if lane.key == key)
        if lane.step >= lane.stage.until:
            self.put(key, config, materials, self.take(key))

    def advance(
        self, steps_left: Callable[[LaneBatch], int], runs_ahead: Callable[[LaneBatch], bool]
    ) -> Chunk:
        """Give the next batch its turn.

        Args:
            steps_left: steps until the first lane of a batch is where it was asked to be.
            runs_ahead: whether any lane of a batch does what it may be stopped from any moment.
        """
        batch = self._turns.popleft()
        self._turns.append(batch)
        group = batch.group
        started = time.perf_counter()
        try:
            batch.prepare()
            prepared = time.perf_counter()
            chunk_s = AHEAD_S if runs_ahead(batch) else CHUNK_S
            steps = min(self._chunk_steps(group, chunk_s), batch.room, steps_left(batch))
            losses = batch.advance(steps)
            outcomes = batch.outcomes(losses)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return self._after_out_of_memory(batch)
        done = time.perf_counter()
        self._step_s[group] = (done - prepared) / steps
        self._sizes[group].measured(len(batch), self._step_s[group])
        return Chunk(
            batch=batch, steps=steps, seconds=done - started, losses=losses, outcomes=outcomes
        )

    def even_out(self) -> None:
        """Split batches that are too large, and join those that fit together."""
        for group in {batch.group for batch in self._turns}:
            limit = self._sizes[group].limit
            batches = [batch for batch in self._turns if batch.group == group]
            lanes = sum(len(batch) for batch in batches)
            wanted = -(-lanes // limit)
            for batch in sorted(batches, key=len)[: max(0, len(batches) - wanted)]:
                for lane in list(batch.lanes):
                    self._move(lane.key, lane.config, lane.materials)  # type: ignore[arg-type]
            for batch in batches:
                for lane in batch.lanes[limit:]:
                    self._move(lane.key, lane.config, lane.materials)  # type: ignore[arg-type]

    def _move(self, key: LaneKey, config: StyleConfig, materials: Materials) -> None:
        """Put a lane into another batch of its group."""
        origin = self._where[key]
        state = self.take(key)
        group = group_of(config, materials, state.step)
        batch = self._with_room(group, without=origin)
        batch.add(key, config, materials, state)
        self._where[key] = batch

    def _with_room(self, group: GroupKey, without: LaneBatch | None = None) -> LaneBatch:
        limit = self._sizes[group].limit
        for batch in self._turns:
            if batch is not without and batch.group == group and len(batch) < limit:
                return batch
        made = LaneBatch(self._store)
        self._turns.append(made)
        return made

    def _chunk_steps(self, group: GroupKey, chunk_s: float) -> int:
        """Steps to take in one turn, from how long a step took last time."""
        share_s = chunk_s / len(self._turns)
        step_s = self._step_s.get(group, 0.0)
        return CHUNK_STEPS if step_s * CHUNK_STEPS <= share_s else max(1, int(share_s / step_s))

    def _most_lanes(self, config: StyleConfig, group: GroupKey) -> int:
        """Lanes that fit into the memory that is free now."""
        device, size = self._store.device, (group.height, group.width)
        one, two = (needed_bytes(config, *size, device=device, lanes=n) for n in (1, 2))
        free = free_bytes(device) * LANES_SHARE
        return max(1, 1 + int((free - one) // (two - one)))

    def _after_out_of_memory(self, batch: LaneBatch) -> Chunk:
        if self._store.device.type == "cuda":
            torch.cuda.empty_cache()
        lanes = len(batch)
        alone = lanes == 1
        self._sizes[batch.group].too_many(lanes)
        outcome = Outcome.OUT_OF_MEMORY if alone else Outcome.RUNNING
        return Chunk(batch=batch, steps=0, seconds=0.0, losses=None, outcomes=[outcome] * lanes)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
