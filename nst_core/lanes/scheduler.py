"""LaneScheduler: which lanes of an engine advance together, how many, and whose turn it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from nst_core.config import StyleConfig
from nst_core.lanes.assembly import LaneState
from nst_core.lanes.batch import GroupKey, LaneBatch, Outcome, group_of
from nst_core.lanes.device import described, is_broken_device, is_out_of_memory
from nst_core.lanes.memory import free_bytes, needed_bytes
from nst_core.losses.batch_loss import Losses
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore

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
        steps: taken; 0 if something went wrong.
        seconds: that it took.
        losses: before the last step.
        failures: why each lane cannot go on, None where it can.
    """

    batch: LaneBatch
    steps: int
    seconds: float
    losses: Losses | None
    failures: list[str | None]


@dataclass
class BatchSize:
    """How many lanes of a group to advance at once: as many as are fastest, lane for lane.

    More lanes share more work, until their features no longer fit into the caches; where that is
    depends on the machine and the size, so it is measured: while a batch is full its limit doubles,
    and falls back to what was fastest. Out of memory halves it; since the memory may have been
    somebody else's for a moment, a larger batch is dared again after `DARE_AGAIN` good turns.

    Attributes:
        planned: lanes that should fit into memory.
        masks: of a lane that this is planned for; see `LossInputs.masks`.
    """

    planned: int
    masks: int = 0
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


class LaneScheduler:
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
        # Lanes of batches in which something went wrong: one of them may be to blame.
        self._alone: set[LaneKey] = set()

    def __len__(self) -> int:
        return len(self._where)

    def steps(self) -> list[tuple[LaneKey, int]]:
        """Every lane and the step it is at."""
        return [(lane.key, lane.step) for batch in self._turns for lane in batch.lanes]  # type: ignore[misc]

    def __contains__(self, key: LaneKey) -> bool:
        return key in self._where

    def put(
        self, key: LaneKey, config: StyleConfig, inputs: LossInputs, state: LaneState | None
    ) -> None:
        """Add a lane, fresh or going on from a state."""
        group = group_of(config, inputs, state.step if state else 0)
        size, masks = self._sizes.get(group), inputs.masks
        if size is None:
            most = self._most_lanes(config, group, masks)
            self._sizes[group] = BatchSize(planned=most, masks=masks)
        elif masks > size.masks:
            size.masks = masks
            size.planned = min(size.planned, self._most_lanes(config, group, masks))
        batch = self._with_room(group) or LaneBatch(self._store)
        batch.add(key, config, inputs, state)
        self._stands(key, batch)

    def _stands(self, key: LaneKey, batch: LaneBatch) -> None:
        if len(batch) == 1:
            self._turns.append(batch)
        self._where[key] = batch

    def take(self, key: LaneKey) -> LaneState:
        """Take a lane out; returns its state."""
        self._alone.discard(key)
        return self._out(key)

    def _out(self, key: LaneKey) -> LaneState:
        batch = self._where.pop(key)
        state = batch.take(key)
        if not len(batch):
            self._turns.remove(batch)
        return state

    def save(self, key: LaneKey) -> LaneState:
        """A copy of a lane's state, on the CPU; the lane goes on."""
        return self._where[key].save(key)

    def moved_on(self, key: LaneKey, config: StyleConfig, inputs: LossInputs) -> None:
        """Put a lane whose stage is over into a batch of its next size."""
        (lane,) = (lane for lane in self._where[key].lanes if lane.key == key)
        if lane.step >= lane.stage.until:
            self.put(key, config, inputs, self.take(key))

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
        except Exception as error:  # whatever a lane's settings lead to
            if is_broken_device(error):
                raise
            if is_out_of_memory(error):
                return self._after_out_of_memory(batch)
            return self._after_error(batch, described(error))
        done = time.perf_counter()
        self._step_s[group] = (done - prepared) / steps
        self._sizes[group].measured(len(batch), self._step_s[group])
        failures = [None if one is Outcome.RUNNING else one.value for one in outcomes]
        return Chunk(
            batch=batch, steps=steps, seconds=done - started, losses=losses, failures=failures
        )

    def even_out(self) -> None:
        """Split batches that are too large, and join those that fit together."""
        for batch in list(self._turns):
            for lane in batch.lanes[1:]:
                if lane.key in self._alone:
                    self._move(lane.key, lane.config, lane.inputs)
        for group in {batch.group for batch in self._together()}:
            limit = self._sizes[group].limit
            batches = [batch for batch in self._together() if batch.group == group]
            lanes = sum(len(batch) for batch in batches)
            wanted = -(-lanes // limit)
            for batch in sorted(batches, key=len)[: max(0, len(batches) - wanted)]:
                for lane in list(batch.lanes):
                    self._move(lane.key, lane.config, lane.inputs)  # type: ignore[arg-type]
            for batch in batches:
                for lane in batch.lanes[limit:]:
                    self._move(lane.key, lane.config, lane.inputs)  # type: ignore[arg-type]

    def _move(self, key: LaneKey, config: StyleConfig, inputs: LossInputs) -> None:
        """Put a lane into another batch of its group."""
        origin = self._where[key]
        state = self._out(key)
        found = None
        if key not in self._alone:
            found = self._with_room(group_of(config, inputs, state.step), without=origin)
        batch = found or LaneBatch(self._store)
        batch.add(key, config, inputs, state)
        self._stands(key, batch)

    def _together(self) -> list[LaneBatch]:
        return [batch for batch in self._turns if not self._goes_alone(batch)]

    def _goes_alone(self, batch: LaneBatch) -> bool:
        return batch.lanes[0].key in self._alone

    def _with_room(self, group: GroupKey, without: LaneBatch | None = None) -> LaneBatch | None:
        limit = self._sizes[group].limit
        for batch in self._turns:
            if batch is without or batch.group != group or self._goes_alone(batch):
                continue
            if len(batch) < limit:
                return batch
        return None

    def _chunk_steps(self, group: GroupKey, chunk_s: float) -> int:
        """Steps to take in one turn, from how long a step took last time."""
        share_s = chunk_s / len(self._turns)
        step_s = self._step_s.get(group, 0.0)
        return CHUNK_STEPS if step_s * CHUNK_STEPS <= share_s else max(1, int(share_s / step_s))

    def _most_lanes(self, config: StyleConfig, group: GroupKey, masks: int) -> int:
        """Lanes that fit into the memory that is free now."""
        device, size = self._store.device, (group.height, group.width)
        one, two = (
            needed_bytes(config, *size, device=device, lanes=n, masks=masks) for n in (1, 2)
        )
        free = free_bytes(device) * LANES_SHARE
        return max(1, 1 + int((free - one) // (two - one)))

    def _after_out_of_memory(self, batch: LaneBatch) -> Chunk:
        torch.cuda.empty_cache()
        self._sizes[batch.group].too_many(len(batch))
        return _nothing_done(batch, Outcome.OUT_OF_MEMORY.value)

    def _after_error(self, batch: LaneBatch, reason: str) -> Chunk:
        """Let lanes go alone until the one to blame is known; the others may then join again."""
        if len(batch) == 1:
            self._alone.clear()
        else:
            self._alone.update(lane.key for lane in batch.lanes)  # type: ignore[misc]
        return _nothing_done(batch, reason)


def _nothing_done(batch: LaneBatch, reason: str) -> Chunk:
    """A turn that went wrong; only a lane that was alone is to blame."""
    failures: list[str | None] = [reason] if len(batch) == 1 else [None] * len(batch)
    return Chunk(batch=batch, steps=0, seconds=0.0, losses=None, failures=failures)
